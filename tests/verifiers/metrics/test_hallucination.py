"""What counts as invented, by hand."""

from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers.metrics import Hallucination, hallucination


def test_all_text_of_an_empty_page_is_invented():
    assert hallucination("", "Dear Sir") == Hallucination(7, 7, 1, 1)
    assert hallucination(" \n", "") == Hallucination(0, 0, 1, 0)


def test_five_added_words_are_invented_and_four_are_an_error():
    """`one two three four five` has 19 letters."""
    assert hallucination("a b", "a one two three four five b").invented == 19
    assert hallucination("a b", "a one two three four b").invented == 0


def test_misread_words_are_not_invented():
    assert hallucination("a b c d e f", "u v w x y z").invented == 0


def test_a_mark_of_damage_stands_for_no_text():
    """Five words of 23 letters for a hole in the page."""
    page = "The ship [illegible] the harbour."
    assert hallucination(page, "The ship slowly left for its home the harbour.").invented == 20
    assert hallucination(page, page).invented == 0


def test_a_chinese_character_is_a_word():
    assert hallucination("渡口", "渡自六月一日口").invented == 5


def test_pages_are_pooled():
    """5 of 5 letters and 0 of 2: 5/7 on one page of two."""
    pooled = hallucination("", "a b cde") + hallucination("xy", "xy")
    assert pooled == Hallucination(5, 7, 2, 1)
    assert pooled.rate == 5 / 7


@given(st.text("ab [.]", max_size=30), st.text("ab [.]", max_size=30))
def test_a_page_invents_no_more_than_it_writes_and_a_right_one_nothing(reference, completion):
    found = hallucination(reference, completion)
    assert 0 <= found.invented <= found.written
    assert hallucination(reference, reference).invented == 0
