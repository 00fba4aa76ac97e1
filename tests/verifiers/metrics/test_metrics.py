"""Scores beyond unit tests: paragraphs, reading order, numbers, fields, BLEU, diff ratio."""

import difflib
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers.metrics import bleu, diff_ratio, key_values, numbers, paragraphs, reading_order
from ocr_verifiers.metrics.bleu import corpus_bleu
from ocr_verifiers.metrics.key_values import written_fields
from ocr_verifiers.metrics.numbers import numbers_exact
from ocr_verifiers.metrics.paragraphs import paragraph_count
from ocr_verifiers.metrics.reading_order import match_paragraphs

PAGE = "The first paragraph.\n\nA second one, longer.\n\nThen the third.\n\nAnd a fourth to end."


def shuffled(*order):
    pieces = PAGE.split("\n\n")
    return "\n\n".join(pieces[i] for i in order)


# paragraphs


def test_blank_lines_headings_and_block_tags_separate_paragraphs():
    page = "# Title\nOne\nparagraph.\n \n\n**Two**\n<p>Three</p><p>Four</p>\n\n<li>Five</li>"
    assert paragraphs(page) == ["Title", "One paragraph.", "Two Three", "Four", "Five"]
    assert paragraphs("\n \n\n") == []


@pytest.mark.parametrize(("written", "score"), [(0, 0), (1, 1 / 4), (3, 3 / 4), (4, 1), (5, 3 / 4), (8, 0), (20, 0)])
def test_the_paragraph_count_loses_by_the_share_that_is_missing_or_too_many(written, score):
    assert paragraph_count(PAGE, "x\n\n" * written) == score


def test_no_paragraph_is_met_by_none_only():
    assert paragraph_count("", "") == 1.0
    assert paragraph_count("", "x") == 0.0


# reading order


@pytest.mark.parametrize(
    ("order", "score"),
    [
        ((0, 1, 2, 3), 1),
        ((1, 0, 2, 3), 5 / 6),  # one of six pairs is the wrong way round
        ((3, 2, 1, 0), 0),
        ((2, 3, 0, 1), 2 / 6),
        ((0, 1, 2), 3 / 6),  # three of six pairs have both
        ((0,), 0),
    ],
)
def test_reading_order_is_the_share_of_pairs_in_order(order, score):
    assert reading_order(PAGE, shuffled(*order)) == pytest.approx(score)


def test_a_page_that_says_nothing_is_not_in_order():
    assert reading_order(PAGE, "") == 0.0
    assert reading_order("", "") == reading_order("", "x") == 1.0
    assert reading_order("one paragraph", "one paragraph") == 1.0
    assert reading_order("one paragraph", "else") == 0.0


def test_paragraphs_are_matched_through_errors():
    assert reading_order(PAGE, PAGE.replace("e", "c")) == 1.0
    assert reading_order(PAGE, shuffled(3, 2, 1, 0).replace("e", "c")) == 0.0


def test_extra_paragraphs_do_not_change_the_order():
    assert reading_order(PAGE, PAGE.replace("\n\n", "\n\nunrelated words here\n\n")) == 1.0


def test_each_written_paragraph_is_matched_once_the_most_similar_pair_first():
    assert match_paragraphs(["abcd", "abcd"], ["abcd"]) == [0, None]
    assert match_paragraphs(["abcd", "abce"], ["abcx", "abce"]) == [0, 1]
    assert match_paragraphs(["abcd", "abxx"], ["abxd"]) == [0, None], "both are one edit away: the earliest"
    assert match_paragraphs(["abcd", "wxyz"], ["zzzz", "abcc"]) == [1, None], "a quarter in common is no match"


@settings(deadline=None)
@given(st.permutations(list("abcdefgh")), st.integers(0, 8))
def test_reading_order_counts_the_pairs(order, kept):
    order = order[:kept]
    in_order = sum(a < b for i, a in enumerate(order) for b in order[i + 1 :])
    written = "\n\n".join(letter * 9 for letter in order)
    assert reading_order("\n\n".join(letter * 9 for letter in "abcdefgh"), written) == pytest.approx(in_order / 28)


