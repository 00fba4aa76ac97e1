"""Where the words of a line are, after its text has changed."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

from ocr_rl.data.archives.layout import Points, Word, bounds, box_points
from ocr_verifiers import alignment


def placed_words(texts: Sequence[str], old: Sequence[Word]) -> list[Word]:
    """A word for each of `texts`, with the place of what it stands for among the line's old words.

    The alignment of the characters with the fewest edits says which those are. A word that takes the place of a whole
    one has its outline and its id; one that takes the place of several has the box around them; of a word that was
    divided each part has its share of the width, by characters. A word that was added has no place.
    """
    if list(texts) == [word.text for word in old]:
        return list(old)
    if not old:
        return [Word(text) for text in texts]
    shares = _shares(texts, old)
    takers: dict[int, int] = defaultdict(int)
    for parts in shares:
        for index in parts:
            takers[index] += 1
    return [_placed(text, parts, old, takers) for text, parts in zip(texts, shares, strict=True)]


def _shares(texts: Sequence[str], old: Sequence[Word]) -> list[dict[int, tuple[float, float]]]:
    """For each text the old words whose characters it takes: {index: (from, to)}, in shares of their length."""
    before = [(index, offset) for index, word in enumerate(old) for offset in (*range(len(word.text)), -1)][:-1]
    places: list[tuple[int, int] | None] = []  # of each character of the new texts
    start = 0
    for span in alignment(" ".join(word.text for word in old), " ".join(texts)):
        length, last = len(span.reference), len(span.reference) - 1
        places += [before[start + min(i, last)] if length else None for i in range(len(span.completion))]
        start += length
    shares = []
    end = -1
    for text in texts:
        begin, end = end + 1, end + 1 + len(text)
        found: dict[int, tuple[float, float]] = {}
        for index, offset in (place for place in places[begin:end] if place is not None and place[1] >= 0):
            at = len(old[index].text) - 1 - offset if _leftwards(old[index].text) else offset
            low, high = at / len(old[index].text), (at + 1) / len(old[index].text)
            first, last_share = found.get(index, (low, high))
            found[index] = min(first, low), max(last_share, high)
        shares.append(found)
    return shares


def _placed(text: str, parts: dict[int, tuple[float, float]], old: Sequence[Word], takers: dict[int, int]) -> Word:
    if len(parts) == 1 and takers[index := next(iter(parts))] == 1:
        return Word(text, old[index].polygon, old[index].id)
    boxes = []
    for index, (low, high) in parts.items():
        left, top, right, bottom = bounds(old[index].polygon)
        whole = takers[index] == 1
        width = right - left
        boxes.append((left if whole else left + low * width, top, right if whole else left + high * width, bottom))
    return Word(text, _around(boxes))


def _leftwards(word: str) -> bool:
    """Whether it is written from right to left: its first letter says so."""
    strong = (kind for kind in map(unicodedata.bidirectional, word) if kind in ("L", "R", "AL"))
    return next(strong, "L") != "L"


def confidences_of(texts: Sequence[str], confidences: Iterable[float]) -> list[float | None]:
    """How sure each text is, as far as `confidences`, one for each word between white space of any kind, reach.

    A text with a no-break space holds several words, and is as sure as the least sure of them.
    """
    left = iter(confidences)
    each = (list(islice(left, len(text.split()))) for text in texts)
    return [min(found, default=None) for found in each]


def _around(boxes: Sequence[tuple[float, float, float, float]]) -> Points:
    if not boxes:
        return ()
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return box_points(min(lefts), min(tops), max(rights), max(bottoms))
