"""Approximate search, compared with plain dynamic programming."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.fuzzy_search import Match, allowed_edits, contains, first_match, last_match, near_ends

LETTERS = st.text(alphabet="ab", min_size=1, max_size=10)


def least_distances(pattern, text):
    """D[1..n] row by row: D[0, e] = 0, since a match may start anywhere."""
    above = [0] * (len(text) + 1)
    for i, p in enumerate(pattern, 1):
        row = [i]
        for e, t in enumerate(text, 1):
            row.append(min(above[e - 1] + (p != t), above[e] + 1, row[e - 1] + 1))
        above = row
    return above[1:]


def matches(pattern, text, max_edits):
    """Every match by its definition: an end near enough that no end within max_edits of it beats."""
    distances = dict(enumerate(least_distances(pattern, text), 1))
    near = {e: d for e, d in distances.items() if d <= max_edits}
    return [(e, d) for e, d in near.items() if all((d, e) <= (near[f], f) for f in near if abs(e - f) <= max_edits)]


@settings(deadline=None)
@given(LETTERS, st.text(alphabet="abc", max_size=40), st.data())
def test_near_ends_are_those_of_a_brute_force_search(pattern, text, data):
    edits = data.draw(st.integers(0, len(pattern) - 1))
    expected = [(e, d) for e, d in enumerate(least_distances(pattern, text), 1) if d <= edits]
    assert list(near_ends(pattern, text, edits)) == expected
    assert contains(pattern, text, edits) == bool(expected)


@settings(deadline=None)
@given(
    st.text(alphabet="abcdefgh", min_size=12, max_size=80),
    st.integers(0, 6),
    st.randoms(use_true_random=False),
)
def test_seeds_find_every_damaged_copy_of_a_long_pattern(pattern, edits, rng):
    """Long patterns are searched with seeds; the result is the same as when searching the whole text."""
    text = []
    for _ in range(4):
        copy = list(pattern)
        for _ in range(rng.randint(0, 7)):
            copy.insert(rng.randrange(len(copy) + 1), rng.choice("abcdefgh"))
            del copy[rng.randrange(len(copy))]
        text += [*rng.choices("abcdefgh", k=rng.randint(0, 60)), *copy]
    joined = "".join(text)
    edits = min(edits, len(pattern) // 2)
    expected = [(e, d) for e, d in enumerate(least_distances(pattern, joined), 1) if d <= edits]
    assert list(near_ends(pattern, joined, edits)) == expected


@settings(deadline=None)
@given(LETTERS, st.text(alphabet="abc", max_size=40), st.data())
def test_first_and_last_match_are_the_first_and_last_by_definition(pattern, text, data):
    edits = data.draw(st.integers(0, len(pattern) // 2))
    expected = matches(pattern, text, edits)
    first, last = first_match(pattern, text, edits), last_match(pattern, text, edits)
    if expected:
        assert (first.end, first.distance) == expected[0]
    else:
        assert first is None
        assert last is None
    if last is not None:
        assert Levenshtein.distance(pattern, text[last.start : last.end]) == last.distance <= edits
        assert first.end <= last.end


@settings(deadline=None)
@given(LETTERS, st.text(alphabet="abc", max_size=40), st.data())
def test_a_match_spans_what_is_its_distance_from_the_pattern(pattern, text, data):
    match = first_match(pattern, text, data.draw(st.integers(0, len(pattern) // 2)))
    if match is not None:
        assert Levenshtein.distance(pattern, text[match.start : match.end]) == match.distance


def test_one_place_is_one_match_however_many_edits_are_allowed():
    """With 5 edits, `hello world` is near 11 ends around its own; first and last match are the same place."""
    text = "xxxxxxxxxxxxxxxxxxxx hello world yyyyyyyyyyyyyyyyyyyy"
    assert len(list(near_ends("hello world", text, 5))) == 11
    assert first_match("hello world", text, 5) == last_match("hello world", text, 5) == Match(21, 32, 0)


def test_the_first_and_the_last_of_several_places():
    text = "Smith here, Smyth there, Smith again"
    assert first_match("Smith", text, 1) == Match(0, 5, 0)
    assert last_match("Smith", text, 1) == Match(25, 30, 0)
    assert first_match("Smyth", text, 0) == Match(12, 17, 0)


def test_edits_are_allowed_up_to_half_of_the_pattern():
    assert [allowed_edits("abcde", n) for n in (0, 1, 2, 3, 1000)] == [0, 1, 2, 2, 2]
    assert allowed_edits("a", 5) == 0


@pytest.mark.parametrize("edits", [19, 20, 30])
def test_hole_closed_a_search_with_many_edits_ends(edits):
    """60 characters, 40,000 around them: olmOCR's search grows exponentially from 20 edits on."""
    rng = random.Random(0)
    pattern = "".join(rng.choices("abcdefghij ", k=60))
    page = "".join(rng.choices("klmnopqrst ", k=20_000))
    assert first_match(pattern, page + pattern + page, edits) == Match(20_000, 20_060, 0)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(0, 400))
def test_a_page_of_one_letter_is_searched_too(edits, size):
    assert contains("a" * 40, "a" * size, edits) == (size >= 40 - edits)
