"""What a page earns in OmniDocBench, and all pages together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup import katex
from ocr_verifiers.metrics.cdm import cdm
from ocr_verifiers.metrics.omnidocbench.blocks import Kind, page_blocks
from ocr_verifiers.metrics.omnidocbench.matching import Pair, quick_match, simple_match
from ocr_verifiers.metrics.omnidocbench.normalization import normalized_formula, normalized_table, normalized_text
from ocr_verifiers.metrics.omnidocbench.reference import IGNORED, Expected, ReferencePage, kind_of
from ocr_verifiers.metrics.omnidocbench.tables import TableScore, table_score

_TAG = re.compile(r"\\tag\*?\s*\{[^{}]*\}")
_DELIMITERS = re.compile(r"\$\$|(?<!\\)\\[\[\]()]")


class BlockScore(NamedTuple):
    """Blocks of the reference and of the page that were paired."""

    reference: str
    """As it is compared."""
    page: str
    kind: str = ""
    """Of the reference; empty for what is only on the page."""
    table: TableScore | None = None
    cdm: float | None = None
    """Of formulas; None if the reference cannot be rendered."""

    @property
    def edits(self) -> int:
        return Levenshtein.distance(self.reference, self.page, score_hint=self.length // 16)

    @property
    def edit(self) -> float:
        """Edits / length."""
        return self.edits / max(1, self.length)

    @property
    def length(self) -> int:
        """Of the longer one."""
        return max(len(self.reference), len(self.page))


@dataclass(frozen=True)
class PageScore:
    """The blocks of a page, paired."""

    image: str
    attributes: Mapping[str, Any]
    """Of the page: `language` and others."""
    texts: Sequence[BlockScore] = ()
    formulas: Sequence[BlockScore] = ()
    tables: Sequence[BlockScore] = ()
    order: float | None = None
    """Edits of the order of its paragraphs / their number; None without any."""

    @property
    def language(self) -> str:
        return str(self.attributes.get("language", ""))


class Summary(NamedTuple):
    """Means over pages that have blocks of the kind; None if there is none. Edits are better when lower."""

    pages: int
    text_edit: float | None
    formula_edit: float | None
    table_edit: float | None
    table_teds: float | None
    table_teds_s: float | None
    order_edit: float | None
    formula_cdm: float | None

    @property
    def overall(self) -> float | None:
        """The published one, the mean of 1 - text edit, CDM and TEDS, of those that there are; None without CDM."""
        if self.formula_cdm is None and self.formula_edit is not None:
            return None
        return _mean([1 - value for value in _known(self.text_edit)] + _known(self.formula_cdm, self.table_teds))

    @property
    def overall_edit(self) -> float | None:
        """Evalscope's: the mean of 1 - text, 1 - formula and 1 - order edit and TEDS, of those that there are."""
        edits = [1 - edit for edit in _known(self.text_edit, self.formula_edit, self.order_edit)]
        return _mean([*edits, *_known(self.table_teds)])


def score_page(reference: ReferencePage, markdown: str, render: bool = True) -> PageScore:
    """The blocks of a page, paired with those of its reference; without CDM if not `render`, or without mini-racer."""
    blocks = page_blocks(markdown)
    written: dict[Kind, list[str]] = {kind: [] for kind in ("text", "formula", "table", "latex_table")}
    for block in blocks:
        written[block.kind].append(block.text)
    texts, order = _texts(reference.texts, written["text"]) if reference.texts else ([], None)
    return PageScore(
        reference.image,
        reference.attributes,
        texts,
        _formulas(reference.formulas, written["formula"], render and katex.installed()),
        _tables(reference.tables, written["table"]),
        order,
    )


