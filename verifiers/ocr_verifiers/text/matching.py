"""Which characters of a text another text confirms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.normalize import nfc, whitespace
from ocr_verifiers.text.offsets import prefix_lengths


def matching(text: str, other: str) -> list[bool]:
    """For each character of `text`, whether `other` has it too and has nothing more beside it.

    The texts are aligned with the fewest edits, after NFC and white space collapsing, as for CER; every edit makes at
    least one character false. What `text` lacks counts against the character before the gap, or, if that is a space,
    against the one after it. A text without characters lacks everything silently.
    """
    return matching_all(text, [other])[0]


def matching_all(text: str, others: Sequence[str]) -> list[list[bool]]:
    """`matching` with each of the others. What normalisation leaves out, such as a space beside another, or joins, such
    as an accent, is confirmed with the character before it."""
    compared = whitespace(nfc(text))
    ends = prefix_lengths(text, compared)
    known: dict[str, list[bool]] = {}
    for other in dict.fromkeys(others):
        found = _matching(compared, whitespace(nfc(other)))
        own: list[bool] = []
        for start, end in pairwise(ends):
            own.append(all(found[start:end]) if end > start else not own or own[-1])
        known[other] = own
    return [known[other] for other in others]


def _matching(text: str, other: str) -> list[bool]:
    found = [True] * len(text)
    for edit in Levenshtein.editops(text, other) if text else ():
        place = edit.src_pos
        if edit.tag == "insert":
            before = place > 0 and (place == len(text) or text[place - 1] != " ")
            place -= before
        found[place] = False
    return found
