"""Which tokens of a completion its edits come from: the edit distance as a sum over tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ocr_rl.types import Group
from ocr_verifiers import Rubric
from ocr_verifiers.text.edit_distance import units
from ocr_verifiers.text.offsets import prefix_lengths
from ocr_verifiers.text.prefix_edits import prefix_edits


class TokenCredit(NamedTuple):
    """For a completion of T tokens, the end token included."""

    deltas: list[int]
    """delta_t = m_t - m_(t+1), (T,), 0 or less: minus the edits that token t made unavoidable, m_t the fewest that any
    continuation of the first t tokens ends with. The end token pays for what it leaves out."""
    positions: list[int]
    """How many characters of the reference the tokens before each token stand for, (T,)."""
    length: int
    """Characters of the longer one of reference and completion, by which a similarity divides its edits."""


def token_credits(group: Group, pieces: Sequence[Sequence[str]], reference: str, rubric: Rubric) -> list[TokenCredit]:
    """The credit of each completion's tokens against a reference.

    The deltas of a finished completion add up to minus its edit distance, so the best completion by them is the best by
    similarity. One that was cut off is not charged for the rest of the reference: no token of it decided to stop.

    Args:
        pieces: what each token of each completion adds to its text.
        reference: what `rubric` reads of it, normalised.
    """
    texts = [rubric.read_text(completion.text) for completion in group.completions]
    edits = prefix_edits(units(reference, rubric.unit), [units(text, rubric.unit) for text in texts])
    credits = []
    for completion, own, text, edit in zip(group.completions, pieces, texts, edits, strict=True):
        starts = [0, *_written(own, text, rubric)]
        starts[-1] = len(edit.fewest) - 1  # what normalisation adds at the end belongs to the last token
        fewest = edit.fewest[starts].tolist()
        if completion.finished:
            fewest[-1] = edit.distance
        deltas = [before - after for before, after in pairwise(fewest)]
        length = max(len(units(reference, rubric.unit)), len(edit.fewest) - 1)
        credits.append(TokenCredit(deltas, edit.position[starts[:-1]].tolist(), length))
    return credits


def _written(pieces: Sequence[str], text: str, rubric: Rubric) -> list[int]:
    """How many units of the normalised text the tokens up to each one have written, (T,)."""
    lengths = prefix_lengths("".join(pieces), text)
    ends, read = [], 0
    for piece in pieces:
        read += len(piece)
        ends.append(lengths[read])
    if rubric.unit == "codepoint":
        return ends
    unit_ends, length = [0], 0
    for unit in units(text, rubric.unit):
        length += len(unit)
        unit_ends.append(length)
    return [bisect_right(unit_ends, end) - 1 for end in ends]
