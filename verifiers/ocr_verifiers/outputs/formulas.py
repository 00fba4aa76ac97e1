"""Formulas that a format keeps without delimiters."""

from __future__ import annotations

_DISPLAY = (("$$", "$$"), (r"\[", r"\]"))
_INLINE = (("$", "$"), (r"\(", r"\)"))


def display_formula(latex: str) -> str:
    """A formula on a line of its own; delimiters that it has already stay."""
    return _delimited(latex.strip(), "$$")


def inline_formula(latex: str) -> str:
    """A formula within a line; delimiters that it has already stay."""
    return _delimited(latex.strip(), "$")


def _delimited(latex: str, mark: str) -> str:
    for start, end in (*_DISPLAY, *_INLINE):
        if latex.startswith(start) and latex.endswith(end) and len(latex) >= len(start) + len(end):
            return latex
    return f"{mark}{latex}{mark}" if latex else ""
