"""Agreement among the completions of a page: a part of the reward that needs neither a reference nor a test.

Majority voting rewards the answer that most samples give (TTRL, arXiv 2504.16084; MM-UPT, arXiv 2505.22453). Two
transcriptions of a page are rarely equal, so agreement is graded here, by edit similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from ocr_verifiers.text.edit_distance import Unit, units

Agreement = Literal["siblings", "medoid"]


def consensus(texts: Sequence[str], agreement: Agreement = "siblings", unit: Unit = "codepoint") -> list[float]:
    """How much each of a page's G texts agrees with the others, in [0, 1]; (G,).

    siblings: the mean of s(y_i, y_j) over the other texts, s = 1 - edit distance / length of the longer text. The text
        with the highest mean is the group's minimum-Bayes-risk text for that distance (Kumar and Byrne, 2004).
    medoid: s(y_i, y_m) with that text, the first of equals.

    An empty text agrees with nothing, so that writing nothing never pays.

    Raises ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"consensus compares the completions of a group; there is {len(texts)}, and 2 are needed")
    distinct = list(dict.fromkeys(texts))
    sequences = [units(text, unit) for text in distinct]
    similar = cdist(sequences, sequences, scorer=Levenshtein.normalized_similarity, dtype=np.float64)
    similar *= np.array([bool(text) for text in distinct])
    index = [distinct.index(text) for text in texts]
    pairs = similar[np.ix_(index, index)]
    means = (pairs.sum(1) - pairs.diagonal()) / (len(texts) - 1)
    values = means if agreement == "siblings" else pairs[:, means.argmax()]
    found: list[float] = values.tolist()
    return found
