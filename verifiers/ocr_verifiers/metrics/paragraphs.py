"""The paragraphs of a page, and whether their number is right."""

from __future__ import annotations

import re

from ocr_verifiers.text.normalize import strict

_END = re.compile(r"\n[ \t\r]*(?=\n)|</(?:p|h[1-6]|div|li|ul|ol|table|blockquote)\s*>", re.IGNORECASE)
_HEADING = re.compile(r"^( {0,3}#{1,6}[ \t][^\n]*)$", re.MULTILINE)
_MARKUP = re.compile(r"</?(?:p|h[1-6]|div|li|ul|ol|table|blockquote)(?:\s[^<>]*)?>", re.IGNORECASE)
_HASHES = re.compile(r"^#{1,6} ")


def paragraphs(text: str) -> list[str]:
    """The paragraphs, normalised as unit tests compare texts. Blank lines and closing block tags separate them.

    A markdown heading is a separate paragraph, and is compared without its #.
    """
    pieces = _END.split(_HEADING.sub(r"\n\n\1\n\n", text))
    stripped = (_HASHES.sub("", strict(_MARKUP.sub(" ", piece))) for piece in pieces if piece.strip())
    return [paragraph for paragraph in stripped if paragraph]


def paragraph_count(reference: str, completion: str) -> float:
    """max(0, 1 - |completion's paragraphs - reference's| / reference's): R_count of arXiv 2506.03197.

    Against a reference without paragraphs, a completion without paragraphs scores 1 and any other 0.
    """
    expected, written = len(paragraphs(reference)), len(paragraphs(completion))
    if not expected:
        return float(not written)
    return max(0.0, 1 - abs(written - expected) / expected)
