"""Agreement among the completions of a page: a part of the reward that needs neither a reference nor a test.

Majority voting rewards the answer that most samples give (TTRL, arXiv 2504.16084; MM-UPT, arXiv 2505.22453). Two
transcriptions of a page are rarely equal, so agreement is graded here, by the characters that two of them share.

What is hard to read is where completions differ, so the cheapest way to agree is to leave it out. By edit similarity
that pays as soon as three in ten leave out the same line. Hence the F score with BETA: to lack what a sibling has costs
four times as much as to have what it lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from rapidfuzz.distance import LCSseq
from rapidfuzz.process import cdist

from ocr_verifiers.text.edit_distance import Unit, units

Agreement = Literal["siblings", "medoid"]
BETA = 2.0
"""As in chrF2 (Popovic, 2016)."""


def consensus(texts: Sequence[str], agreement: Agreement = "siblings", unit: Unit = "codepoint") -> list[float]:
    """How much each of a page's G texts agrees with the others, in [0, 1]; (G,).

    siblings: the mean of F(y_i, y_j) over the other texts, F = (1 + b^2) m / (|y_i| + b^2 |y_j|), m the length of their
        longest common subsequence and b = BETA: the F score of the characters of y_j that y_i has. The text with the
        highest mean is the group's minimum-Bayes-risk text for 1 - F (Kumar and Byrne, 2004).
    medoid: F(y_i, y_m) with that text, the first of equals.

    An empty text agrees with nothing, so that writing nothing never pays.

    Raises ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"consensus compares the completions of a group; there is {len(texts)}, and 2 are needed")
    distinct = list(dict.fromkeys(texts))
    sequences = [units(text, unit) for text in distinct]
    common = cdist(sequences, sequences, scorer=LCSseq.similarity, dtype=np.float64)
    lengths = np.array([len(sequence) for sequence in sequences])
    similar = (1 + BETA**2) * common / np.maximum(lengths[:, None] + BETA**2 * lengths, 1)
    index = [distinct.index(text) for text in texts]
    pairs = similar[np.ix_(index, index)]
    means = (pairs.sum(1) - pairs.diagonal()) / (len(texts) - 1)
    values = means if agreement == "siblings" else pairs[:, means.argmax()]
    found: list[float] = values.tolist()
    return found
