"""Rows of a JSONL file in which nothing needs a closer look, in a tenth of the time that `RowReader.found` takes.

Nearly all rows of a large file are like that: an image beside the file, a text, an id, a prompt, metadata. All others,
and all that are wrong, are for `RowReader.found`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Mapping, Set
from json import JSONDecoder
from typing import Any, NamedTuple

from ocr_rl.data.rows import RowReader

IMAGE_NAME = re.compile(r"[^/\\#:\0][^\\#:\0]*\.(?i:png|jpe?g|webp|bmp|gif|jp2)")
"""A relative path of an image with one page; it cannot be an image in base64, nor `book.tif#3`."""


class RowContent(NamedTuple):
    """What a page has from its row, but for its tests and its image."""

    id: str
    prompt: str
    text: str | None
    metadata: Mapping[str, Any]
    """A null counts as an absent key."""


def plain_rows(
    reader: RowReader, columns: Set[str], tested: Container[str], *, prompt: str, labels: bool
) -> Callable[[bytes], RowContent | None]:
    """A function from a line to its row, if that is plain: then the image is there, and the page has no tests.

    Args:
        columns: what rows may have.
        tested: names of images that have tests of their own.
        prompt: that of pages which have none.
        labels: whether a text is needed.
    """
    roles = reader.roles
    if "image" not in roles or len(set(roles.values())) < len(roles):
        return lambda line: None
    image, written, own_id, own_prompt = map(roles.get, ("image", "text", "id", "prompt"))
    others = [roles[role] for role in ("tests", "messages") if role in roles]
    folder = os.path.join(os.path.dirname(reader.file), "")
    decode = JSONDecoder().raw_decode

    def read(line: bytes) -> RowContent | None:
        try:
            content = line.decode()
            row, end = decode(content)
            if content[end:] not in ("\n", "\r\n", "") or not isinstance(row, dict) or not row.keys() <= columns:
                return None
            name, text = row.pop(image, None), row.pop(written, None)
            page_id, asked = row.pop(own_id, None), row.pop(own_prompt, None)
            if not isinstance(name, str) or not IMAGE_NAME.fullmatch(name) or name in tested:
                return None
            if text is None:
                if labels:
                    return None
            elif not isinstance(text, str) or not text or text.isspace() or "\r" in text:
                return None
            elif not text.isascii():
                text.encode()  # raises ValueError for half of a surrogate pair
        except ValueError:
            return None
        if asked is not None and (not isinstance(asked, str) or "<" in asked):  # "<image>" is left out of a prompt
            return None
        if page_id is not None and not isinstance(page_id, str):
            return None
        for column in others:
            if row.pop(column, None) is not None:
                return None
        if not os.path.isfile(folder + name):
            return None
        return RowContent(reader.folder + name if page_id is None else page_id, asked or prompt, text, row)

    return read
