"""What OmniDocBench v1.6 compares of a text, a formula and a table."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import unescape

from ocr_verifiers.metrics.omnidocbench.delimited import (
    BRACKETS,
    PARENTHESES,
    Delimited,
    first_on_a_line,
    replaced_on_lines,
    with_inline,
)
from ocr_verifiers.metrics.omnidocbench.latex_text import formula_letters
from ocr_verifiers.metrics.omnidocbench.normalization import (
    DROPPED_ATTRIBUTES,
    STYLES,
    letters,
    tags_and_texts,
    with_formulas,
    with_short_spaces,
    within_tables,
    without_dropped_tags,
)
from ocr_verifiers.metrics.omnidocbench.v16.cells import normalized_cell
from ocr_verifiers.metrics.omnidocbench.v16.latex import is_readable, undelimited, without_group, without_tags

_CIRCLED = str.maketrans(
    {chr(0x2460 + number): str(number + 1) for number in range(20)}
    | {chr(0x24D0 + number): chr(ord("a") + number) for number in range(26)}
    | {chr(0x24B6 + number): chr(ord("A") + number) for number in range(26)}
)
_TEXT_CIRCLED = re.compile(r"\\textcircled\s*\{([^{}]+)\}")
_COMPLEX = (r"\begin{", r"\end{", r"\array", r"\matrix", r"\tabular", r"\cases", r"\align", r"\\", "&")
_LONGEST_INLINE = 128
_UNCOUNTED = re.compile(r"\\[!,;:]|(?<!\\)&")
_ESCAPES = re.compile(r"\\[{}]|~")
_LAYOUT = tuple(re.compile(rf"\\{begin}[^}}]*\}}") for begin in (r"hspace\{", r"begin\{", r"end\{", "arraycolsep"))
_COLUMNS = re.compile(r"\{[lcr| ]+\}")
_STYLES = [
    *STYLES,
    " ",
    "$$",
    r"\left",
    r"\right",
    r"\displaystyle",
    r"\text",
]
_SIMPLE_GROUP = re.compile(r"\{([A-Za-z0-9.+\-]+)\}")
_BRACES = re.compile(r"\{\{+|\}\}+")
_GROUP = re.compile(r"\{([^{}]{1,160})\}")
_SIGNS = ("=", "+", "-", "\\\\", "^", "_", "[", "]", "(", ")")


def without_circles(text: str) -> str:
    """Circled digits and letters as plain ones."""
    if r"\textcircled" in text:
        text = _TEXT_CIRCLED.sub(lambda found: found[1].strip() or found[1][-1], text)
    return text if text.isascii() else text.translate(_CIRCLED)


def read_inline(text: str) -> str:
    """A text with those inline formulas as letters that have a command or a script and can be read."""
    return with_inline(without_circles(text), _read)


def _read(found: Delimited) -> str:
    content = re.sub(r"\\[\\_&%^]", "", found.inner)
    if not any(sign in content for sign in "\\^_"):
        return found.text
    if content.endswith("\\"):
        content += " "
    stripped = content.strip()
    if (
        len(stripped) > _LONGEST_INLINE
        or any(sign in stripped for sign in _COMPLEX)
        or stripped.count("{") != stripped.count("}")
    ):
        return found.text
    if not any(sign in stripped for sign in "\\{}$") or not is_readable(stripped):
        return stripped
    return formula_letters(stripped).strip()


@lru_cache(maxsize=10_000)
def normalized_text(text: str) -> str:
    """Letters, digits and underscores."""
    return letters(without_circles(read_inline(text)))


def with_normal_formulas(text: str) -> str:
    """A text with its inline formulas in their normal form."""
    return with_inline(text, lambda found: normalized_formula(found.inner))


@lru_cache(maxsize=10_000)
def normalized_formula(latex: str) -> str:
    """A formula in lower case without spaces, styles, environments, alignment and most braces."""
    text = without_tags(undelimited(without_circles(latex)))
    if displayed := first_on_a_line(text, BRACKETS, PARENTHESES):
        text = displayed.strip()
    text = _UNCOUNTED.sub("", without_group(text, r"\phantom"))
    text = _ESCAPES.sub("", text.replace(r"\mid", "|").replace(r"\vert", "|"))
    for layout in _LAYOUT:
        text = replaced_on_lines(layout, "}", "", text)
    text = _COLUMNS.sub("", text).strip(".")
    for style in _STYLES:
        text = text.replace(style, "")
    before = None
    while text != before:
        before = text
        text = _SIMPLE_GROUP.sub(r"\1", text).replace("{}", "")
        text = _BRACES.sub(lambda braces: braces[0][0], text)
        text = _GROUP.sub(lambda group: group[1] if any(sign in group[1] for sign in _SIGNS) else group[0], text)
    return "".join(text.lower().split())


@lru_cache(maxsize=10_000)
def normalized_table(html: str) -> str:
    """A table as one line of HTML with `td` alone, without styles, its texts in normal form; empty if it is none."""
    if "<table" not in html.replace(" ", "").replace("'", '"'):
        return ""
    html = with_short_spaces(with_formulas(html))
    before, rest = tags_and_texts(html)
    written, depth = [unescape(before)], 0
    for tag, after in rest:
        if tag.name in ("td", "th"):
            depth = max(0, depth - 1) if tag.closes else depth + 1
        if tag.name != "tbody":
            written.append(tag.plain)
        if after:
            written.append(normalized_cell(unescape(after)) if depth else unescape(after))
    text = unicodedata.normalize("NFKC", "".join(written).replace("\n", "")).strip()
    text = re.sub(r"\s+", " ", DROPPED_ATTRIBUTES.sub("", within_tables(text)))
    return without_dropped_tags(f'<html><body><table border="1" >{text}</table></body></html>')
