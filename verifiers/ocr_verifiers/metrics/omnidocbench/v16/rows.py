"""The paragraphs and formulas of a page, paired with those of its reference, as OmniDocBench v1.6 pairs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.assignment import cheapest_pairs
from ocr_verifiers.metrics.omnidocbench.matching import NEAR, Pair, distances, near_distances, partners_of_blocks
from ocr_verifiers.metrics.omnidocbench.reference import IGNORED, Expected, kind_of
from ocr_verifiers.metrics.omnidocbench.v16.blocks import Block
from ocr_verifiers.metrics.omnidocbench.v16.latex import undelimited
from ocr_verifiers.metrics.omnidocbench.v16.multiline import formula_lines
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_formula, normalized_text, read_inline

FORMULA = "equation_isolated"


@dataclass(frozen=True)
class Row:
    """Blocks of the reference and of the page that belong together."""

    kind: str
    """Of the reference; empty for what is only on the page."""
    reference: tuple[int, ...]
    page: tuple[int, ...]
    places: tuple[float, ...]
    """In reading order, of the reference; 0 for those without."""
    start: float | None
    """Where the block of the page begins; None without one."""
    category: str
    """Of the block of the page."""
    latex: tuple[str, str]
    """Both sides as they are written."""
    compared: tuple[str, str]
    edit: float
    """What the pair was judged by: not always the distance of what is compared."""


def edit_share(left: str, right: str) -> float:
    """Edits / the longer length; 0 for two empty texts."""
    return Levenshtein.normalized_distance(left, right)


def is_formula(category: str) -> bool:
    return category in (FORMULA, "equation_inline")


def split_expected(expected: Sequence[Expected]) -> list[Expected]:
    """The blocks of the reference, formulas line by line."""
    found = []
    for block in expected:
        lines = formula_lines(block.text) if block.kind == FORMULA else []
        found += [
            Expected(block.kind, displayed(line.latex), block.order + at / 1000) for at, line in enumerate(lines, 1)
        ] or [block]
    return found


def split_blocks(blocks: Sequence[Block]) -> list[Block]:
    """The blocks of a page, formulas line by line."""
    found = []
    for block in blocks:
        lines = formula_lines(block.text) if block.kind == "formula" else []
        found += [
            block._replace(text=displayed(line.latex), start=block.start + line.start, end=block.start + line.end)
            for line in lines
        ] or [block]
    return found


def displayed(latex: str) -> str:
    return f"\\[{latex.strip()}\\]"


def in_order(blocks: Sequence[Block]) -> list[Block]:
    """As they stand on the page, inline formulas last.

    As in the benchmark, of a text and a formula that begin at one place the first is what the page begins with.
    """
    kinds = list(dict.fromkeys(block.kind for block in blocks))
    return sorted(blocks, key=lambda block: (block.inline, block.start, kinds.index(block.kind)))


def normal_block(block: Block) -> str:
    return normalized_formula(block.text) if block.kind == "formula" else normalized_text(block.text)


def match(expected: Sequence[Expected], blocks: Sequence[Block], split: bool = True) -> list[Row]:
    """All blocks of the reference, paired; what is left of the page is left out.

    As in the benchmark, blocks are numbered without those that have no letter, but their places and kinds are not: a
    block takes those of one before it.
    """
    expected = split_expected(expected)
    blocks = split_blocks(in_order(blocks)) if split else in_order(blocks)
    left = [(block, text) for block in expected if block.text and (text := _normal(block))]
    right = [(block.text, text) for block in blocks if block.text and (text := normal_block(block))]
    reference, page = [text for _, text in left], [text for _, text in right]
    kinds = [block.kind for block, _ in left]
    if not reference:
        return []
    if not page:
        pairs = [(Pair((number,), ()), 1.0) for number in range(len(reference))]
    elif len(reference) == len(page) == 1:
        pairs = [(Pair((0,), (0,)), edit_share(reference[0], page[0]))]
    else:
        pairs = _pairs(reference, page, kinds)
    rows = []
    for (numbers, parts), edit in pairs:
        names = [kinds[number] for number in numbers]
        kind = kind_of(names)
        category = blocks[parts[0]].category if parts else ""
        rows.append(
            Row(
                kind,
                numbers,
                parts,
                tuple(expected[number].order for number in numbers),
                blocks[parts[0]].start if parts else None,
                category,
                (
                    _joined([left[number][0].text for number in numbers], kind == FORMULA),
                    _joined([right[number][0] for number in parts], "equation" in category),
                ),
                ("".join(reference[number] for number in numbers), "".join(page[number] for number in parts)),
                edit,
            )
        )
    return rows


def _normal(block: Expected) -> str:
    return normalized_formula(block.text) if block.kind == FORMULA else normalized_text(block.text)


def _joined(texts: Sequence[str], formulas: bool) -> str:
    if not formulas or len(texts) < 2:
        return "".join(texts)
    lines = r" \\ ".join(f"{{{undelimited(text)}}}" for text in texts)
    return rf"\begin{{array}}{{l}} {lines} \end{{array}}"


def _pairs(reference: Sequence[str], page: Sequence[str], kinds: Sequence[str]) -> list[tuple[Pair, float]]:
    """Pairs and their edits; headers and such take what is near them first."""
    aside = [number for number, kind in enumerate(kinds) if kind in IGNORED]
    others = [number for number, kind in enumerate(kinds) if kind not in IGNORED]
    taken: list[int] = []
    pairs_aside: list[tuple[Pair, float]] = []
    if aside:
        costs = near_distances([reference[number] for number in aside], page)
        near = np.argwhere(costs < NEAR).tolist()
        taken = [column for _, column in near]
        chosen = {row: at for at, (row, _) in enumerate(near)}
        matched: dict[tuple[int, ...], list[int]] = {(at,): [row] for row, at in chosen.items()}
        texts = [reference[number] for number in aside]
        pairs_aside = [
            (Pair(tuple(aside[row] for row in pair.reference), tuple(taken[at] for at in pair.page)), edit)
            for pair, edit in _with_rest(matched, texts, [page[column] for column in taken])
        ]
    used = set(taken)
    left = [number for number in range(len(page)) if number not in used]
    texts, parts = [reference[number] for number in others], [page[number] for number in left]
    formulas = {at for at, number in enumerate(others) if kinds[number] == FORMULA}
    partners = partners_of_blocks(texts, parts, formulas) if texts and parts else {}
    pairs = [
        (Pair(tuple(others[row] for row in pair.reference), tuple(left[part] for part in pair.page)), edit)
        for pair, edit in _with_rest(partners, texts, parts)
    ]
    return pairs + pairs_aside


def _with_rest(
    partners: dict[tuple[int, ...], list[int]], reference: Sequence[str], page: Sequence[str]
) -> list[tuple[Pair, float]]:
    """The pairs and their edits, what is left paired too. Of a run only the first block is judged by several blocks."""
    pairs = []
    for parts, rows in partners.items():
        numbers = tuple(sorted(rows))
        if len(numbers) > 1:
            edit = edit_share("".join(reference[row] for row in numbers), page[parts[0]])
        elif numbers:
            edit = edit_share(reference[numbers[0]], " ".join(page[part] for part in parts))
        if numbers:
            pairs.append((Pair(numbers, parts), edit))
    used = {part for parts in partners for part in parts}
    # As in the benchmark, what is left is in the order of Python's sets.
    lonely = list(set(range(len(reference))) - {row for pair, _ in pairs for row in pair.reference})
    left = list(set(range(len(page))) - used)
    if left and lonely:
        last = cheapest_pairs(distances([reference[row] for row in lonely], [page[part] for part in left]))
        pairs += [(Pair((lonely[row],), (left[column],)), 1.0) for row, column in last]
        lonely = [row for at, row in enumerate(lonely) if at not in {row for row, _ in last}]
    return pairs + [(Pair((row,), ()), 1.0) for row in lonely]


def adapted(row: Row) -> Row:
    """A formula that is paired with a text, compared as text."""
    if not row.category or is_formula(row.kind) == is_formula(row.category):
        return row
    left, right = (as_text(name, text) for name, text in zip((row.kind, row.category), row.latex, strict=True))
    compared = normalized_text(left), normalized_text(right)
    return replace(row, latex=(left, right), compared=compared, edit=edit_share(*compared))


def as_text(category: str, text: str) -> str:
    """A block as text; the commands of a formula stay."""
    return read_inline(undelimited(text) if is_formula(category) else text)
