"""TEDS as OmniDocBench counts it: tags within a cell are nodes and letters of its text."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ocr_verifiers.markup.grid import Cell
from ocr_verifiers.metrics.teds import structure_costs, text_costs
from ocr_verifiers.metrics.tree_distance import tree_distance

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)((?:\s[^<>]*)?)/?>")
_TAGS = re.compile(r"(</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>)")
_SPAN = re.compile(r'(rowspan|colspan)="(\d{1,9})"')
_PRIVATE = 0xF0000


class TableScore(NamedTuple):
    """The similarity of two tables, up to 1; below 0 if the edits outnumber the nodes of the larger one."""

    teds: float
    structure: float
    """TEDS without texts."""


class _Tree(NamedTuple):
    rows: list[list[Cell]]
    nodes: int


def table_score(reference: str, page: str) -> TableScore:
    """TEDS and TEDS-S of two tables in normal form; 0 if one is missing."""
    if not reference or not page:
        return TableScore(0.0, 0.0)
    tags: dict[str, str] = {}
    a, b = _tree(page, tags), _tree(reference, tags)
    nodes = max(a.nodes, b.nodes)
    if not nodes:
        return TableScore(0.0, 0.0)
    if a.rows == b.rows:
        return TableScore(1.0, 1.0)
    text = 1 - tree_distance(a.rows, b.rows, text_costs) / nodes
    if _spans(a.rows) == _spans(b.rows):
        return TableScore(text, 1.0)
    return TableScore(text, 1 - tree_distance(a.rows, b.rows, structure_costs) / nodes)


def _spans(rows: list[list[Cell]]) -> list[list[tuple[int, int]]]:
    return [[(cell.rowspan, cell.colspan) for cell in row] for row in rows]


class _Tag(NamedTuple):
    name: str
    closes: bool
    rowspan: int
    colspan: int
    letters: tuple[str, ...]
    """In the text of a cell."""


@lru_cache(maxsize=1_000)
def _tag(written: str) -> _Tag:
    found = _TAG.fullmatch(written)
    assert found
    closing, name, attributes = found.groups()
    spans = dict(_SPAN.findall(attributes))
    letters = (f"<{name}>", f"</{name}>") if written.endswith("/>") else (f"<{closing}{name}>",)
    return _Tag(name, bool(closing), int(spans.get("rowspan", 1)), int(spans.get("colspan", 1)), letters)


def _tree(html: str, tags: dict[str, str]) -> _Tree:
    """The rows of a table; a tag within a cell becomes a letter that no text has."""
    rows: list[list[Cell]] = []
    text: str | None = None
    nodes = rowspan = colspan = 0
    pieces = _TAGS.split(html)
    for tag, after in zip(map(_tag, pieces[1::2]), pieces[2::2], strict=True):
        if tag.name in ("table", "html", "body", "tr", "td"):
            if text is not None:
                rows[-1].append(Cell(text, False, rowspan, colspan))
                text = None
            if tag.name == "tr" and not tag.closes:
                rows.append([])
                nodes += 1
            elif tag.name == "td" and not tag.closes:
                if not rows:
                    rows.append([])
                text, rowspan, colspan = after, tag.rowspan, tag.colspan
                nodes += 1
        elif text is not None:
            nodes += not tag.closes
            text += "".join(tags.setdefault(letter, chr(_PRIVATE + len(tags))) for letter in tag.letters) + after
    if text is not None:
        rows[-1].append(Cell(text, False, rowspan, colspan))
    return _Tree(rows, nodes)
