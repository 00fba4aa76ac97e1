"""Training and validation pages, split by document, so that no line validates the page it was cut from."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256
from typing import NamedTuple

from ocr_rl.config.schema import DataConfig
from ocr_rl.types import Page

SPLIT_SEED = 0
"""The seed of all splits. Recipes cannot change it, so every run holds out the same pages."""
HALVES_SEED = 1
"""The seed of the split of held-out documents into two halves."""
TRAINED = {"train": True, "validation": False, "val": False, "valid": False, "dev": False, "test": False}
"""What `metadata["split"]` may say, and whether it means the training side."""


def document_of(page: Page) -> str:
    """The document of a page: its `doc` if the dataset names one, else its PDF or TIFF, else its own id."""
    doc = page.metadata.get("doc")
    return re.sub(r"(\.pdf|\.tiff?)#\d+$", r"\1", page.id, flags=re.IGNORECASE) if doc in (None, "") else str(doc)


def split_of(page: Page) -> str:
    """The split that the page states, else the first of its folders that is named as one; empty if there is none."""
    folders = page.id.split("/")[:-1]
    return str(page.metadata.get("split") or next((name for name in folders if name in TRAINED), ""))


def split_pages(pages: Sequence[Page], validation: float | int, seed: int) -> tuple[list[Page], list[Page]]:
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
        return list(pages), []
    sizes: dict[str, int] = defaultdict(int)
    for page in pages:
        sizes[document_of(page)] += 1
    if len(sizes) < 2:
        raise ValueError(
            f"cannot split {len(pages)} pages of one document; name each page's document in `doc`, "
            "or give the validation pages as a dataset of their own"
        )
    position = {doc: int.from_bytes(sha256(f"{seed}:{doc}".encode()).digest()) / 2**256 for doc in sizes}
    held = {doc for doc in sizes if position[doc] < validation} if isinstance(validation, float) else set()
    if len(held) in (0, len(sizes)):
        held = set()
        wanted = validation * len(pages) if isinstance(validation, float) else validation
        for doc in sorted(sizes, key=position.__getitem__)[:-1]:
            held.add(doc)
            wanted -= sizes[doc]
            if wanted <= 0:
                break
    train = [page for page in pages if document_of(page) not in held]
    return train, [page for page in pages if document_of(page) in held]


def tuning_and_test(held_out: Sequence[Page]) -> tuple[list[Page], list[Page]]:
    """Two halves of the held-out pages: to choose settings on, and to report.

    No document is in both: it is a test document if the hash of HALVES_SEED and document, read as a number in [0, 1),
    is below one half. If the pages state their `split`, and some of them are `test` pages and some are not, these are
    used instead, even if they cut through documents.
    """
    stated = [page.metadata.get("split") == "test" for page in held_out]
    if len(set(stated)) == 2:
        pairs = list(zip(held_out, stated, strict=True))
        return [page for page, test in pairs if not test], [page for page, test in pairs if test]
    return split_pages(held_out, 0.5, HALVES_SEED)


def held_out_pages(pages: Sequence[Page], data: DataConfig, limit: int) -> tuple[list[Page], list[Page]]:
    """(pages to train on, held-out pages) of a recipe, of these the first `limit`, or all with 0."""
    train, held_out = split_pages(pages, data.validation, SPLIT_SEED)
    if data.train != "all":
        labelled = [page for page in held_out if page.text is not None or page.tests]
        if not labelled and any(page.text is not None or page.tests for page in pages):
            raise ValueError(
                f"none of the {len(held_out)} held-out pages has a text or tests, and data.train is {data.train}: hold "
                "more pages out (data.validation), or say which in a column `split`"
            )
        held_out = labelled or held_out
    if data.evaluate != "all":
        held_out = dict(zip(("tuning", "test"), tuning_and_test(held_out), strict=True))[data.evaluate]
    return train, held_out[: limit or None]


def _stated_split(pages: Sequence[Page]) -> tuple[list[Page], list[Page]] | None:
    """The split that the pages' metadata states; None unless it names both sides. Then every page must state one."""
    trained = [TRAINED.get(str(page.metadata.get("split"))) for page in pages]
    if not {True, False} <= set(trained):
        return None
    if None in trained:
        page = pages[trained.index(None)]
        raise ValueError(
            f'page {page.id}: "split" is {page.metadata.get("split")!r}, while others state theirs; '
            f"write one of {', '.join(TRAINED)} on every page, or on none"
        )
    both = list(zip(pages, trained, strict=True))
    return [page for page, train in both if train], [page for page, train in both if not train]


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
