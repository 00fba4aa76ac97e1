"""What is asked of every page of a dataset before training: its document, its sides of the splits, its digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

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


def metadata_values(page: Page, key: str) -> list[str]:
    """The metadata of a page under `key`, as text: one value, each value of a list, or nothing."""
    value: Any = page.metadata.get(key, [])
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def position_of(document: str, seed: int) -> float:
    """The hash of seed and document, read as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{document}".encode()).digest()) / 2**256


def digest_of(page: Page) -> bytes:
    """8 bytes that change with the page's id, prompt, text or tests; the image is not read."""
    tests = json.dumps([dict(test) for test in page.tests], sort_keys=True, default=str) if page.tests else "[]"
    row = f"[{json.dumps(page.id)}, {json.dumps(page.prompt)}, {json.dumps(page.text)}, {tests}]"
    return hashlib.blake2b(row.encode(), digest_size=8).digest()


FACTS: dict[str, Callable[[Page], Any]] = {
    "prompt": lambda page: page.prompt,
    "stated_split": lambda page: str(page.metadata.get("split")),
    "has_text": lambda page: page.text is not None,
    "has_tests": lambda page: bool(page.tests),
    "digest": lambda page: digest_of(page).hex(),
}
"""By name; an index of pages knows them without reading the pages."""
