"""The output of DeepSeek-OCR with grounding: markdown, where each block follows its label and its boxes.

    <|ref|>title<|/ref|><|det|>[[100, 80, 500, 120]]<|/det|>
    # Annual Report

Labels and boxes are dropped, and with them the text of page headers, page footers and page numbers.
"""

from __future__ import annotations

import re

from ocr_verifiers.outputs.result import Dropped, MalformedError, Markdown, without_end_tokens

_UP_TO_TOKEN = r"([^<]*+(?:<(?!\|)[^<]*+)*+)"
_LABEL = re.compile(rf"<\|ref\|>{_UP_TO_TOKEN}<\|/ref\|><\|det\|>{_UP_TO_TOKEN}<\|/det\|>")
_TOKEN = re.compile(r"<\|/?(?:ref|det)\|>")
_BOXES = re.compile(r"\[\s*+(?:\[\s*+(?:\d{1,4}\s*+[,\]]\s*+){4},?\s*+)++\]", re.ASCII)
_CENTERED = re.compile(r"</?center>")

_LABELS = (
    "title sub_title text list code equation formula table table_caption table_footnote image image_caption "
    "footnote reference header footer page_header page_footer page_number"
).split()
_FURNITURE = ("header", "footer", "page_header", "page_footer", "page_number")


def convert(text: str) -> Markdown:
    """The text of the blocks. Text without any label is malformed, unless it is blank."""
    text = without_end_tokens(text)
    dropped = Dropped()
    blocks = []
    label, position = "", 0
    for found in [*_LABEL.finditer(text), None]:
        block = text[position : found.start() if found else len(text)].strip("\n")
        if token := _TOKEN.search(block):
            raise MalformedError(f"{token[0]} is not part of <|ref|>label<|/ref|><|det|>[[boxes]]<|/det|>")
        if label in _FURNITURE:
            dropped.add(block)
        elif block.strip():
            blocks.append(_CENTERED.sub("", block) if "caption" in label else block)
        if found:
            label, position = found[1].strip(), found.end()
            for known, written in ((label in _LABELS, label), (_BOXES.fullmatch(found[2].strip()), found[2])):
                if not known:
                    dropped.add(written)
    if not position and text.strip():
        raise MalformedError("it has no <|ref|>; keep special tokens when decoding")
    dropped.check()
    return Markdown("\n\n".join(blocks))
