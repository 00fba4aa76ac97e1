"""The footnote check: which markers there are, and the text next to them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.markup.footnotes import find_markers


def footnote(page, marker, before=None, after=None, **fields):
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "footnote", "marker": marker, **fields}
    record |= {"appears_before_marker": before, "appears_after_marker": after}
    return run_test(parse_test(record, "t"), PreparedPage(page))


@pytest.mark.parametrize(
    "written",
    [
        "[^1]", "<sup>1</sup>", '<SUP class="note"> 1 </SUP>', '<sup><a href="#fn1">1</a></sup>', "<sup>[1]</sup>",
        "<sup>1)</sup>", "¹", "$^1$", "$^{1}$", "$ ^{1} $", "${}^{1}$", r"\(^{1}\)", r"$^{\text{1}}$", "^1^",
        r"\textsuperscript{1}", "<sup>1,2</sup>", "<sup>2, 1</sup>", "$^{1,2}$",
    ],
)  # fmt: skip
def test_a_marker_is_found_in_every_spelling(written):
    assert footnote(f"A word{written} and more.", "1", "a word", "and more").passed


@pytest.mark.parametrize(
    "page",
    [
        "A word1 and",
        "[1]",
        "[^1]: the note",
        "  [^1]: the note",
        "x$^{12}$",
        "$x^{1}$",
        "2^1^3",
        "<sub>1</sub>",
        "<sup>1",
        "₁",
    ],
)
def test_what_only_looks_like_a_marker_is_none(page):
    assert footnote(page, "1").why == 'no footnote marker "1"'


def test_a_marker_before_a_colon_within_a_line_is_no_definition():
    assert footnote("As follows[^1]: one, two.", "1", "as follows").passed


@pytest.mark.parametrize("marker", ["a", "*", "†", "§", "12", "iv"])
def test_markers_need_not_be_numbers(marker):
    assert footnote(f"A word<sup>{marker}</sup> and", marker, "word").passed
    assert footnote(f"A word[^{marker}] and", marker, "word").passed


@pytest.mark.parametrize(
    ("page", "marker"),
    [
        ("A word† and", "†"),
        ("A word‡ and", "‡"),
        ("A word.§ and", "§"),
        (r"A word\* and", "*"),
        ("A word* and", "*"),
        ("A word** and", "**"),
        (r"A word\*\*", "**"),
        ("*A* word* and", "*"),
    ],
)
def test_a_sign_after_a_word_is_a_marker(page, marker):
    assert footnote(page, marker, "word").passed


@pytest.mark.parametrize("page", ["a *word* and", "**word** and", "2 * 3", "2*3", "* item", "see § 12", "† See page 3"])
def test_a_sign_that_marks_no_footnote_is_none(page):
    assert not any(footnote(page, marker).passed for marker in ("*", "**", "§", "†"))


def test_daggers_and_asterisks_of_latex_are_their_characters():
    assert footnote(r"A word$^{\dagger}$ and", "†").passed
    assert footnote(r"A word$^{\ast}$ and", "*").passed


def test_superscript_letters_are_markers():
    assert footnote("A wordᵇ and", "b", "word", "and").passed


def test_a_marker_written_as_a_superscript_in_the_test_is_the_plain_one():
    assert footnote("A word[^12] and", "¹²").passed


@pytest.mark.parametrize("page", ["word¹²", "word[^12]", "word<sup>12</sup>", "word$^{12}$", "word[^1a]"])
def test_hole_closed_a_marker_1_is_not_12(page):
    """olmOCR finds the marker 1 in ¹²."""
    assert not footnote(page, "1").passed
    assert not footnote(page, "2").passed


def test_hole_closed_both_texts_stand_beside_the_same_marker():
    """olmOCR takes the text before from one marker and the text after from the other."""
    page = "one alpha[^1] two beta. Three gamma[^1] four delta."
    assert footnote(page, "1", "alpha", "two").passed
    assert footnote(page, "1", "gamma", "four").passed
    assert not footnote(page, "1", "alpha", "four").passed


def test_hole_closed_max_diffs_of_the_whole_text_does_not_match_anything():
    assert not footnote("x[^1] quite another text", "1", after="the engine exceeded", max_diffs=100).passed


def test_texts_may_be_up_to_their_own_length_away():
    """`word` has 4 letters; 4 may stand between, 5 not."""
    assert footnote("word abcd[^1]", "1", "word").passed
    assert not footnote("word abcde[^1]", "1", "word").passed
    assert footnote("[^1] abcd word", "1", after="word").passed
    assert not footnote("[^1] abcde word", "1", after="word").passed


def test_a_text_on_the_wrong_side_is_not_found():
    assert footnote("[^1] word", "1", "word").why == '"word" does not stand before the footnote marker "1"'
    assert footnote("word[^1]", "1", after="word").why == '"word" does not stand after the footnote marker "1"'


def test_of_the_texts_only_letters_and_digits_count_in_any_case():
    assert footnote("the “Grand” **Total**,[^1] (that is)", "1", 'The "grand" total', "that is").passed


def test_max_diffs_are_edits():
    assert not footnote("the grond total[^1]", "1", "the grand total").passed
    assert footnote("the grond total[^1]", "1", "the grand total", max_diffs=1).passed


def test_other_markers_between_are_not_letters():
    assert footnote("word[^1][^2]<sup>3</sup> next", "3", "word", "next").passed
    assert footnote("word¹ one² two", "2", "word one", "two").passed


def test_ordinals_stay_words():
    """19<sup>th</sup> is 19th, in the page and in the test."""
    assert find_markers("the 19<sup>th</sup> century").letters == "the19thcentury"
    assert footnote("the 19<sup>th</sup> century[^1]", "1", "the 19th century").passed


def test_vowel_signs_are_letters():
    """ಕಿ and ಕು differ in their vowel signs only."""
    assert footnote("ಕಿಕಿ[^1]", "1", "ಕಿಕಿ").passed
    assert not footnote("ಕುಕು[^1]", "1", "ಕಿಕಿ").passed


def test_a_text_without_letters_asks_for_nothing():
    assert footnote("word[^1]", "1", "...").passed


@settings(deadline=None)
@given(st.text(), st.text(min_size=1), st.integers(0, 50))
def test_any_page_gets_the_same_verdict_twice(page, before, max_diffs):
    assert footnote(page, "1", before, before, max_diffs=max_diffs) == footnote(
        page, "1", before, before, max_diffs=max_diffs
    )


@settings(deadline=None)
@given(st.text(alphabet="ab1[^]<sup>/¹$:{} \n"))
def test_places_ascend_and_lie_within_the_letters(page):
    letters, places = find_markers(page)
    for ascending in places.values():
        assert ascending == sorted(set(ascending))
        assert 0 <= ascending[0] <= ascending[-1] <= len(letters)


@pytest.mark.parametrize(
    "unit", ["[^1]", "a[^1]", "<sup>1</sup>", "<sup>", "¹a", "$^{1}$", "$^", "^1^", "[^", "<sup><a>"]
)
def test_a_page_of_100_kilobytes_is_read_in_bounded_time(unit):
    """A few milliseconds per kilobyte, for a long text with many edits too; measured at up to 3."""
    page = unit * (100_000 // len(unit))
    with CpuClock() as clock:
        footnote(page, "1", "a" * 1000, "b" * 1000, max_diffs=500)
    assert clock.seconds < 2
