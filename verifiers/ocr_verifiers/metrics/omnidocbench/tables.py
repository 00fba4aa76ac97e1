"""TEDS as OmniDocBench counts it: tags within a cell are nodes and letters of its text."""

from __future__ import annotations

import re
from typing import NamedTuple

from ocr_verifiers.markup.grid import Cell
from ocr_verifiers.metrics.teds import structure_costs, text_costs
from ocr_verifiers.metrics.tree_distance import tree_distance

_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)((?:\s[^<>]*)?)/?>")
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


def _tree(html: str, tags: dict[str, str]) -> _Tree:
    """The rows of a table; a tag within a cell becomes a letter that no text has."""
    rows: list[list[Cell]] = []
    parts: list[str] | None = None
    spans: dict[str, str] = {}
    nodes = position = 0

    def close() -> None:
        if parts is not None:
            rows[-1].append(Cell("".join(parts), False, int(spans.get("rowspan", 1)), int(spans.get("colspan", 1))))

    for found in _TAG.finditer(html):
        if parts is not None:
            parts.append(html[position : found.start()])
        position = found.end()
        closing, name, attributes = found.groups()
        if name in ("table", "html", "body", "tr", "td"):
            close()
            parts = None
            if name == "tr" and not closing:
                rows.append([])
                nodes += 1
            elif name == "td" and not closing:
                if not rows:
                    rows.append([])
                parts, spans = [], dict(_SPAN.findall(attributes))
                nodes += 1
        elif parts is not None:
            nodes += not closing
            for written in (f"<{name}>", f"</{name}>") if found[0].endswith("/>") else (f"<{closing}{name}>",):
                parts.append(tags.setdefault(written, chr(_PRIVATE + len(tags))))
    close()
    return _Tree(rows, nodes)
