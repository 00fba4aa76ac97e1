"""Displayed formulas, paired in several ways, of which OmniDocBench v1.6 takes the cheapest for the page.

The ways: as they were matched among the paragraphs; by quick match, or with the smallest sum of distances, of formulas
alone; in order, where a formula of the reference may belong to several in a row; and the last two with formulas of
several lines cut into their lines, or into groups of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.assignment import cheapest_pairs
from ocr_verifiers.metrics.omnidocbench.reference import Expected
from ocr_verifiers.metrics.omnidocbench.v16.blocks import Block
from ocr_verifiers.metrics.omnidocbench.v16.in_order import ordered_pairs
from ocr_verifiers.metrics.omnidocbench.v16.latex import undelimited
from ocr_verifiers.metrics.omnidocbench.v16.logic import with_logic_as_arrays
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_formula
from ocr_verifiers.metrics.omnidocbench.v16.rows import (
    FORMULA,
    Row,
    displayed,
    edit_share,
    match,
    split_blocks,
    split_expected,
)

MOST_WAYS = 128
"""Of grouping the lines of a page's formulas; with more, none is tried."""
MOST_LINES = 8
"""Of a formula whose lines are grouped."""
_RESCUED = ("text_formula", "image_formula", "formula_rescue", "table_formula_rescue")


class Side(NamedTuple):
    """The formulas of the reference and of the page, as they are compared."""

    reference: list[tuple[str, str]]
    """As written and as compared, without the empty ones."""
    page: list[tuple[str, str]]
    expected: list[Expected]
    """With the empty ones: as in the benchmark, places are those of these."""
    blocks: list[Block]


class _Way(NamedTuple):
    rows: list[Row]
    blocks: list[Block]
    """What the numbers of the rows are looked up in."""
    formulas: int
    """On the page."""
    rewritten: int = 0


def match_formulas(expected: Sequence[Expected], blocks: Sequence[Block], matched: Sequence[Row]) -> list[Row]:
    """Each formula of the reference with those of the page; `matched` are those of the paragraphs' matching."""
    pool = [
        block._replace(kind="formula", source=number)
        for number, block in enumerate(dict.fromkeys(b for b in blocks if b.kind in ("formula", "rescue")))
    ]
    whole = _side(expected, pool)
    if not whole.reference:
        return []
    ways = [_Way(_as_formulas(matched), whole.blocks, len(pool)), *_ways(expected, pool)]
    rewritten = [block._replace(text=with_logic_as_arrays(block.text)) for block in pool]
    changed = sum(new.text != old.text for new, old in zip(rewritten, pool, strict=True))
    if changed:
        ways += [way._replace(rewritten=changed) for way in _ways(expected, rewritten)]
    best: _Way | None = None
    for way in ways:
        if _is_complete(way.rows, len(whole.reference)) and (best is None or _is_cheaper(_costs(way), _costs(best))):
            best = way
    return best.rows if best else []


def _ways(expected: Sequence[Expected], pool: list[Block]) -> Iterator[_Way]:
    whole = _side(expected, pool)
    quick = match(expected, pool, split=False)
    for rows in (_as_formulas(quick), _cheapest(whole), _in_order(whole)):
        yield _Way(rows, whole.blocks, len(pool))
    for grouped in _grouped(whole.blocks):
        side = _side(expected, grouped)
        yield _Way(_cheapest(side), side.blocks, len(pool))
    lines = _side(expected, split_blocks(whole.blocks), ordered=True)
    if len(lines.blocks) > len(whole.blocks):
        for gaps in (False, True):
            yield _Way(_in_order(lines, gaps), lines.blocks, len(pool))


def _side(expected: Sequence[Expected], blocks: Sequence[Block], ordered: bool = False) -> Side:
    if not ordered:
        blocks = sorted(blocks, key=lambda block: (block.start, category(block) == "equation_inline", block.end))
    formulas = split_expected(expected)
    left, right = (
        [(text, compared) for text in texts if text and (compared := normalized_formula(text))]
        for texts in ([block.text for block in formulas], [block.text for block in blocks])
    )
    return Side(left, right, formulas, list(blocks))


def category(block: Block) -> str:
    """What is rescued from a text, a table or an image counts as displayed."""
    return FORMULA if block.category in _RESCUED else block.category


def _as_formulas(rows: Iterable[Row]) -> list[Row]:
    return [replace(row, category=FORMULA) if row.category in _RESCUED else row for row in rows]