# numbers


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("1\u00a0234,50", "1234.50"), ("1\u202f234.50", "1234.50"),
        ("1’234.50", "1234.50"), ("1234.50", "1234.50"), ("1234,50", "1234.50"), ("1,234,567", "1234567"),
        ("1.234.567", "1234567"), ("1,234", "1234"), ("1.234", "1.234"), ("0,234", "0.234"), ("12,5", "12.5"),
        ("12.50", "12.50"), ("007", "007"), ("12.03.2024", "12.03.2024"), ("1.2.3", "1.2.3"), ("1,2,3", "1,2,3"),
        ("1.234,567.8", "1.234,567.8"), ("1,23.4", "1,23.4"), ("A4", "4"), ("-5", "-5"), ("−5.5", "-5.5"),
        ("(-5)", "-5"), ("$12.", "12"), ("೧೨", "೧೨"), ("1\u200b2", "12"),
    ],
)  # fmt: skip
def test_a_number_has_one_spelling(written, value):
    assert dict(numbers(f"x {written} y".replace("x A", "A"))) == {value: 1}


def test_the_decimal_mark_decides_where_both_readings_are_possible():
    assert list(numbers("1,234 1.234", decimal_mark=",")) == ["1.234", "1234"]
    assert list(numbers("1,234 1.234", decimal_mark=".")) == ["1234", "1.234"]


def test_what_separates_numbers():
    assert list(numbers("2020-21 3:45 6/7 8 901")) == ["2020", "21", "3", "45", "6", "7", "8", "901"]
    assert list(numbers("12\u00a034")) == ["12", "34"], "a no-break space groups threes only"


def test_every_number_is_there_as_often_as_in_the_reference():
    """The reference has 5 twice; one of its three numbers is found once, one is missing."""
    score = numbers_exact("5 and 5 make 10", "5 and 6 make 10 or 11")
    assert (score.found, score.expected, score.written) == (2, 3, 4)
    assert (score.recall, score.precision, score.f1) == (2 / 3, 2 / 4, 4 / 7)
    assert not score.exact
    assert numbers_exact("5 and 5 make 10", "10 5 5 99").exact


def test_pouring_out_numbers_costs_precision():
    assert numbers_exact("7", " ".join(map(str, range(99)))).f1 == 2 / 100


def test_a_page_without_numbers():
    assert numbers_exact("", "").f1 == numbers_exact("", "").recall == 1.0
    assert (numbers_exact("", "5").recall, numbers_exact("", "5").precision, numbers_exact("", "5").f1) == (
        1.0,
        0.0,
        0.0,
    )


@given(st.text())
def test_every_text_has_its_own_numbers(text):
    score = numbers_exact(text, text)
    assert score.exact
    assert score.f1 == 1.0


@given(st.integers(0, 10**12), st.integers(0, 99))
def test_thousands_separators_do_not_matter(whole, cents):
    english = f"{whole:,}.{cents:02}"
    assert numbers(english) == numbers(english.translate(str.maketrans(",.", ".,"))) == numbers(f"{whole}.{cents:02}")


# fields


@pytest.mark.parametrize(
    "page",
    [
        "Invoice No: 42\nTotal due: $ 1,234.50",
        "- **Invoice No:** 42\n- **Total due**: **$ 1,234.50**",
        "| Invoice No | 42 |\n|---|---|\n| Total due | $ 1,234.50 |",
        "| Invoice No: | 42 | Total due: | $ 1,234.50 |",
        "<table><tr><td>Invoice No:</td><td>42</td></tr>\n<tr><th>Total due</th><td>$&nbsp;1,234.50</td></tr></table>",
        '{"invoice no": 42, "sums": [{"total due": "$ 1,234.50"}]}',
        '```json\n{"Invoice No": "42", "Total due": "$ 1,234.50"}\n```',
    ],
)
def test_fields_are_found_in_every_spelling(page):
    score = key_values({"Invoice No": "42", "Total due": "$ 1,234.50"}, page)
    assert (score.accuracy, score.wrong) == (1.0, {})


def test_a_wrong_or_missing_field_is_named_with_what_the_page_says():
    score = key_values({"Date": "1 May", "Total": "5", "Tax": "1"}, "Date: 1 May\nTotal: 6")
    assert score.right == ("Date",)
    assert score.wrong == {"Total": "6", "Tax": None}
    assert score.accuracy == 1 / 3
    assert key_values({}, "x").accuracy == 1.0


def test_the_first_value_of_a_key_counts():
    """Otherwise a list of all values would be correct."""
    assert written_fields("Total: 1\nTotal: 2") == {"total": "1"}
    assert written_fields("| Total | 1 |\nTotal: 2") == {"total": "1"}
    assert written_fields('{"total": 1.50, "total": 2}') == {"total": "1.50"}


