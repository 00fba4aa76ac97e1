"""Loops of any phrase, anywhere, and repetitions that are not loops."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import repeats
from ocr_verifiers.text.repetition import find_loops

SENTENCE = "The same sentence again. "  # 25 characters


def brute_force_loops(text):
    """At least three times a phrase that is not a repetition itself: for each n, runs of t[i] == t[i + n]."""
    found = set()
    for n in range(1, len(text) // 3 + 1):
        start = 0
        while start < len(text) - n:
            end = start
            while end < len(text) - n and text[end] == text[end + n]:
                end += 1
            phrase = text[start : start + n]
            primitive = not any(n % d == 0 and phrase == phrase[:d] * (n // d) for d in range(1, n))
            if end - start >= 2 * n and primitive:
                found.add((phrase, (end - start + n) // n, end - start + n))
            start = end + 1
    return found


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.text(alphabet="ab", min_size=1, max_size=6), st.integers(1, 6)), max_size=6).map(
        lambda runs: "".join(phrase * times for phrase, times in runs)
    )
)
def test_loops_are_those_of_a_brute_force_search(text):
    assert {(loop.phrase, loop.times, loop.length) for loop in find_loops(text)} == brute_force_loops(text)


def test_a_loop_is_found_with_its_phrase_and_how_often_it_came():
    (loop,) = find_loops("See: " + "abcdefg" * 4 + "ab.")
    assert (loop.phrase, loop.times, loop.length) == ("abcdefg", 4, 30)


def test_hole_closed_400_copies_of_a_sentence_fail():
    """olmOCR looks for phrases of 1 to 5 characters."""
    assert repeats(SENTENCE * 400 + "End.").why == '"The same sentence again. " is repeated 400 times in a row'


@pytest.mark.parametrize("text", ["{} And then it ended.", "It began so. {}", "Before. {} After."])
def test_hole_closed_a_loop_fails_wherever_it_stands(text):
    """olmOCR looks at the end of the text."""
    assert not repeats(text.format("no " * 40)).passed


@pytest.mark.parametrize(
    ("length", "allowed"),
    [(1, 30), (20, 30), (24, 25), (40, 15), (60, 10), (120, 5), (300, 5), (2000, 5)],
)
def test_a_longer_phrase_may_repeat_fewer_times(length, allowed):
    """20 * 30 / length times, 5 at least and 30 at most."""
    phrase = "".join(chr(0x100 + i) for i in range(length))
    assert repeats("0" + phrase * allowed + "1").passed
    assert not repeats("0" + phrase * (allowed + 1) + "1").passed


def test_max_repeats_sets_the_limit():
    assert repeats("ha" * 3, max_repeats=3).passed
    assert not repeats("ha" * 4, max_repeats=3).passed


def test_two_in_a_row_are_never_a_loop():
    assert repeats("had had", max_repeats=1).passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ab",
        "Chapter One " + "." * 120 + " 7\nChapter Two " + ". " * 60 + "23",
        "Signed: " + "_" * 80 + "\n" + "-" * 100,
        "| Name | Date |\n|---|---|\n" + "|  |  |\n" * 40,
        "<table>" + "<tr><td></td><td></td><td></td></tr>" * 40 + "</table>",
        "Row, row, row your boat, la la la la la",
        "\n".join(f"{i}. The next item" for i in range(200)),
    ],
    ids=["nothing", "two letters", "leaders", "rules", "form", "html form", "refrain", "counted list"],
)
def test_what_repeats_on_real_pages_is_no_loop(text):
    assert repeats(text).passed


@pytest.mark.parametrize("phrase", [".", ". ", "|  |  |\n", "<tr><td></td></tr>"])
def test_leaders_and_blank_cells_that_fill_a_thousand_characters_are_a_loop(phrase):
    assert not repeats("Contents " + phrase * 2000).passed


def test_a_line_break_within_the_phrase_is_a_space():
    assert not repeats("so it goes\non and " * 20 + "so it goes on\nand " * 20).passed


@settings(deadline=None)
@given(st.text(alphabet="ab \u0c95\ud800"))
def test_any_text_gets_a_verdict(text):
    assert repeats(text).passed in (True, False)
