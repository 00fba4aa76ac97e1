"""What a page earns in OmniDocBench v1.6."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup import katex
from ocr_verifiers.metrics.assignment import cheapest_pairs
from ocr_verifiers.metrics.cdm import cdm
from ocr_verifiers.metrics.omnidocbench.matching import distances
from ocr_verifiers.metrics.omnidocbench.reference import IGNORED, Expected, ReferencePage
from ocr_verifiers.metrics.omnidocbench.scoring import BlockScore, PageScore, undelimited_formula
from ocr_verifiers.metrics.omnidocbench.tables import TableScore, table_score
from ocr_verifiers.metrics.omnidocbench.v16.blocks import Block, page_blocks
from ocr_verifiers.metrics.omnidocbench.v16.formulas import match_formulas
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_table
from ocr_verifiers.metrics.omnidocbench.v16.rows import FORMULA, Row, adapted, match
from ocr_verifiers.metrics.omnidocbench.v16.spans import with_nearer_spans

Place = tuple[tuple[float, ...], float | None]
"""Of a pair in the reference's order, and where it begins on the page."""


def score_page(reference: ReferencePage, markdown: str, render: bool = True) -> PageScore:
    """The blocks of a page, paired with those of its reference; without CDM if not `render`, or without mini-racer.

    What is only on the page is not scored.
    """
    blocks = page_blocks(markdown)
    expected = sorted([*reference.texts, *reference.formulas], key=lambda block: block.order)
    mixed = [block for block in blocks if block.kind in ("text", "formula")]
    rows = with_nearer_spans([adapted(row) for row in match(expected, mixed)], mixed)
    texts = [row for row in rows if row.kind != FORMULA and row.kind not in IGNORED]
    matched = [row for row in rows if row.kind == FORMULA]
    formulas = match_formulas(reference.formulas, blocks, matched) if reference.formulas else []
    tables, places = _tables(reference.tables, [block for block in blocks if block.kind.endswith("table")])
    places = [(row.places, row.start) for row in (*texts, *formulas)] + places
    rendered = render and katex.installed()
    return PageScore(
        reference.image,
        reference.attributes,
        [BlockScore(*row.compared, row.kind) for row in texts],
        [BlockScore(*row.compared, row.kind, cdm=_cdm(row) if rendered else None) for row in formulas],
        tables,
        _order(places),
    )


def _order(pairs: Sequence[Place]) -> float | None:
    right = sorted(place for places, _ in pairs for place in places if place)
    matched = sorted(((start, places) for places, start in pairs if start is not None), key=lambda pair: pair[0])
    found = [place for _, places in matched for place in places if place]
    longest = max(len(right), len(found))
    return Levenshtein.distance(right, found) / longest if longest else None


def _cdm(row: Row) -> float | None:
    found = cdm(*map(undelimited_formula, row.latex))
    return found and found.f1


def _tables(expected: Sequence[Expected], blocks: Sequence[Block]) -> tuple[list[BlockScore], list[Place]]:
    """Tables, paired with the smallest sum of distances, and their places.

    As in the benchmark, a table that is paired with the first one of the page has no place there, and tables on the
    page that cannot be read shift the places of those after them.
    """
    blocks = [block for block in blocks if block.kind == "table"] + [b for b in blocks if b.kind == "latex_table"]
    reference = [text for block in expected if (text := _normal(block.text))]
    page = [text for block in blocks if block.kind == "table" and (text := _normal(block.text))]
    alone = len(reference) == len(page) == 1
    partners = {0: 0} if alone else dict(cheapest_pairs(distances(reference, page))) if reference and page else {}
    scores: list[BlockScore] = []
    places: list[Place] = []
    for number, text in enumerate(reference):
        partner = partners.get(number)
        found = "" if partner is None else page[partner]
        scores.append(BlockScore(text, found, "table", table_score(text, found)))
        places.append(((expected[number].order,), blocks[partner].start if partner else None))
    if expected and not scores:
        scores = [BlockScore("", "", "table", TableScore(0.0, 0.0))]
    return scores, places


def _normal(table: str) -> str:
    return normalized_table(table) if "<table" in table.lower() else table
