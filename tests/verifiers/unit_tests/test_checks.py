"""One check per kind; one test per hole of olmOCR's checks that is closed here."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.unit_tests.checks.registry import CHECKS
from ocr_verifiers.unit_tests.olmocr.registry import CHECKS as OLMOCR_CHECKS
from ocr_verifiers.unit_tests.records import KINDS


def verdict(page, **record):
    test = parse_test({"pdf": "a.pdf", "page": 1, "id": "t", **record}, "t")
    return run_test(test, PreparedPage(page))


def present(page, text, **fields):
    return verdict(page, type="present", text=text, **fields)


def absent(page, text, **fields):
    return verdict(page, type="absent", text=text, **fields)


def order(page, before, after, **fields):
    return verdict(page, type="order", before=before, after=after, **fields)


def baseline(page, **fields):
    return verdict(page, type="baseline", **fields)


# present, absent


def test_present_passes_and_absent_fails_where_the_text_is():
    assert present("A page. Page 3 of 10", "Page 3 of 10").passed
    assert absent("A page. Page 3 of 10", "Page 3 of 10").why == 'found "Page 3 of 10", 0 edits away'


def test_present_fails_and_absent_passes_where_the_text_is_not():
    assert present("A page.", "Page 3 of 10").why == '"Page 3 of 10" not found within 0 edits'
    assert absent("A page.", "Page 3 of 10").passed


@pytest.mark.parametrize("max_diffs", [0, 1, 2, 3])
def test_a_match_has_at_most_max_diffs_edits(max_diffs):
    """`Paqe 3 af 10` is two substitutions from `Page 3 of 10`."""
    found = max_diffs >= 2
    assert present("x Paqe 3 af 10 y", "Page 3 of 10", max_diffs=max_diffs).passed == found
    assert absent("x Paqe 3 af 10 y", "Page 3 of 10", max_diffs=max_diffs).passed != found


def test_both_sides_are_normalised():
    assert present("He said\n**“hello world”**\n— twice", '"hello world" - twice').passed


def test_case_counts_unless_the_test_says_otherwise():
    assert not present("MASTER BATH", "Master Bath").passed
    assert present("MASTER BATH", "Master Bath", case_sensitive=False).passed


def test_first_n_and_last_n_look_at_the_ends_of_the_page():
    page = "Header" + " body" * 20 + " Footer"
    assert present(page, "Header", first_n=6).passed
    assert not present(page, "Header", last_n=50).passed
    assert present(page, "Footer", last_n=6).passed
    assert absent(page, "body", first_n=6).passed
    assert present(page, "Header", first_n=6, last_n=6).passed
    assert present(page, "Footer", first_n=6, last_n=6).passed


def test_a_window_of_zero_is_the_whole_page():
    assert present("one two", "two", first_n=0).passed


@pytest.mark.parametrize("page", ["", "\n", "h", "hello"])
def test_hole_closed_a_page_shorter_than_the_text_does_not_pass_present(page):
    assert not present(page, "hello world foo bar").passed


def test_hole_closed_a_page_shorter_than_the_text_does_not_fail_absent():
    assert absent("P", "Page 3 of 10").passed


def test_hole_closed_a_window_shorter_than_the_text_does_not_pass_present():
    assert not present("hello and good bye", "hello world foo bar", first_n=5).passed


def test_hole_closed_first_n_and_last_n_are_not_joined():
    """`ab` stands neither in the first nor in the last character of the page."""
    assert not present("a long page b", "ab", first_n=1, last_n=1).passed
    assert absent("a long page b", "ab", first_n=1, last_n=1).passed


@pytest.mark.parametrize("max_diffs", [12, 1000])
def test_hole_closed_max_diffs_of_the_whole_text_does_not_match_anything(max_diffs):
    assert not present("quite another text", "Page 3 of 10", max_diffs=max_diffs).passed
    assert absent("quite another text", "Page 3 of 10", max_diffs=max_diffs).passed


def test_hole_closed_identifiers_and_products_are_compared_as_written():
    assert not present("snakecasename and 234", "snake_case_name").passed
    assert not present("snakecasename and 234", "2*3*4").passed


@settings(deadline=None)
@given(st.text(alphabet="ab ", min_size=1).filter(str.strip), st.text(alphabet="ab "), st.integers(0, 5))
def test_absent_is_the_opposite_of_present(text, page, max_diffs):
    assert present(page, text, max_diffs=max_diffs).passed != absent(page, text, max_diffs=max_diffs).passed


@settings(deadline=None)
@given(st.text(), st.text().filter(str.isalnum), st.text())
def test_a_text_is_present_in_any_page_that_contains_it_as_a_line(before, text, after):
    before, after = (s.replace("*", "").replace("_", "").replace("<", "") for s in (before, after))
    assert present(f"{before}\n{text}\n{after}", text).passed


# order


def test_order_passes_if_before_comes_first():
    assert order("one two three", "one", "three").passed
    assert order("one two three", "three", "one").why == '"three" first starts at 8, "one" last at 0'


def test_order_takes_the_first_before_and_the_last_after():
    assert order("b a b", "a", "b").passed
    assert order("a b a", "b", "a").passed


def test_order_fails_if_one_is_missing_and_says_which():
    assert order("one", "one", "three").why == 'after: "three" not found within 0 edits'
    assert order("three", "one", "three").why == 'before: "one" not found within 0 edits'


def test_order_allows_max_diffs_in_each():
    assert order("tne first and tha last", "the first", "the last", max_diffs=1).passed


@pytest.mark.parametrize("max_diffs", [0, 1, 5])
def test_hole_closed_one_place_does_not_come_before_itself(max_diffs):
    """Near matches start a few characters before and after the place itself; they are the same place."""
    assert not order("xxxxxxxxxx hello world yyyyyyyyyy", "hello world", "hello world", max_diffs=max_diffs).passed
    assert order("hello world yyyyyyyyyyyy hello world", "hello world", "hello world", max_diffs=max_diffs).passed


def test_hole_closed_order_with_many_edits_ends():
    page = "Lorem ipsum dolor sit amet, consectetur adipiscing elit sed do. " * 300
    before, after = (
        "the quick brown fox jumps over the lazy dog and runs far away",
        "Zwölf Boxkämpfer jagen Viktor quer",
    )
    assert not order(page, before, after, max_diffs=17).passed


# baseline


def test_baseline_passes_a_page_that_says_something():
    assert baseline("A page.").passed


@pytest.mark.parametrize("page", ["", "\n", "-- ** --", "| | |", "☐ ✓ →"])
def test_baseline_fails_a_page_without_letters_and_digits(page):
    assert baseline(page).why == "no letter or digit on the page"


def test_hole_closed_html_tags_say_nothing():
    assert not baseline('<br><table class="wide"><tr><td></td></tr></table>').passed
    assert baseline("a <b> c").passed
    assert baseline("<td>7</td>", max_length=1).passed


def test_baseline_counts_letters_of_every_script():
    assert baseline("ಕನ್ನಡ").passed
    assert baseline("Ἀντιγόνη").passed


def test_baseline_with_max_length_passes_a_page_that_says_little_or_nothing():
    assert baseline("", max_length=10).passed
    assert baseline("page 1", max_length=10).passed
    assert baseline("a page of prose", max_length=10).why == "12 letters and digits on a page that may have 10"


def test_image_descriptions_count_unless_the_test_says_otherwise():
    page = "![A photograph of a book](page_3.png)"
    assert not baseline(page, max_length=10).passed
    assert baseline(page, max_length=10, max_length_skips_image_alt_tags=True).passed


def test_hole_closed_a_blank_page_may_not_loop_either():
    assert baseline("- " * 40, max_length=10).passed
    assert not baseline("- " * 2000, max_length=10).passed


def test_hole_closed_baseline_finds_loops_of_any_phrase_anywhere():
    assert not baseline("A start. " + "a phrase of some length, " * 60 + "An end.").passed
    assert baseline("A start. " + "a phrase of some length, " * 60, max_repeats=100).passed


def test_hole_closed_a_rule_at_the_end_of_a_page_is_no_loop():
    """olmOCR fails a page that ends with 31 dashes."""
    assert baseline("A page\n" + "-" * 31).passed


@pytest.mark.parametrize("character", ["中", "ひ", "カ", "😀", "🚀", "🌀", "🇫"])
def test_baseline_fails_chinese_kana_and_emoji_where_the_test_says_so(character):
    page = f"A page {character}"
    assert (
        baseline(page, check_disallowed_characters=True).why
        == f"disallowed character {character} (U+{ord(character):04X})"
    )
    assert baseline(page, check_disallowed_characters=False).passed


def test_hole_closed_a_page_in_chinese_passes_a_baseline_that_does_not_disallow_it():
    assert baseline("第三章").passed


def test_hole_closed_zero_width_characters_hide_neither_a_text_nor_a_loop():
    assert not absent("Pa\u200bge 3 of 10", "Page 3 of 10").passed
    assert not baseline(" ".join("loop" + "\u200b" * (i % 7) for i in range(100))).passed


# all


@pytest.mark.parametrize("table", [CHECKS, OLMOCR_CHECKS], ids=["strict", "olmocr"])
def test_every_kind_has_a_check_in_both_modes(table):
    assert table.keys() == KINDS.keys()


def test_a_page_is_prepared_once_for_many_tests():
    page = PreparedPage("**A** page")
    assert page.strict is page.strict == "A page"
    assert page.lower is page.lower == "a page"
    assert page.loops is page.loops == []