def _row(side: Side, number: int, parts: Sequence[int]) -> Row:
    written, compared = side.reference[number]
    latex = [side.page[part][0] for part in parts]
    text = " ".join(side.page[part][1] for part in parts).strip()
    kind = category(side.blocks[parts[0]]) if len(parts) == 1 else FORMULA if parts else ""
    return Row(
        FORMULA,
        (number,),
        tuple(parts),
        (side.expected[number].order,),
        side.blocks[parts[0]].start if parts else None,
        kind,
        (written, stacked(latex)),
        (compared, text),
        edit_share(compared, text) if parts else 1.0,
    )


def stacked(latex: Sequence[str]) -> str:
    """Formulas as the lines of one."""
    parts = [f"{{{text}}}" for part in latex if (text := undelimited(part.strip()))]
    if len(latex) < 2 or len(parts) < 2:
        return latex[0] if len(latex) == 1 else "".join(parts)[1:-1]
    return r"\begin{array}{l} " + r" \\ ".join(parts) + r" \end{array}"


def _cheapest(side: Side) -> list[Row]:
    """Pairs with the smallest sum of distances; to leave one out costs 1."""
    rows, columns = len(side.reference), len(side.page)
    costs = np.ones((rows + columns, rows + columns))
    costs[rows:, columns:] = 0
    for row, (_, text) in enumerate(side.reference):
        costs[row, :columns] = [edit_share(text, other) for _, other in side.page]
    return [_row(side, row, [column] if column < columns else []) for row, column in cheapest_pairs(costs)[:rows]]


def _in_order(side: Side, gaps: bool = False) -> list[Row]:
    """Pairs in the order of both sides, where several of the page in a row may belong to one of the reference."""
    sources = [block.source for block in side.blocks]
    kinds = [category(block) for block in side.blocks]
    runs = ordered_pairs(
        [text for _, text in side.reference],
        [text for _, text in side.page],
        sources,
        [kind == FORMULA for kind in kinds],
        [kind == "equation_inline" for kind in kinds],
        gaps,
        sum(block.category in _RESCUED for block in side.blocks),
    )
    return [_row(side, number, run) for number, run in enumerate(runs)]


def _grouped(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """The formulas with the lines of some in groups of those in a row, in each way."""
    options: list[list[list[Block]]] = []
    for block in blocks:
        lines = split_blocks([block])
        options.append([[block]] if not 1 < len(lines) <= MOST_LINES else list(_groupings(lines)))
    if all(len(option) == 1 for option in options) or math.prod(map(len, options)) > MOST_WAYS:
        return
    for chosen in product(*options):
        yield [block for part in chosen for block in part]


def _groupings(lines: Sequence[Block]) -> Iterator[list[Block]]:
    for cuts in range(1 << (len(lines) - 1)):
        groups, start = [], 0
        for end in range(1, len(lines) + 1):
            if end == len(lines) or cuts & (1 << (end - 1)):
                groups.append(_group(lines[start:end]))
                start = end
        yield groups


def _group(lines: Sequence[Block]) -> Block:
    if len(lines) == 1:
        return lines[0]
    text = displayed(stacked([line.text for line in lines]))
    return lines[0]._replace(category=FORMULA, end=lines[-1].end, text=text)


def _is_complete(rows: Sequence[Row], count: int) -> bool:
    """Whether each formula of the reference has one row of its own, with formulas of the page."""
    alone = all(len(row.reference) == 1 and row.category in ("", FORMULA, "equation_inline") for row in rows)
    return alone and len(rows) == count


def _costs(way: _Way) -> tuple[float, ...]:
    """What ways are compared by, the most important one first."""
    pairs = [row.compared for row in way.rows if row.page]
    length = sum(max(map(len, pair)) for pair in pairs)
    sources = {way.blocks[number].source for row in way.rows for number in row.page if number < len(way.blocks)}
    total = sum(row.edit for row in way.rows)
    return (
        total,
        sum(Levenshtein.distance(*pair) for pair in pairs) / length if length else 0,
        max(0, way.formulas - len(sources)),
        total / len(way.rows),
        -way.rewritten,
        sum(not row.page for row in way.rows),
    )


def _is_cheaper(costs: tuple[float, ...], than: tuple[float, ...]) -> bool:
    for one, other in zip(costs, than, strict=True):
        if abs(one - other) > 1e-12:
            return one < other
    return False
