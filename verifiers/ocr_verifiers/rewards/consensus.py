"""Agreement among the completions of a page: a part of the reward that needs neither a reference nor a test.

Majority voting rewards the answer that most samples give (TTRL, arXiv 2504.16084; MM-UPT, arXiv 2505.22453). Two
transcriptions of a page are rarely equal, so agreement is graded here, by edit similarity.

What is hard to read is where completions differ, so the cheapest way to agree is to leave it out: a line whose readings
share p of their characters stays only if more than 1 / (1 + p) of the completions have it. Therefore the surplus of a
longer text costs SURPLUS of an edit each. See docs/without-labels.md for how that was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from ocr_verifiers.text.edit_distance import Unit, units

Agreement = Literal["siblings", "medoid"]
SURPLUS = 0.75
"""Edits that each character costs which a text has more than another."""


def consensus(texts: Sequence[str], agreement: Agreement = "siblings", unit: Unit = "codepoint") -> list[float]:
    """How much each of a page's G texts agrees with the others, in [0, 1]; (G,).

    siblings: the mean of s(y_i, y_j) over the other texts,
        s = 1 - (D(y_i, y_j) - f) / (max(|y_i|, |y_j|) - f), D the edit distance and
        f = (1 - SURPLUS) max(0, |y_i| - |y_j|): 1 for equal texts, 0 for texts that have nothing in common. The text
        with the highest mean is the group's minimum-Bayes-risk text for 1 - s (Kumar and Byrne, 2004).
    medoid: s(y_i, y_m) with that text, the first of equals.

    An empty text agrees with nothing, so that writing nothing never pays.

    Raises ValueError for fewer than two texts.
    """
    if len(texts) < 2:
        raise ValueError(f"consensus compares the completions of a group; there is {len(texts)}, and 2 are needed")
    distinct = list(dict.fromkeys(texts))
    sequences = [units(text, unit) for text in distinct]
    edits = cdist(sequences, sequences, scorer=Levenshtein.distance, dtype=np.float64)
    lengths = np.array([len(sequence) for sequence in sequences])
    free = (1 - SURPLUS) * np.maximum(0, lengths[:, None] - lengths)
    most = np.maximum(lengths[:, None], lengths) - free
    similar = (1 - (edits - free) / np.maximum(most, 1)) * (lengths[:, None] > 0) * (lengths > 0)
    index = [distinct.index(text) for text in texts]
    pairs = similar[np.ix_(index, index)]
    means = (pairs.sum(1) - pairs.diagonal()) / (len(texts) - 1)
    values = means if agreement == "siblings" else pairs[:, means.argmax()]
    found: list[float] = values.tolist()
    return found
