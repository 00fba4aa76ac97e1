"""The text that several readings of a page stand for: the one with the fewest edits to all of them.

With edit distance as the loss and samples as the posterior that is the minimum-Bayes-risk text (Kumar and Byrne, 2004).
The search starts from the best of the samples and lets them vote on each of its characters, as in ROVER (Fiscus, 1997).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

ROUNDS = 10
"""Votes at most; each has to lower the number of edits, so that few are held."""


def medoid(texts: Sequence[str]) -> int:
    """The index of the text with the fewest edits to all texts, the first of equals. Raises ValueError for none."""
    if not texts:
        raise ValueError("there is no text to choose from")
    distinct = list(dict.fromkeys(texts))
    weights = np.array([texts.count(text) for text in distinct])
    edits = cdist(distinct, distinct, scorer=Levenshtein.distance, dtype=np.int64) @ weights
    return texts.index(distinct[int(edits.argmin())])


def median_text(texts: Sequence[str]) -> str:
    """A text with at most as many edits to all texts as the best of them; the same for any order but of equals."""
    text = texts[medoid(texts)]
    edits = _edits(text, texts)
    for _ in range(ROUNDS):
        voted = _vote(text, texts)
        if (fewer := _edits(voted, texts)) >= edits:
            break
        text, edits = voted, fewer
    return text


def _edits(text: str, texts: Sequence[str]) -> int:
    return sum(Levenshtein.distance(text, other) for other in texts)


def _vote(text: str, texts: Sequence[str]) -> str:
    """What most texts have at each character and each gap of `text`; the text itself wins where there is a tie."""
    characters = [Counter({character: 0}) for character in text]
    gaps: list[Counter[str]] = [Counter({"": 0}) for _ in range(len(text) + 1)]
    for other in texts:
        here, between = list(text), [""] * (len(text) + 1)
        for edit in Levenshtein.editops(text, other):
            if edit.tag == "insert":
                between[edit.src_pos] += other[edit.dest_pos]
            else:
                here[edit.src_pos] = "" if edit.tag == "delete" else other[edit.dest_pos]
        for counts, vote in zip((*characters, *gaps), (*here, *between), strict=True):
            counts[vote] += 1
    winners = [_winner(counts) for counts in characters]
    added = [_winner(counts) for counts in gaps]
    return added[0] + "".join(character + after for character, after in zip(winners, added[1:], strict=True))


def _winner(votes: Counter[str]) -> str:
    """The vote that most cast; `Counter` keeps the order in which its keys came, so the text's own is the first."""
    return votes.most_common(1)[0][0]
