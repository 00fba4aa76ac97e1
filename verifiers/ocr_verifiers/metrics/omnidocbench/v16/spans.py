"""A second look at paragraphs that OmniDocBench v1.6 found badly: some blocks in a row may be nearer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ocr_verifiers.metrics.omnidocbench.v16.blocks import Block
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_text, with_normal_formulas
from ocr_verifiers.metrics.omnidocbench.v16.rows import Row, as_text, edit_share, in_order

BAD = 0.45
LONG = 80
"""Characters of a paragraph that is worth a second look."""
AROUND = 8
"""Blocks before and after those that it was paired with."""
_INLINE = re.compile(r"\$[^$]+\$|\\\([^)]*\\\)")
_COMMANDS = (r"\frac", r"\sum", r"\int", r"\sqrt", r"\left", r"\right")
_EQUAL = 1e-12


def with_nearer_spans(rows: Sequence[Row], blocks: Sequence[Block]) -> list[Row]:
    """The rows, with titles and long paragraphs paired with up to 4 blocks in a row, or 8 if they have formulas.

    A span must be nearer by .2 and may have no block of another row; the largest gain is taken first. As in the
    benchmark, the blocks of rows are numbered as they were matched, and those of spans are not.
    """
    pool = [block for block in in_order(blocks) if block.kind in ("text", "formula")]
    owned = [_owned(row, pool) for row in rows]
    found = []
    for at, row in enumerate(rows):
        if _needs_a_look(row):
            others = {number for other, numbers in enumerate(owned) if other != at for number in numbers}
            span = _nearest_span(row, pool, sorted(set(owned[at])), others)
            if span is not None:
                found.append((row.edit - span.edit, at, span))
    result, used = list(rows), set[int]()
    for _, at, span in sorted(found, key=lambda gain: -gain[0]):
        if not used & set(span.page):
            result[at] = span
            used |= set(span.page)
    return result


def _owned(row: Row, pool: Sequence[Block]) -> list[int]:
    start = row.start
    numbers = [number for number in row.page if number < len(pool)]
    if numbers or start is None:
        return numbers
    return [number for number, block in enumerate(pool) if block.start <= start <= block.end]


def _has_formula(text: str) -> bool:
    scripts = ("^" in text or "_" in text) and ("$" in text or "\\" in text)
    last = max(text.rfind("$"), text.rfind(r"\)") + 1) + 1
    return bool(_INLINE.search(text, 0, last)) or any(command in text for command in _COMMANDS) or scripts


def _needs_a_look(row: Row) -> bool:
    if row.edit <= BAD or row.kind not in ("title", "text_block"):
        return False
    return row.kind == "title" or _has_formula(row.latex[0]) or len(row.compared[0]) >= LONG


def _nearest_span(row: Row, pool: Sequence[Block], owned: Sequence[int], others: set[int]) -> Row | None:
    formulas = _has_formula(row.latex[0])
    text = with_normal_formulas(row.latex[0]) if formulas else as_text(row.kind, row.latex[0])
    text = normalized_text(text)
    if not text:
        return None
    first, last = (max(0, owned[0] - AROUND), min(len(pool) - 1, owned[-1] + AROUND)) if owned else (0, len(pool) - 1)
    free = [number not in others and (formulas or block.kind == "text") for number, block in enumerate(pool)]
    best: tuple[float, int, int] | None = None
    span: Row | None = None
    for start in range(first, last + 1):
        written = ""
        for end in range(start, min(last + 1, start + (8 if formulas else 4))):
            if not free[end]:
                break
            written += as_text("text" if pool[end].kind == "text" else "equation_isolated", pool[end].text)
            compared = normalized_text(written)
            if not compared:
                continue
            key = edit_share(text, compared), end - start, abs(start - owned[0]) if owned else 0
            if best is None or key[0] < best[0] - _EQUAL or (key[0] <= best[0] + _EQUAL and key[1:] < best[1:]):
                best = key
                span = replace(
                    row,
                    page=tuple(range(start, end + 1)),
                    start=pool[start].start,
                    category="text_block",
                    latex=(row.latex[0], "".join(block.text for block in pool[start : end + 1])),
                    compared=(row.compared[0], compared),
                    edit=key[0],
                )
    if best is None or best[0] >= row.edit - 0.2 or best[0] > (0.45 if formulas else 0.35):
        return None
    return span
