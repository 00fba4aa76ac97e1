"""Formulas as olmOCR finds them."""

from __future__ import annotations

_DELIMITERS = ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$"))


def olmocr_formulas(text: str, ignore_dollar_delimited: bool = False) -> tuple[str, ...]:
    r"""Every `\(..\)`, then `\[..\]`, `$$..$$` and `$..$`; each kind is cut out of the text before the next.

    Quirks, kept: a price in dollars shifts the pairs after it, and cutting joins the text around a formula.
    """
    formulas: list[str] = []
    for opener, closer in _DELIMITERS[: 2 if ignore_dollar_delimited else 4]:
        kept, position = [], 0
        while (start := text.find(opener, position)) >= 0:
            end = text.find(closer, start + len(opener))
            if end < 0:
                break
            formulas.append(text[start + len(opener) : end].strip())
            kept.append(text[position:start])
            position = end + len(closer)
        text = "".join([*kept, text[position:]])
    return tuple(formulas)
