"""The output of Nanonets-OCR: markdown with a few tags of its own.

    <watermark>, <page_number>    dropped with their text
    <signature>, <img>            dropped; their text stays, which for an image is its caption

Checkboxes are the characters ☐, ☑ and ☒, which stay.
"""

from __future__ import annotations

import re

from ocr_verifiers.outputs.result import Dropped, MalformedError, Markdown

_TAG = re.compile(r"<(/?)(watermark|page_number|signature|img)>")
_DROPPED = ("watermark", "page_number")


def convert(text: str) -> Markdown:
    """The markdown without the tags. One that is not closed, or holds another one, is malformed."""
    dropped = Dropped()
    kept: list[str] = []
    opened, position = "", 0
    for tag in _TAG.finditer(text):
        closing, name = tag.groups()
        if name != opened if closing else opened:
            where = f"inside <{opened}>" if opened else "without an opening tag"
            raise MalformedError(f"{tag[0]} stands {where}")
        between = text[position : tag.start()]
        if closing and name in _DROPPED:
            dropped.add(between)
        else:
            kept.append(between)
        opened, position = "" if closing else name, tag.end()
    if opened:
        raise MalformedError(f"<{opened}> is not closed")
    dropped.check()
    return Markdown("".join([*kept, text[position:]]))
