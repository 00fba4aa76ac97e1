"""What OmniDocBench compares of a text, a formula and a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from html import escape, unescape
from typing import NamedTuple

from ocr_verifiers.metrics.omnidocbench.delimited import (
    BRACKETS,
    Delimited,
    first_on_a_line,
    replaced_on_lines,
    with_inline,
)
from ocr_verifiers.metrics.omnidocbench.latex_text import formula_letters

_LETTERS = re.compile(r"\w+")
_OTHERS = bytes(code for code in range(128) if not _LETTERS.match(chr(code)))
_LAYOUT = re.compile(r"\\(?:tag|hspace|begin|end)\{[^}]*\}"), re.compile(r"\\arraycolsep[^}]*\}")
STYLES = [
    f"\\{name}"
    for name in (
        "mathbf mathrm mathnormal mathit mathbb mathcal mathscr mathfrak mathsf mathtt textbf text boldmath "
        "boldsymbol operatorname bm symbfit mathbfcal symbf scriptscriptstyle notag setlength coloneqq space "
        "thickspace thinspace medspace nobreakspace negmedspace quad qquad enspace substackw"
    ).split()
]
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)((?:\s[^<>]*)?)/?>")
_TAGS = re.compile(r"(</?[A-Za-z][A-Za-z0-9]*(?:\s[^<>]*)?/?>)")
_BETWEEN_TAGS = re.compile(r"(?<=>)\s+(?=<)")
_ATTRIBUTE = re.compile(r"""([^\s=<>"'/]+)(?:\s*=\s*("[^"]*"|'[^']*'|[^\s"'<>]+))?""")
_MATH = re.compile(r"""<math\b((?:"[^"]*"|'[^']*'|[^<>"'])*)>.*?</math>""", re.DOTALL | re.IGNORECASE)
_TABLES = re.compile(r"<table\b[^>]*>(.*)</table>", re.DOTALL | re.IGNORECASE)
DROPPED_ATTRIBUTES = re.compile(r' (?:style|height|width|align|class)=".*?"')
_DROPPED_TAGS = re.compile(r"</?(?:tbody|sup|sub|span|div|p)>")
_DROPPED = re.compile(rf"{_DROPPED_TAGS.pattern}|<colgroup>.*?</colgroup>")


def normalized_text(text: str) -> str:
    """Letters, digits and underscores. Inline formulas with a command or a script are read, others are text."""
    return letters(with_inline(text, _inline))


def letters(text: str) -> str:
    """Letters, digits and underscores, without escapes."""
    if "\\" in text or "/" in text:
        for sign in ("\\t", "\\n", "\t", "\n", "/t", "/n"):
            text = text.replace(sign, "")
    return text.encode().translate(None, _OTHERS).decode() if text.isascii() else "".join(_LETTERS.findall(text))


def _inline(found: Delimited) -> str:
    content = re.sub(r"\\[\\_&%^]", "", found.inner)
    return formula_letters(content).strip() if any(sign in content for sign in "\\^_") else found.text


def normalized_formula(latex: str) -> str:
    r"""A formula in lower case without spaces, styles and environments; `\[` and `\]` around it do not count."""
    displayed = first_on_a_line(latex, BRACKETS)
    text = displayed.strip() if displayed else latex
    for layout in _LAYOUT:
        text = replaced_on_lines(layout, "}", "", text)
    text = text.strip(".")
    if "\\" in text:
        for style in STYLES:
            text = text.replace(style, "")
    return text.replace(" ", "").lower()


def normalized_table(html: str) -> str:
    """A table as one line of HTML with `td` alone, without styles; empty if there is none."""
    if "<table" not in html.replace(" ", ""):
        return ""
    text = with_short_spaces(with_formulas(html))
    before, rest = tags_and_texts(text)
    text = "".join([before, *(piece for tag, after in rest for piece in (tag.plain, after))])
    text = unicodedata.normalize("NFKC", unescape(text).replace("\n", "")).strip()
    text = DROPPED_ATTRIBUTES.sub("", within_tables(text))
    text = re.sub(r"\s+", " ", text.replace("<tbody>", "").replace("</tbody>", ""))
    return without_dropped_tags(f'<html><body><table border="1" >{text}</table></body></html>')


def within_tables(html: str) -> str:
    """What stands from the first tag of a table to the last one."""
    end = html.lower().rfind("</table>") + len("</table>")
    return "".join(_TABLES.findall(html, 0, end))


def without_dropped_tags(html: str) -> str:
    last = html.rfind("</colgroup>")
    end = last + len("</colgroup>") if last >= 0 else 0
    return _DROPPED.sub("", html[:end]) + _DROPPED_TAGS.sub("", html[end:])


def with_formulas(html: str) -> str:
    """A table with its MathML as the LaTeX that it was made from, between dollars."""
    end = html.lower().rfind("</math>") + len("</math>")
    return _MATH.sub(_formula, html[:end]) + html[end:]


def _formula(found: re.Match[str]) -> str:
    written = next((value for key, value in _ATTRIBUTE.findall(found[1]) if key.lower() == "alttext"), "")
    return f"${escape(unescape(written.strip(chr(34)).strip(chr(39))), quote=False)}$"


def with_short_spaces(html: str) -> str:
    """A table with one space between tags that stand apart on a line, and none between lines."""
    return _BETWEEN_TAGS.sub(lambda space: "" if "\n" in space[0] else " ", html)


class Tag(NamedTuple):
    """A tag of HTML."""

    name: str
    """In lower case."""
    closes: bool
    plain: str
    """As it is compared."""


def tags_and_texts(html: str) -> tuple[str, Iterator[tuple[Tag, str]]]:
    """What stands before the first tag, and the tags with what stands after each."""
    before, *pieces = _TAGS.split(html)
    return before, zip(map(_tag, pieces[::2]), pieces[1::2], strict=True)


@lru_cache(maxsize=1_000)
def _tag(written: str) -> Tag:
    found = _TAG.fullmatch(written)
    assert found
    return Tag(found[2].lower(), bool(found[1]), _plain_tag(found[1], found[2].lower(), found[3]))


def _plain_tag(closing: str, name: str, attributes: str) -> str:
    if name in ("thead", "span"):
        return ""
    if name == "th":
        name = "td"
    if not attributes and name not in ("br", "img", "hr"):
        return f"<{closing}{name}>"
    if closing:
        return "" if name in ("br", "img", "hr") else f"</{name}>"
    written = "".join(
        f' {key.lower()}="{value.strip(chr(34)).strip(chr(39))}"' for key, value in _ATTRIBUTE.findall(attributes)
    )
    return f"<{name}{written}/>" if name in ("br", "img", "hr") else f"<{name}{written}>"
