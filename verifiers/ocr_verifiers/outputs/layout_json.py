"""The output of dots.ocr: a JSON array of the elements of a page, in reading order.

    [{"bbox": [100, 80, 500, 120], "category": "Title", "text": "# Annual Report"}, ...]

The text of a table is HTML, that of a formula LaTeX, all other is markdown. A title or section header without its #
gets one. Page headers, page footers and pictures are dropped, as are boxes, and all fields but these three.
"""

from __future__ import annotations

import json
from typing import Any

from ocr_verifiers.outputs.formulas import display_formula
from ocr_verifiers.outputs.result import Dropped, MalformedError, Markdown, without_end_tokens
from ocr_verifiers.text.quoting import quoted

_CATEGORIES = (
    "Caption Footnote Formula List-item Page-footer Page-header Picture Section-header Table Text Title"
).split()
_DROPPED = ("Page-header", "Page-footer", "Picture")
_HEADINGS = {"Title": "# ", "Section-header": "## "}
_BOX = 64
"""Characters of a box that count as one: four numbers."""
_LONGEST_NUMBER = 24


def convert(text: str) -> Markdown:
    """The elements' texts, a blank line between them; list items one per line. It may be in a code fence."""
    try:
        elements = json.loads(
            _unfenced(without_end_tokens(text)),
            object_pairs_hook=_fields,
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_number,
        )
        if not isinstance(elements, list):
            raise MalformedError("it is not a JSON array of elements")
        dropped = Dropped()
        pieces: list[str] = []
        before = ""
        for number, element in enumerate(elements, 1):
            category, written = _element(element, number, dropped)
            if written:
                pieces += ["\n" if category == before == "List-item" else "\n\n" if pieces else "", written]
                before = category
    except json.JSONDecodeError as error:
        what = error.msg.removesuffix(" at")
        raise MalformedError(f"it is not JSON: {what} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise MalformedError("its JSON is nested too deeply") from error
    dropped.check()
    return Markdown("".join(pieces))


def _unfenced(text: str) -> str:
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3]
    return text


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise MalformedError("an object has a field twice")
    return fields


def _number(digits: str) -> float:
    if len(digits) > _LONGEST_NUMBER:
        raise MalformedError(f"a number has {len(digits):,} digits")
    return float(digits)


def _no_number(name: str) -> float:
    raise MalformedError(f"it is not JSON: {name} is not a number")


def _element(element: object, number: int, dropped: Dropped) -> tuple[str, str]:
    """The category and the markdown of an element, which is empty if the element is dropped."""
    if not isinstance(element, dict) or not isinstance(element.get("category"), str):
        raise MalformedError(f'element {number} is not an object with "bbox", "category" and "text"')
    category = element["category"]
    text = element.get("text", "" if category == "Picture" else None)
    if not isinstance(text, str):
        raise MalformedError(f'element {number}, {quoted(category)}, has no "text"')
    if category not in _CATEGORIES:
        dropped.add(category)
    for name, value in element.items():
        written = json.dumps(value) if name not in ("category", "text") else ""
        if name not in ("bbox", "category", "text"):
            dropped.add(name + written)
        elif len(written) > _BOX:
            dropped.add(written)
    text = text.strip("\n") if category != "Formula" else display_formula(text)
    if category in _DROPPED or not text.strip():
        dropped.add(text)
        return category, ""
    if category in _HEADINGS and not text.startswith("#"):
        text = _HEADINGS[category] + " ".join(text.split())
    return category, text
