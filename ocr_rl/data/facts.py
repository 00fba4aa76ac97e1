"""What is asked of every page of a dataset before training: its document, its sides of the splits, its digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
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
    return document_in(page.id, page.metadata)


def document_in(page_id: str, metadata: Mapping[str, Any]) -> str:
    """See `document_of`. In `metadata` a null counts as an absent key."""
    doc = metadata.get("doc")
    return re.sub(r"(\.pdf|\.tiff?)#\d+$", r"\1", page_id, flags=re.IGNORECASE) if doc in (None, "") else str(doc)


def split_of(page: Page) -> str:
    """The split that the page states, else the first of its folders that is named as one; empty if there is none."""
    return split_in(page.id, page.metadata)


def split_in(page_id: str, metadata: Mapping[str, Any]) -> str:
    """See `split_of`. In `metadata` a null counts as an absent key."""
    folders = page_id.split("/")[:-1]
    return str(metadata.get("split") or next((name for name in folders if name in TRAINED), ""))


def metadata_values(page: Page, key: str) -> list[str]:
    """The metadata of a page under `key`, as text: one value, each value of a list, or nothing."""
    return values_in(page.metadata, key)


def values_in(metadata: Mapping[str, Any], key: str) -> list[str]:
    """See `metadata_values`. In `metadata` a null counts as an absent key."""
    value: Any = metadata.get(key)
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def position_of(document: str, seed: int) -> float:
    """The hash of seed and document, read as a number in [0, 1)."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{document}".encode()).digest()) / 2**256


def digest_of(page: Page) -> bytes:
    """8 bytes that change with the page's id, prompt, text or tests; the image is not read."""
    return digest_in(page.id, page.prompt, page.text, _json_of_tests(page) if page.tests else "")


def digest_in(page_id: str, prompt: str, text: str | None, tests: str = "") -> bytes:
    """See `digest_of`. The lengths come first, so that each of the parts counts by itself."""
    lengths = f"{len(page_id)} {len(prompt)} {-1 if text is None else len(text)} "
    content = f"{lengths}{page_id}{prompt}{text or ''}{tests}"
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).digest()[:8]


def older_digest_of(page: Page) -> bytes:
    """`digest_of` as checkpoints of earlier versions have it: that of a JSON list, which takes four times as long."""
    row = f"[{json.dumps(page.id)}, {json.dumps(page.prompt)}, {json.dumps(page.text)}, {_json_of_tests(page)}]"
    return hashlib.blake2b(row.encode(), digest_size=8).digest()


def _json_of_tests(page: Page) -> str:
    return json.dumps([dict(test) for test in page.tests], sort_keys=True, default=str)


FACTS: dict[str, Callable[[Page], Any]] = {
    "prompt": lambda page: page.prompt,
    "stated_split": lambda page: str(page.metadata.get("split")),
    "has_text": lambda page: page.text is not None,
    "has_tests": lambda page: bool(page.tests),
    "digest": lambda page: digest_of(page).hex(),
}
"""By name; an index of pages knows them without reading the pages."""
