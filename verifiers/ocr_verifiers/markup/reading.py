r"""What a reader sees of a page: the same text whatever its markup, for edit distance.

    tables      their cells in order, `|` between cells and a line for each row; markdown and HTML alike
    formulas    LaTeX without delimiters, spaces and what does not print: `$x^{2}$` and `\( x^2 \)` are `x^2`
    the rest    without tags, attributes, emphasis, heading marks and rules; entities and escapes are characters

Comments, scripts, attributes and the like are not read. What they hold beyond a usual size is counted as hidden:
a page must not say more there for free.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ocr_verifiers.markup.blocks import blocks
from ocr_verifiers.markup.formulas import locate_formulas, plain
from ocr_verifiers.markup.grid import Grid
from ocr_verifiers.markup.table_parsing import without_hidden
from ocr_verifiers.text.normalize import ATTRIBUTES, escapes, markdown

USUAL_TAG = 80
"""Characters of a tag, or of an image's or link's target; more are hidden text."""

_ANY = re.compile(r"[<|*_\\&$#`>\[=]|^[ \t]*[-+][ \t-]", re.MULTILINE)
"""A text without any of these has no markup."""
_PLACE = re.compile("\ufdd0([0-9]+)\ufdd1")
"""The number of a formula between two noncharacters stands for it while the text around it is read."""
_NONCHARACTERS = str.maketrans("", "", "\ufdd0\ufdd1")
_ELEMENTS = (
    "address|article|aside|blockquote|body|caption|center|col|colgroup|dd|div|dl|dt|figcaption|figure|footer|h[1-6]"
    "|head|header|hr|html|main|nav|ol|p|pre|section|table|tbody|td|tfoot|th|thead|title|tr|ul"
)
_INLINE = "a|abbr|cite|code|img|input|kbd|label|nobr|q|time|tt|var|math|strike"
_BLOCK_TAG = re.compile(rf"</?(?:{_ELEMENTS}|br){ATTRIBUTES}>", re.IGNORECASE)
_ITEM_TAG = re.compile(rf"<(?:(/?)(ol|ul)|li)({ATTRIBUTES})>", re.IGNORECASE)
_NUMBER_FROM = re.compile(r"""\b(?:start|value)\s*=\s*["']?(\d{1,9})\b""", re.IGNORECASE)
_NOT_NUMBERED = re.compile(r"""\breversed\b|\btype\s*=\s*["']?[^\s"'1]""", re.IGNORECASE)
_OTHER_TAG = re.compile(rf"</?(?:{_INLINE}|li){ATTRIBUTES}>", re.IGNORECASE)
_TAG = re.compile(rf"</?[A-Za-z](?:[^<>\s/]*+{ATTRIBUTES}|[^<>]*+)>")
_IMAGE = re.compile(r"!\[([^\[\]]*)\]\(([^()\s]*)[^()]*\)")
_LINK = re.compile(r"(?<!!)\[([^\[\]]*)\]\(([^()\s]*)[^()]*\)")
_NOTE = re.compile(r"\[\^([0-9]{1,3})\](?!:)")
_NOTE_ITSELF = re.compile(r"^\[\^([0-9]{1,3})\]:[ \t]*", re.MULTILINE)
_LINE_MARK = re.compile(r"^[ \t]*(?:>[ \t]?)*(?:#{1,6}[ \t]+|([-*+][ \t]+(?![\d.,+-])))?(?=\S)", re.MULTILINE)
_RULE = re.compile(r"^[ \t]*(?:(?:[-*_=][ \t]*){3,}|(?:```|~~~)[^\n`]*)$", re.MULTILINE)
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

_INVISIBLE_LATEX = re.compile(
    r"\\(?:[,;:!> ]|(?:quad|qquad|left|right|displaystyle|textstyle|limits|nolimits|nonumber|notag)(?![A-Za-z])"
    r"|[bB]igg?[lrm]?(?![A-Za-z]))|\\(?:label|tag)\*?\{[^{}]*\}|(?<!\\)~"
)
_SYNONYMS = dict(
    pair.split("=")
    for pair in "dfrac=frac tfrac=frac le=leq ge=geq ne=neq to=rightarrow dots=ldots mbox=text textrm=text".split()
)
_UPRIGHT = re.compile(
    r"\\(?:mathrm|mathit|mathsf|mathtt|mathnormal|text|textrm|textit|textup|operatorname\*?)\s*\{([^{}]*)\}"
)
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_SPACES = re.compile(r"(\\[A-Za-z]+)\s+(?=[A-Za-z])|\s+")
_SINGLE = re.compile(r"(?<=[\^_])\{([^{}\\]|\\[A-Za-z]+)\}(?![A-Za-z])")


