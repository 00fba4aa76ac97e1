"""The text with the fewest edits to several, by worked examples and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.text.median import median_text, medoid

groups = st.lists(st.text("abc ", max_size=8), min_size=1, max_size=6)


def edits(text, texts):
    return sum(Levenshtein.distance(text, other) for other in texts)


def test_three_readings_with_an_error_each_vote_for_a_text_that_none_of_them_is():
    """Each reading is 2 edits from each other one, 4 in all; the house is 1 from each, 3 in all."""
    readings = ["hovse", "hause", "housc"]
    assert edits(readings[0], readings) == 4
    assert median_text(readings) == "house"


def test_what_most_readings_have_more_is_added_and_what_most_lack_is_left_out():
    assert median_text(["a dog", "a big dog", "a big dig"]) == "a big dog"
    assert median_text(["xcat", "cat", "cat s"]) == "cat"


def test_of_two_readings_the_first_wins():
    assert median_text(["cat", "cut"]) == "cat"
    assert medoid(["cat", "cut", "cut"]) == 1


def test_no_reading_has_no_text():
    with pytest.raises(ValueError, match="no text to choose from"):
        median_text([])


@given(groups)
def test_no_reading_has_fewer_edits_to_all_than_the_medoid_and_the_median_has_no_more(texts):
    best = min(edits(text, texts) for text in texts)
    assert edits(texts[medoid(texts)], texts) == best
    assert edits(median_text(texts), texts) <= best


@given(st.text("abc ", max_size=8), st.integers(1, 5))
def test_equal_readings_are_their_own_median(text, count):
    assert median_text([text] * count) == text
