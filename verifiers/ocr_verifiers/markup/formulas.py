r"""The formulas of a page.

Strict mode scans from left to right for `\(..\)`, `\[..\]`, `$$..$$`, `$..$`, `<math>..</math>` with LaTeX inside, and
bare environments (`equation`, `align`, ...), without nesting. `\$` is a dollar sign and `\\` a line break, also before
`[`. A single dollar sign opens a formula only if the next one closes it: no blank line in between, white space inside
both signs or inside neither, and no digit after the second, so that `$5 and $10` are prices. White space and the digit
do not matter where a command or a script stands between the signs: `$x_1 $`, `$\pm$ 5`. `$\(..\)$` is `\(..\)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from ocr_verifiers.text.normalize import references

_ENVIRONMENTS = {
    "equation": None,
    "displaymath": None,
    "math": None,
    "align": "aligned",
    "alignat": "alignedat",
    "eqnarray": "aligned",
    "flalign": "aligned",
    "gather": "gathered",
    "multline": "gathered",
}
"""Environments that are displays of their own in LaTeX, and what KaTeX accepts instead inside a formula."""
_NAMES = "|".join(_ENVIRONMENTS)
_OPENER = re.compile(
    rf"\\\\|\\\$|\\\(|\\\[|\$\$|\$|\\begin\{{((?:{_NAMES})\*?)\}}|<math(?:\s[^<>]{{0,200}})?>", re.IGNORECASE
)
_MATHML = re.compile(r"</?m[a-z]+[\s/>]", re.IGNORECASE)
_ENVIRONMENT = re.compile(rf"\\(begin|end)\{{({_NAMES})\*?\}}")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_AFTER_DOLLAR = re.compile(r"[ \t]?\d")
_MATHEMATICAL = re.compile(r"\\[A-Za-z]|\^|[A-Za-z)}]_")
_PRICE = re.compile(r"\s*\d[\d.,]*\s+[^\W\d_]{2}")


class Formula(NamedTuple):
    """A formula on a page."""

    latex: str
    """Without its delimiters; an environment with them."""
    in_dollars: bool


def find_formulas(text: str) -> tuple[Formula, ...]:
    """The formulas of `text` in reading order, without blank ones; in linear time."""
    return tuple(formula for _, _, formula in locate_formulas(text))


def locate_formulas(text: str) -> Iterator[tuple[int, int, Formula]]:
    """The same with start and end of each, delimiters included."""
    unclosed: set[str] = set()
    position = 0
    while opener := _OPENER.search(text, position):
        position = opener.end()
        mark = opener[0]
        closer = {r"\(": r"\)", r"\[": r"\]", "$$": "$$", "$": "$"}.get(mark, "")
        if opener[1]:
            closer = rf"\end{{{opener[1]}}}"
        elif mark[0] == "<":
            closer = "</math>"
        if not closer or closer in unclosed:
            continue
        end = _closing_dollar(text, position) if mark == "$" else text.find(closer, position)
        if end < 0:
            if mark != "$":
                unclosed.add(closer)
            continue
        latex = text[opener.start() : end + len(closer)] if opener[1] else text[position:end]
        latex = latex.strip()
        if mark[0] == "<":
            if _MATHML.search(latex):
                continue
            latex = references(latex)
        doubled = mark.startswith("$") and (latex[:2], latex[-2:]) in ((r"\(", r"\)"), (r"\[", r"\]"))
        if doubled:
            latex = latex[2:-2].strip()
        position = end + len(closer)
        if latex:
            yield opener.start(), position, Formula(latex, mark.startswith("$") and not doubled)


def _closing_dollar(text: str, start: int) -> int:
    """The index of the dollar sign that closes the formula opened before `start`; -1 if there is no formula."""
    end = text.find("$", start)
    while end > start and text[end - 1] == "\\":
        end = text.find("$", end + 1)
    if end <= start:
        return -1
    if _BLANK_LINE.search(text, start, end):
        return -1
    spaced = text[start].isspace(), text[end - 1].isspace()
    like_prices = spaced[0] != spaced[1] or _AFTER_DOLLAR.match(text, end + 1)
    if like_prices and (not _MATHEMATICAL.search(text, start, end) or _PRICE.match(text, start, end)):
        return -1
    return end


def plain(latex: str) -> str:
    r"""Drops labels and makes environments valid in formulas: `align*` becomes `aligned`, `equation` its content."""

    def inner(found: re.Match[str]) -> str:
        name = _ENVIRONMENTS[found[2]]
        return rf"\{found[1]}{{{name}}}" if name else ""

    return _ENVIRONMENT.sub(inner, _LABEL.sub("", latex)).strip()