class Reading(NamedTuple):
    """A page as it is read."""

    text: str
    hidden: int
    """Characters in comments, attributes and the like that no reader sees, beyond their usual size."""


def read(text: str) -> Reading:
    """What a reader sees of a text, in linear time."""
    if not _ANY.search(text):
        return Reading(text, 0)
    seen = without_hidden(text) if "<" in text else text
    hidden = len(text) - len(seen)
    pieces: list[str] = []
    for block in blocks(seen):
        if isinstance(block, str):
            prose, more = _prose(block)
            pieces.append(prose)
            hidden += more
        else:
            hidden += _long_tags(block.source)
            pieces += map(_rows, block.grids)
    return Reading("\n".join(pieces), hidden)


def _rows(grid: Grid) -> str:
    return "\n".join("|".join(cell.written for cell in row) for row in grid.rows)


def _prose(text: str) -> tuple[str, int]:
    hidden = _long_tags(text)
    for pattern in (_IMAGE, _LINK):
        hidden += sum(max(0, len(target[0]) - USUAL_TAG) for target in pattern.finditer(text))
    text = text.translate(_NONCHARACTERS) if not text.isascii() else text
    formulas: list[str] = []
    pieces, position = [], 0
    for start, end, formula in locate_formulas(text):
        pieces += [text[position:start], f"\ufdd0{len(formulas)}\ufdd1"]
        formulas.append(formula_content(formula.latex))
        position = end
    text = "".join([*pieces, text[position:]])
    text = _LINK.sub(r"\1", _IMAGE.sub("", text))
    text = _NOTE.sub(lambda note: note[1].translate(_SUPERSCRIPTS), text)
    text = _NOTE_ITSELF.sub(lambda note: f"{note[1].translate(_SUPERSCRIPTS)} ", text)
    if "<" in text:
        text = _OTHER_TAG.sub("", _BLOCK_TAG.sub("\n", _items(text)))
    text = _LINE_MARK.sub(lambda mark: "- " if mark[1] else "", _RULE.sub("", text))
    return _PLACE.sub(lambda place: formulas[int(place[1])], escapes(markdown(text))), hidden


def _items(text: str) -> str:
    """The items of HTML lists as those of markdown, those of `<ol>` with their numbers.

    Lists that count in letters or backwards have no numbers.
    """
    lists: list[int | None] = []

    def mark(tag: re.Match[str]) -> str:
        if tag[2] is None:
            if not lists or lists[-1] is None:
                return "\n- "
            value = _NUMBER_FROM.search(tag[3])
            lists[-1] = int(value[1]) if value else lists[-1] + 1
            return f"\n{lists[-1]}. "
        if not tag[1]:
            start = _NUMBER_FROM.search(tag[3])
            numbered = tag[2].lower() == "ol" and not _NOT_NUMBERED.search(tag[3])
            lists.append((int(start[1]) if start else 1) - 1 if numbered else None)
        elif lists:
            lists.pop()
        return "\n"

    return _ITEM_TAG.sub(mark, text)


def _long_tags(text: str) -> int:
    if "<" not in text:
        return 0
    return sum(max(0, tag.end() - tag.start() - USUAL_TAG) for tag in _TAG.finditer(text))


def formula_content(latex: str) -> str:
    r"""LaTeX without what does not print: `\left( x^{2} \right)\, ` is `(x^2)`."""
    latex = _INVISIBLE_LATEX.sub(" ", plain(latex))
    latex = _UPRIGHT.sub(r"\1", latex)
    latex = _COMMAND.sub(lambda command: "\\" + _SYNONYMS.get(command[1], command[1]), latex)
    latex = _SPACES.sub(lambda found: f"{found[1]} " if found[1] else "", latex)
    return _SINGLE.sub(r"\1", latex).strip()
