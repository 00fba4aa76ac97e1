"""ANLS*: how alike two values are that hold texts, such as the fields of a form.

    ANLS*(G, P) = s(G, P) / l(G, P)

D. Peer et al., "ANLS* - A universal document processing metric for generative large language models", 2024 (arXiv
2402.03848). s is the sum of similarities over the leaves and l their number, missing and added ones included:

- two texts: 1 - edits / length of the longer one, without case and with single spaces; 0 if that is under 0.5. Numbers
  and booleans are texts as Python writes them
- None: 1 if the other is None, an empty text, list or object
- lists: their items in pairs with the greatest sum of ANLS*, in any order
- objects: the values of each key; a missing key is None
- a tuple, in what is expected only: the alternative with the greatest ANLS*
- anything else: 0, of the number of leaves of the larger one

As in the authors' code, an added key whose value is None costs a leaf, and a list of texts against a text is a list of
alternatives. The definition does not say which of several equally good pairs of a list are taken, which matters where
their items have different numbers of leaves.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.assignment import cheapest_pairs

THRESHOLD = 0.5
"""A less similar text is wrong."""
MAX_ITEMS = 500
"""Items of a list that are paired, its first ones. The others count as missing or added."""
MAX_DEPTH = 100

_FENCE = re.compile(r"\A\s*```\w*[ \t]*\n(.*)\n```\s*\Z", re.DOTALL)
_EMPTY: tuple[Any, ...] = (None, {}, [], "")


class _Match(NamedTuple):
    """An expected value against another one."""

    score: float
    """The sum over the leaves."""
    leaves: int
    closest: Any
    """What is expected, with alternatives chosen and lists in the order of the other one."""

    @property
    def mean(self) -> float:
        return self.score / self.leaves if self.leaves else 1.0


def anls(expected: Any, found: Any) -> float:
    """ANLS* of two values made of texts, numbers, booleans, None, lists and dicts, in [0, 1].

    A tuple in `expected` has alternatives. Raises ValueError for other types, an empty tuple, a tuple in `found`, and
    values that are nested deeper than 100 levels.
    """
    _check(expected, alternatives=True)
    _check(found, alternatives=False)
    if repr(expected) == repr(found):
        return 1.0  # lists of any length
    if isinstance(expected, list) and isinstance(found, str) and all(isinstance(text, str) for text in expected):
        expected = tuple(expected) or expected  # no text is no alternative
    return _match(expected, found).mean


def json_anls(expected: str, completion: str) -> float | None:
    """ANLS* of two JSON texts, in code fences or not; None if `expected` is no JSON object or array.

    0 if the completion is neither: an array has values to match, and no alternatives.
    """
    wanted = _json(expected)
    if not isinstance(wanted, dict | list):
        return None
    found = _json(completion)
    return anls(wanted, found) if isinstance(found, dict | list) else 0.0


def _json(text: str) -> Any:
    fenced = _FENCE.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
        _check(value, alternatives=False)
    except (ValueError, RecursionError):
        return text
    return value


def _check(value: Any, alternatives: bool, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"the value is nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, tuple) and not alternatives:
        raise ValueError(f"{value!r} is a tuple, which has the alternatives of what is expected; write a list")
    if isinstance(value, tuple) and not value:
        raise ValueError("an expected tuple is empty; write the alternatives, or None")
    if isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, alternatives, depth + 1)
    elif not (value is None or isinstance(value, str | int | float)):
        raise ValueError(f"{value!r} is a {type(value).__name__}; write texts, numbers, None, lists and dicts of them")


def _match(expected: Any, found: Any) -> _Match:
    if isinstance(expected, tuple):
        matches = [_match(option, found) for option in expected]
        return max(matches, key=lambda match: (match.mean, match.closest == found))
    if expected is None:
        empty = found in _EMPTY
        return _Match(float(empty), max(1, _leaves(found)), found if empty else None)
    if isinstance(expected, list) and isinstance(found, list):
        return _match_lists(expected, found)
    if isinstance(expected, dict) and isinstance(found, dict):
        return _match_objects(expected, found)
    if found is None or isinstance(expected, list | dict) or isinstance(found, list | dict):
        return _Match(0.0, max(_leaves(expected), _leaves(found)), expected)
    similarity = 1 - Levenshtein.normalized_distance(_text(expected), _text(found))
    return _Match(similarity if similarity >= THRESHOLD else 0.0, 1, expected)


def _match_lists(expected: Sequence[Any], found: Sequence[Any]) -> _Match:
    left, right = expected[:MAX_ITEMS], found[:MAX_ITEMS]
    if left and right and all(isinstance(item, str | int | float) for item in (*left, *right)):
        scores = _text_scores(left, right)
        matches = [[_Match(score, 1, item) for score in row] for item, row in zip(left, scores.tolist(), strict=True)]
    else:
        matches = [[_match(item, other) for other in right] for item in left]
    # An equal item is a little better than an equally good one.
    means = [
        [
            math.nextafter(match.mean, math.inf) if match.closest == other else match.mean
            for match, other in zip(row, right, strict=True)
        ]
        for row in matches
    ]
    pairs = cheapest_pairs(-np.array(means).reshape(len(matches), len(right)))
    chosen = [matches[row][column] for row, column in sorted(pairs, key=lambda pair: pair[1])]
    rest = set(range(len(expected))) - {row for row, _ in pairs}
    added = set(range(len(found))) - {column for _, column in pairs}
    leaves = sum(match.leaves for match in chosen)
    leaves += sum(_leaves(expected[row]) for row in rest) + sum(_leaves(found[column]) for column in added)
    closest = [match.closest for match in chosen] + [expected[row] for row in sorted(rest)]
    return _Match(sum(match.score for match in chosen), leaves, closest)


def _text_scores(left: Sequence[Any], right: Sequence[Any]) -> npt.NDArray[np.float64]:
    """What each text is worth against each other one: the loop over pairs is rapidfuzz's."""
    texts = [list(map(_text, side)) for side in (left, right)]
    distances = process.cdist(*texts, scorer=Levenshtein.normalized_distance, dtype=np.float64)
    return np.where(1 - distances >= THRESHOLD, 1 - distances, 0.0)


def _match_objects(expected: dict[Any, Any], found: dict[Any, Any]) -> _Match:
    score, leaves, closest = 0.0, 0, {}
    for key in {**expected, **found}:
        match = _match(expected.get(key), found.get(key))
        leaves += match.leaves
        if key not in expected and found[key] in _EMPTY:
            continue
        score += match.score
        if key in found or match.closest not in _EMPTY:
            closest[key] = match.closest
    return _Match(score, leaves, closest)


def _leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values()))
    if isinstance(value, list):
        return sum(map(_leaves, value))
    return max(map(_leaves, value)) if isinstance(value, tuple) else 1


def _text(value: str | float) -> str:
    return " ".join(str(value).lower().split())
