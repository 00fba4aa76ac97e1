"""A page of markdown in each output format, and the places in a format where text can hide."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from html import escape

from ocr_verifiers.outputs.conversion import OutputFormat
from ocr_verifiers.outputs.otsl import OtslCell, html_table

_BLANK_LINE = re.compile(r"\n[ \t]*\n\s*")
_HEADING = re.compile(r"(#{1,6}) +(.*)")
_ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
_CELL = re.compile(r"<t([hd])>(.*?)</t\1>", re.DOTALL)
_PLACE = "<loc_40><loc_60><loc_460><loc_80>"
_BOX = "<|det|>[[80, 120, 920, 160]]<|/det|>"
_FRONT_MATTER = (
    "---\nprimary_language: en\nis_rotation_valid: true\nrotation_correction: 0\nis_table: false\n"
    "is_diagram: false\n---\n"
)


def in_format(text: str, output: OutputFormat) -> str:
    """A completion that converts to this markdown, apart from white space: headings, tables and formulas by element."""
    return _WRITERS[output](text)


def _blocks(text: str) -> list[str]:
    return [block for block in _BLANK_LINE.split(text.strip()) if block]


def _otsl(block: str) -> str | None:
    """An HTML table as OTSL; None for what is not a table, or not one that comes back the same."""
    rows = [
        [OtslCell(("ched" if kind == "h" else "fcel") if text else "ecel", text) for kind, text in _CELL.findall(row)]
        for row in _ROW.findall(block)
    ]
    if not rows or html_table(rows) != block.replace("\n", ""):
        return None
    return "".join("".join(f"<{cell.token}>{cell.text}" for cell in row) + "<nl>" for row in rows)


def _in_doctags(text: str) -> str:
    elements = []
    for block in _blocks(text):
        heading, table = _HEADING.fullmatch(block), _otsl(block)
        if heading:
            name = f"section_header_level_{len(heading[1])}"
            block = heading[2]
        elif table:
            name, block = "otsl", table
        else:
            name = "formula" if block.startswith("\\[") and block.endswith("\\]") else "text"
        elements.append(f"<{name}>{_PLACE}{block}</{name}>")
    return "\n".join(["<doctag>" + "\n".join(elements), "</doctag>"])


def _in_otsl(text: str) -> str:
    return "\n\n".join(_otsl(block) or block for block in _blocks(text))


def _in_layout_json(text: str) -> str:
    elements = []
    for block in _blocks(text):
        heading = _HEADING.fullmatch(block)
        if heading:
            category = "Title" if len(heading[1]) == 1 else "Section-header"
        elif block.startswith("<table"):
            category = "Table"
        else:
            category = "Formula" if block.startswith("\\[") and block.endswith("\\]") else "Text"
        elements.append({"bbox": [80, 120, 920, 160], "category": category, "text": block})
    return json.dumps(elements, ensure_ascii=False)


def _in_grounding(text: str) -> str:
    blocks = []
    for block in _blocks(text):
        label = "title" if _HEADING.fullmatch(block) else "table" if block.startswith("<table") else "text"
        blocks.append(f"<|ref|>{label}<|/ref|>{_BOX}\n{block}")
    return "\n\n".join(blocks)


_WRITERS: Mapping[OutputFormat, Callable[[str], str]] = {
    "markdown": lambda text: text,
    "front_matter": lambda text: text if text.startswith("---") else _FRONT_MATTER + text,
    "doctags": _in_doctags,
    "otsl": _in_otsl,
    "layout_json": _in_layout_json,
    "grounding": _in_grounding,
    "tags": lambda text: f"{text}\n\n<watermark>COPY</watermark>\n\n<page_number>14</page_number>",
}


def _element(category: object, text: str, **fields: object) -> str:
    return json.dumps([{"bbox": [80, 120, 920, 160], "category": category, "text": text, **fields}])


def _cells(words: Iterable[str]) -> str:
    return "".join(f"<fcel>{word}" for word in words)


HIDING_PLACES: Mapping[OutputFormat, Mapping[str, Callable[[str], str]]] = {
    "markdown": {},
    "front_matter": {
        "in a field of the front matter": lambda text: f"---\nprimary_language: {json.dumps(text)}\n---\n",
    },
    "doctags": {
        "in an attribute": lambda text: f'<doctag><text title="{escape(text)}"></text></doctag>',
        "in the attributes of empty elements": lambda text: (
            "<doctag>" + "".join(f"<text {escape(word)}></text>" for word in text.split()) + "</doctag>"
        ),
        "in a page header": lambda text: f"<doctag><page_header>{text}</page_header></doctag>",
        "in a picture": lambda text: f"<doctag><picture>{_PLACE}{text}</picture></doctag>",
        "in a text within a picture": lambda text: f"<doctag><picture><text>{text}</text></picture></doctag>",
        "in the cells of a chart": lambda text: f"<doctag><chart>{_cells(text.split())}<nl></chart></doctag>",
    },
    "otsl": {},
    "layout_json": {
        "in a category": lambda text: _element(text, ""),
        "in a box": lambda text: json.dumps([{"bbox": text.split(), "category": "Text", "text": ""}]),
        "in another field": lambda text: _element("Text", "", note=text),
        "in the name of a field": lambda text: _element("Text", "", **{text: 1}),
        "in a picture": lambda text: _element("Picture", text),
        "in a page header": lambda text: _element("Page-header", text),
    },
    "grounding": {
        "in a label": lambda text: f"<|ref|>{text}<|/ref|>{_BOX}",
        "in the boxes": lambda text: f"<|ref|>text<|/ref|><|det|>{text}<|/det|>",
        "in a page header": lambda text: f"<|ref|>header<|/ref|>{_BOX}\n{text}",
    },
    "tags": {
        "in a watermark": lambda text: f"<watermark>{text}</watermark>",
        "in a page number": lambda text: f"<page_number>{text}</page_number>",
    },
}
"""Completions that have all of the text where the format has none of the page's, by format."""
