"""Training and validation pages, split by document, so that no line validates the page it was cut from."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ocr_rl.config.schema import DataConfig
from ocr_rl.data.facts import HALVES_SEED as HALVES_SEED
from ocr_rl.data.facts import SPLIT_SEED as SPLIT_SEED
from ocr_rl.data.facts import TRAINED as TRAINED
from ocr_rl.data.facts import document_of as document_of
from ocr_rl.data.facts import split_of as split_of
from ocr_rl.data.indexed import documents, facts, flags, id_hashes, positions, take, values_of, where
from ocr_rl.types import Page


def split_pages(pages: Sequence[Page], validation: float | int, seed: int) -> tuple[Sequence[Page], Sequence[Page]]:
    """(training pages, validation pages), both in the order given. No document is on both sides.

    A fraction: a document is held out if the hash of seed and document, read as a number in [0, 1), is below it. So
    other pages never move a document to the other side, and the fraction is met on average. If that leaves a side
    empty, as with few documents, and for a whole number of pages, documents are held out in the order of their hashes
    until there are enough pages, or one document is left to train on. 0 holds nothing out. If the pages state their
    `split` and name both sides, these are used instead, even if they cut through documents.
    """
    if validation < 0 or (isinstance(validation, float) and validation >= 1):
        raise ValueError(f"validation is {validation}: give a fraction below 1.0, or a whole number of pages")
    if stated := _stated_split(pages):
        return stated
    if validation == 0:
        return pages, where(pages, [False] * len(pages))
    if isinstance(validation, float):
        below = positions(pages, seed) < validation
        if below.any() and not below.all():
            return where(pages, ~below), where(pages, below)
    numbers, found = documents(pages, seed)
    if len(found) < 2:
        raise ValueError(
            f"cannot split {len(pages)} pages of one document; name each page's document in `doc`, "
            "or give the validation pages as a dataset of their own"
        )
    held = np.zeros(len(found), bool)
    sizes = np.bincount(numbers)
    wanted = validation * len(pages) if isinstance(validation, float) else validation
    for document in np.argsort(found, kind="stable")[:-1]:
        held[document] = True
        wanted -= sizes[document]
        if wanted <= 0:
            break
    return where(pages, ~held[numbers]), where(pages, held[numbers])


def tuning_and_test(held_out: Sequence[Page]) -> tuple[Sequence[Page], Sequence[Page]]:
    """Two halves of the held-out pages: to choose settings on, and to report.

    No document is in both: it is a test document if the hash of HALVES_SEED and document, read as a number in [0, 1),
    is below one half. If the pages state their `split`, and some of them are `test` pages and some are not, these are
    used instead, even if they cut through documents.
    """
    if {"test"} < values_of(held_out, "stated_split"):
        stated = np.array([split == "test" for split in facts(held_out, "stated_split")], bool)
        return where(held_out, ~stated), where(held_out, stated)
    return split_pages(held_out, 0.5, HALVES_SEED)


def held_out_pages(pages: Sequence[Page], data: DataConfig, limit: int) -> tuple[Sequence[Page], Sequence[Page]]:
    """(pages to train on, held-out pages) of a recipe, of these the first `limit`, or all with 0."""
    train, held_out = split_pages(pages, data.validation, SPLIT_SEED)
    if data.train != "all":
        labelled = where(held_out, _labelled(held_out))
        if not labelled and _labelled(pages).any():
            raise ValueError(
                f"none of the {len(held_out)} held-out pages has a text or tests, and data.train is {data.train}: hold "
                "more pages out (data.validation), or say which in a column `split`"
            )
        held_out = labelled or held_out
    if data.evaluate != "all":
        held_out = dict(zip(("tuning", "test"), tuning_and_test(held_out), strict=True))[data.evaluate]
    return train, held_out[: limit or None]


def _labelled(pages: Sequence[Page]) -> NDArray[np.bool_]:
    return flags(pages, "has_text") | flags(pages, "has_tests")


def amount_of(pages: Sequence[Page], amount: int) -> Sequence[Page]:
    """So many of the pages, those whose ids have the lowest hashes, in the order given; all with 0.

    So a smaller amount is a part of a larger one. Raises ValueError if there are fewer.
    """
    if amount > len(pages):
        raise ValueError(f"data.amount is {amount}, but there are {len(pages)} pages to train on; write at most that")
    return take(pages, np.sort(np.argsort(id_hashes(pages))[:amount])) if amount else pages


def _stated_split(pages: Sequence[Page]) -> tuple[Sequence[Page], Sequence[Page]] | None:
    """The split that the pages' metadata states; None unless it names both sides. Then every page must state one."""
    if not {True, False} <= set(map(TRAINED.get, values_of(pages, "stated_split"))):
        return None
    trained = list(map(TRAINED.get, facts(pages, "stated_split")))
    if None in trained:
        page = pages[trained.index(None)]
        raise ValueError(
            f'page {page.id}: "split" is {page.metadata.get("split")!r}, while others state theirs; '
            f"write one of {', '.join(TRAINED)} on every page, or on none"
        )
    sides = np.array(trained, bool)
    return where(pages, sides), where(pages, ~sides)


class SharedText(NamedTuple):
    """A text that is on both sides of a split, and the ids of its pages."""

    text: str
    train: list[str]
    validation: list[str]


def shared_text(train: Sequence[Page], validation: Sequence[Page]) -> list[SharedText]:
    """Texts that are on both sides, compared in NFC and with each run of white space as one space."""
    sides: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for side, pages in enumerate((train, validation)):
        for page in pages:
            sides[" ".join(unicodedata.normalize("NFC", page.text or "").split())][side].append(page.id)
    return [SharedText(text, *ids) for text, ids in sides.items() if text and all(ids)]