@pytest.mark.parametrize(
    "page", ["{", '{"a":' * 20_000, "[" * 20_000, '{"a": NaN}', '{"a": ' + "9" * 5000 + "}", "<tr><td>", "::"]
)
def test_broken_pages_have_few_fields_or_none(page):
    assert len(written_fields(page)) <= 1


# BLEU


def test_bleu_is_that_of_sacrebleu():
    sacrebleu = pytest.importorskip("sacrebleu")
    reference, completion = "the cat sat on the mat today", "the cat sat on a mat today"
    expected = sacrebleu.sentence_bleu(completion, [reference]).score / 100
    assert bleu(reference, completion) == pytest.approx(expected)
    assert 0.4 < expected < 0.6
    pooled = sacrebleu.corpus_bleu([completion, "x y z w v"], [[reference, "x y z w v"]]).score / 100
    assert corpus_bleu([reference, "x y z w v"], [completion, "x y z w v"]) == pytest.approx(pooled)


def test_bleu_of_equal_pages_is_one_and_of_an_empty_page_zero():
    pytest.importorskip("sacrebleu")
    assert bleu("one two three four five", "one two\nthree four five") == pytest.approx(1.0)
    assert bleu("one two", "") == bleu("", "one two") == 0.0
    assert bleu("", " ") == 1.0


def test_bleu_without_sacrebleu_names_the_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(ValueError, match=r"pip install 'ocr-rl\[metrics\]'"):
        bleu("a b", "a c")


def test_bleu_names_what_is_wrong():
    with pytest.raises(ValueError, match='unknown tokenizer "words"; known: 13a'):
        bleu("a b", "a c", tokenize="words")
    with pytest.raises(ValueError, match="1 references and 0 completions; give one for each"):
        corpus_bleu(["a"], [])
    with pytest.raises(ValueError, match="no page to score"):
        corpus_bleu([], [])


# diff ratio


def test_the_diff_ratio_is_twice_what_is_common_over_both_lengths():
    """`abcd` and `bcde` have bcd in common: 2 * 3 / 8."""
    assert diff_ratio("abcd", "bcde") == 0.75
    assert diff_ratio("", "") == 1.0
    assert diff_ratio("a", "") == 0.0


@settings(deadline=None)
@given(st.text(alphabet="abc"), st.text(alphabet="abc"))
def test_the_diff_ratio_is_symmetric_and_never_below_that_of_difflib(one, other):
    assert diff_ratio(one, other) == diff_ratio(other, one)
    assert diff_ratio(one, other) >= difflib.SequenceMatcher(None, one, other, autojunk=False).ratio() - 1e-12


def test_the_diff_ratio_counts_graphemes_on_request():
    """ಕಿ and ಕು share the code point ಕ, and no grapheme."""
    assert diff_ratio("ಕಿ", "ಕು") == 0.5
    assert diff_ratio("ಕಿ", "ಕು", unit="grapheme") == 0.0
    with pytest.raises(ValueError, match='unknown unit "word"'):
        diff_ratio("a", "b", unit="word")


def test_the_diff_ratio_of_very_long_texts_is_that_of_their_words():
    assert diff_ratio("one two " * 15_000, "one six " * 15_000) == 0.5


# all


@pytest.mark.parametrize(
    "unit", ["a\n\n", "1,", "1 ", "a: b\n", "a|", "<tr><td>a</td>", "{", "\x00", "\ud800", " ", "-1"]
)
def test_pages_of_100_kilobytes_are_scored_in_bounded_time(unit):
    page = unit * (100_000 // len(unit))
    with CpuClock() as clock:
        reading_order(page, page[1:])
        paragraph_count(page, page)
        numbers_exact(page, page[1:])
        key_values({"a": "b"}, page)
        diff_ratio(page, page[1:])
    assert clock.seconds < 2


@settings(deadline=None, max_examples=200)
@given(st.text(), st.text())
def test_any_two_texts_score_between_zero_and_one(reference, completion):
    scores = [
        reading_order(reference, completion),
        paragraph_count(reference, completion),
        numbers_exact(reference, completion).f1,
        key_values({"a": reference}, completion).accuracy,
        diff_ratio(reference, completion),
    ]
    assert all(0 <= score <= 1 for score in scores)
    assert reading_order(reference, reference) == 1.0
