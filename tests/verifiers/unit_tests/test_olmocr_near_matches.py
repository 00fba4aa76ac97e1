"""Near matches as olmOCR's search library finds them, compared with that library."""

import pytest
from fuzzysearch.common import LevenshteinSearchParams, group_matches
from fuzzysearch.levenshtein import LevenshteinSearch
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers.text.fuzzy_search import Match
from ocr_verifiers.unit_tests.olmocr.near_matches import consolidated, starts


def places(pattern, text, edits):
    """The possible starts for each place: the library takes an arbitrary one of the best matches there."""

    matches = LevenshteinSearch.search(pattern, text, LevenshteinSearchParams(max_l_dist=edits))
    found = []
    for group in group_matches(matches):
        best = min((match.dist, match.start - match.end) for match in group)
        found.append(sorted(m.start for m in group if (m.dist, m.start - m.end) == best))
    return sorted(found)


def assert_agreement(pattern, text, edits):
    expected = places(pattern, text, edits)
    if expected:
        assert starts(pattern, text, edits) == (min(p[0] for p in expected), max(p[0] for p in expected))
    else:
        assert starts(pattern, text, edits) is None


def damaged(draw, pattern, alphabet):
    """The pattern with up to six characters replaced, dropped or doubled."""
    characters = list(pattern)
    for _ in range(draw(st.integers(0, 6))):
        i = draw(st.integers(0, len(characters) - 1))
        characters[i] = draw(st.sampled_from([*alphabet, "", characters[i] * 2]))
    return "".join(characters)


@st.composite
def searches(draw, sizes, share_of_edits):
    alphabet = draw(st.sampled_from(["ab", "abcd", "abcdefgh "]))
    pattern = draw(st.text(alphabet=alphabet, min_size=sizes[0], max_size=sizes[1]))
    edits = draw(st.integers(1, max(1, int(len(pattern) * share_of_edits))))
    pieces = []
    for _ in range(draw(st.integers(1, 4))):
        pieces += [draw(st.text(alphabet=alphabet, max_size=8)), damaged(draw, pattern, alphabet)]
    return pattern, "".join(pieces)[:120], edits


@settings(max_examples=150, deadline=None)
@given(searches((9, 40), 0.3))
def test_starts_around_seeds_are_those_of_fuzzysearch(search):
    pattern, text, edits = search
    if len(pattern) // (edits + 1) >= 3:
        assert_agreement(pattern, text, edits)


@settings(max_examples=100, deadline=None)
@given(searches((2, 11), 0.5))
def test_starts_of_the_greedy_search_are_those_of_fuzzysearch(search):
    assert_agreement(*search)


def test_overlapping_matches_are_one_place_also_through_others():
    """0-4 and 6-9 are joined by 3-7, and the fewest edits win; 9-12 only touches them."""
    chain = {Match(0, 4, 1), Match(3, 7, 2), Match(6, 9, 0), Match(9, 12, 2)}
    assert list(consolidated(chain)) == [Match(6, 9, 0), Match(9, 12, 2)]


def test_of_equally_good_matches_the_longest_and_then_the_first_stands_for_the_place():
    assert list(consolidated({Match(2, 6, 1), Match(1, 6, 1), Match(0, 4, 1)})) == [Match(1, 6, 1)]
    assert list(consolidated({Match(2, 6, 1), Match(0, 4, 1)})) == [Match(0, 4, 1)]


@pytest.mark.parametrize(
    ("pattern", "page", "edits"),
    [
        ("ab" * 30, "abba" * 5000, 19),  # seeds of 3 characters hit everywhere
        ("a" * 60, "a" * 50_000, 19),
        ("abcde fgh " * 4, "ab cd ef gh " * 2000, 14),  # greedy
        ("abcde fgh " * 6, "ab cd ef gh " * 2000, 28),  # too many edits for the greedy search
        ("abcde fgh " * 100, "ab cd ef gh " * 2000, 300),
    ],
)
def test_a_search_that_would_take_olmocr_hours_ends(pattern, page, edits):
    """The exact search is used if there is too much to check; it also finds the pattern at the end."""
    first, last = starts(pattern, page + "#" * 700 + pattern, edits)
    assert first <= last == len(page) + 700
