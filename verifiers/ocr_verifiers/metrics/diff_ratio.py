"""The diff ratio: how much two texts have in common, in order."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import Indel

from ocr_verifiers.text.edit_distance import Unit, check_unit
from ocr_verifiers.text.normalize import graphemes

LONGEST = 100_000
"""Characters. If both texts are longer, their words are compared instead."""


def diff_ratio(reference: str, completion: str, unit: Unit = "codepoint") -> float:
    """2 M / (length of both texts), with M the length of their longest common subsequence; 1 for two empty texts.

    This is the ratio of difflib's SequenceMatcher, but for the best alignment instead of difflib's greedy one, so it
    is never lower. Symmetric. The texts are not normalised here.
    """
    check_unit(unit)
    source: Sequence[str] = reference
    target: Sequence[str] = completion
    if min(len(reference), len(completion)) > LONGEST:
        source, target = reference.split(), completion.split()
    elif unit == "grapheme":
        source, target = graphemes(reference), graphemes(completion)
    return Indel.normalized_similarity(source, target)