def summary(pages: Sequence[PageScore]) -> Summary:
    """The means over pages."""

    def edit(blocks: Callable[[PageScore], Sequence[BlockScore]]) -> float | None:
        """The mean over pages of edits / length, each over all blocks of a page."""
        counts = [(sum(b.edits for b in blocks(page)), sum(b.length for b in blocks(page))) for page in pages]
        return _mean([edits / length for edits, length in counts if length])

    def tables(value: Callable[[TableScore], float]) -> float | None:
        return _mean(
            [
                math.fsum(value(block.table) for block in page.tables if block.table) / len(page.tables)
                for page in pages
                if page.tables
            ]
        )

    return Summary(
        len(pages),
        edit(lambda page: page.texts),
        edit(lambda page: page.formulas),
        edit(lambda page: page.tables),
        tables(lambda score: score.teds),
        tables(lambda score: score.structure),
        _mean(_known(*(page.order for page in pages))),
        _mean(_known(*(_mean(_known(*(block.cdm for block in page.formulas))) for page in pages))),
    )


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return math.fsum(known) / len(known) if known else None


def _known(*values: float | None) -> list[float]:
    return [value for value in values if value is not None]


def _texts(expected: Sequence[Expected], written: Sequence[str]) -> tuple[list[BlockScore], float | None]:
    """Paragraphs, and the edits of their order.

    As in the benchmark, blocks are numbered without those that have no letter, but their kinds' places are not; so a
    block takes the place of one before it.
    """
    compared = [(block.kind, normalized_text(block.text)) for block in expected]
    kinds, reference = [kind for kind, text in compared if text], [text for _, text in compared if text]
    page = [text for text in map(normalized_text, written) if text]
    kept = [pair for pair in quick_match(reference, page) if _counts([kinds[number] for number in pair.reference])]
    scores = [
        _block(pair, reference, page)._replace(kind=kind_of([kinds[number] for number in pair.reference]))
        for pair in kept
    ]
    places = [[expected[number].order for number in pair.reference] for pair in kept]
    right = sorted(place for places_of_pair in places for place in places_of_pair if place)
    matched = sorted(
        ((pair.page[0], at) for at, pair in enumerate(kept) if pair.reference and pair.page), key=lambda found: found[0]
    )
    found = [place for _, at in matched for place in places[at] if place]
    longest = max(len(right), len(found))
    return scores, (Levenshtein.distance(right, found) / longest if longest else None)


def _counts(kinds: Sequence[str]) -> bool:
    """True unless all blocks of a pair may be left out; what is only on the page counts."""
    return not kinds or any(kind not in IGNORED for kind in kinds)


def _formulas(expected: Sequence[Expected], written: Sequence[str], render: bool) -> list[BlockScore]:
    if not expected:
        return []
    sides = [
        [(text, compared) for text in side if (compared := normalized_formula(text))]
        for side in ([block.text for block in expected], written)
    ]
    latex = [[text for text, _ in side] for side in sides]
    reference, page = ([compared for _, compared in side] for side in sides)
    scores = []
    for pair in quick_match(reference, page):
        if pair.reference:
            score = _block(pair, reference, page)._replace(kind="equation_isolated")
            scores.append(score._replace(cdm=_cdm(_block(pair, *latex))) if render else score)
    return scores


def _cdm(latex: BlockScore) -> float | None:
    match = cdm(undelimited_formula(latex.reference), undelimited_formula(latex.page))
    return match and match.f1


def undelimited_formula(latex: str) -> str:
    """Without delimiters and equation numbers, which do not count in CDM."""
    text = _DELIMITERS.sub(" ", _TAG.sub("", latex)).strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == "$" else text


def _tables(expected: Sequence[Expected], written: Sequence[str]) -> list[BlockScore]:
    reference = [block.text for block in expected if block.text]
    scores = []
    for pair in simple_match(reference, written):
        if pair.reference:
            left, right = (
                "".join(side[number] for number in numbers)
                for side, numbers in ((reference, pair.reference), (written, pair.page))
            )
            normal, other = normalized_table(left), normalized_table(right)
            scores.append(
                BlockScore(normal or left, other or right, "table", table_score(normal or left, other or right))
            )
    return scores


def _block(pair: Pair, reference: Sequence[str], page: Sequence[str]) -> BlockScore:
    return BlockScore(
        "".join(reference[number] for number in pair.reference), "".join(page[number] for number in pair.page)
    )
