"""Pages that are read when they are asked for, and how questions about all pages of a dataset are answered.

Each function here takes any sequence of pages; of indexed ones it reads none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from ocr_rl.data.facts import FACTS, HALVES_SEED, SPLIT_SEED, document_of, older_digest_of, position_of
from ocr_rl.data.index import Index, id_hash
from ocr_rl.types import Page


@dataclass(frozen=True, eq=False)
class IndexedPages(Sequence[Page]):
    """Some pages of an index, in an order; each access reads its page from disk."""

    table: Index
    rows: NDArray[np.int64] | None = None
    """Their numbers in the index; None: all of them."""

    def __len__(self) -> int:
        return len(self.table) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, key: int) -> Page: ...

    @overload
    def __getitem__(self, key: slice) -> IndexedPages: ...

    def __getitem__(self, key: int | slice) -> Page | IndexedPages:
        if isinstance(key, slice):
            return self.take(np.arange(len(self))[key])
        rows: Sequence[int] | NDArray[np.int64] = range(len(self.table)) if self.rows is None else self.rows
        return self.table.page(int(rows[key]))

    def take(self, places: NDArray[np.int64]) -> IndexedPages:
        """The pages at these places."""
        return IndexedPages(self.table, places if self.rows is None else self.rows[places])

    def column(self, name: str) -> NDArray[Any]:
        """A column of the index, for these pages."""
        values = self.table.columns[name]
        return values if self.rows is None else values[self.rows]


def facts(pages: Sequence[Page], name: str) -> Sequence[Any]:
    """The value of `FACTS[name]` of each page."""
    if not isinstance(pages, IndexedPages):
        return [FACTS[name](page) for page in pages]
    values = pages.column(name).tolist()
    if name == "digest":
        return [f"{value:016x}" for value in values]
    known: Sequence[Any] = pages.table.names.get(name, (False, True))
    return [known[value] for value in values]


def recorded(*parts: Sequence[Page]) -> dict[str, list[str]]:
    """What a checkpoint holds to tell these pages from others."""
    return {"page_digests": [digest for pages in parts for digest in facts(pages, "digest")]}


def as_recorded(record: Mapping[str, Any], *parts: Sequence[Page]) -> tuple[list[str], list[str]]:
    """(the digests in a record, those of these pages). Earlier versions recorded other digests, as `page_hashes`."""
    if "page_digests" in record:
        return record["page_digests"], recorded(*parts)["page_digests"]
    return record["page_hashes"], [older_digest_of(page).hex() for pages in parts for page in pages]


def flags(pages: Sequence[Page], name: Literal["has_text", "has_tests"]) -> NDArray[np.bool_]:
    """`facts` in a byte each, where a list takes eight."""
    return pages.column(name).astype(bool) if isinstance(pages, IndexedPages) else np.array(facts(pages, name), bool)


def values_of(pages: Sequence[Page], name: Literal["prompt", "stated_split"]) -> set[str]:
    """Those of `facts`, each once."""
    if not isinstance(pages, IndexedPages):
        return set(facts(pages, name))
    known = pages.table.names[name]
    if len(known) == 1 and len(pages):
        return set(known)
    return {known[value] for value in np.flatnonzero(np.bincount(pages.column(name))).tolist()}


def id_hashes(pages: Sequence[Page]) -> NDArray[np.uint64]:
    """A hash of each page's id."""
    if isinstance(pages, IndexedPages):
        return pages.column("id")
    return np.fromiter((id_hash(page.id) for page in pages), np.uint64, len(pages))


def positions(pages: Sequence[Page], seed: int) -> NDArray[np.float64]:
    """The position of each page's document: see `position_of`."""
    if isinstance(pages, IndexedPages) and seed in (SPLIT_SEED, HALVES_SEED):
        return pages.column("split" if seed == SPLIT_SEED else "halves")
    numbers, found = documents(pages, seed)
    return found[numbers]


def documents(pages: Sequence[Page], seed: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(the number of each page's document, the position of each document: see `position_of`)."""
    if isinstance(pages, IndexedPages) and seed in (SPLIT_SEED, HALVES_SEED):
        found, numbers = np.unique(positions(pages, seed), return_inverse=True)
        return numbers, found
    known: dict[str, int] = {}
    numbers = np.fromiter((known.setdefault(document_of(page), len(known)) for page in pages), np.int64, len(pages))
    return numbers, np.array([position_of(document, seed) for document in known])


def take(pages: Sequence[Page], places: Sequence[int] | NDArray[np.int64]) -> Sequence[Page]:
    """The pages at these places."""
    if isinstance(pages, IndexedPages):
        return pages.take(np.asarray(places, np.int64))
    return [pages[place] for place in places]


def where(pages: Sequence[Page], wanted: Sequence[bool] | NDArray[np.bool_]) -> Sequence[Page]:
    """The pages for which it is true."""
    return take(pages, np.flatnonzero(np.asarray(wanted, bool)))


def joined(first: Sequence[Page], second: Sequence[Page]) -> Sequence[Page]:
    """The pages of both."""
    if isinstance(first, IndexedPages) and isinstance(second, IndexedPages) and first.table is second.table:
        rows = [np.arange(len(one)) if one.rows is None else one.rows for one in (first, second)]
        return IndexedPages(first.table, np.concatenate(rows))
    return [*first, *second]


def with_ids(pages: Sequence[Page], ids: Set[str]) -> Sequence[Page]:
    """The pages whose ids are among these."""
    if isinstance(pages, IndexedPages):
        hashes = np.fromiter(map(id_hash, ids), np.uint64, len(ids))
        return where(pages, np.isin(pages.column("id"), hashes))
    return [page for page in pages if page.id in ids]


def by_id(pages: Sequence[Page]) -> Mapping[str, Page]:
    """The pages by their ids, which differ."""
    return _ById(pages) if isinstance(pages, IndexedPages) else {page.id: page for page in pages}


class _ById(Mapping[str, Page]):
    def __init__(self, pages: IndexedPages) -> None:
        self._pages = pages
        hashes = pages.column("id")
        self._order = np.argsort(hashes)
        self._hashes = hashes[self._order]

    def _place(self, id: object) -> int | None:
        if not isinstance(id, str):
            return None
        wanted = np.uint64(id_hash(id))
        place = int(np.searchsorted(self._hashes, wanted))
        return int(self._order[place]) if place < len(self._hashes) and self._hashes[place] == wanted else None

    def __contains__(self, id: object) -> bool:
        return self._place(id) is not None

    def __getitem__(self, id: str) -> Page:
        place = self._place(id)
        if place is None:
            raise KeyError(id)
        return self._pages[place]

    def __iter__(self) -> Iterator[str]:
        return (page.id for page in self._pages)

    def __len__(self) -> int:
        return len(self._pages)
