"""Each quality part of a reward is a number with a reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import Verdict, parse_test
from ocr_verifiers.markup import katex
from ocr_verifiers.markup.formats import take_apart
from ocr_verifiers.rewards.parts import REFERENCE_PARTS, TEST_PARTS, ComparedText, Comparison


def compared(name, reference, completion, unit="codepoint"):
    sides = [ComparedText(text, ("nfc", "whitespace"), unit) for text in (reference, completion)]
    return REFERENCE_PARTS[name](Comparison(*sides))


def value(name, reference, completion, **options):
    return compared(name, reference, completion, **options).value


def verdicts(*passed, kinds=None):
    """Verdicts of tests of the given kinds, `present` by default."""
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "text": "a"}
    kinds = kinds or ["present"] * len(passed)
    tests = [parse_test(record | {"type": kind}, "t") for kind in kinds]
    return [(test, Verdict(each, "" if each else "nothing")) for test, each in zip(tests, passed, strict=True)]


def test_similarity_counts_characters_and_word_similarity_words():
    """2 edits of 8 characters; 1 word of 2."""
    assert value("similarity", "one  two", "one tooo") == 1 - 2 / 8
    assert value("word_similarity", "one two", "one tooo") == 1 / 2


def test_similarity_can_count_graphemes():
    assert value("similarity", "ಕೀ", "ಕಿ", unit="grapheme") == 0.0
    assert value("similarity", "ಕೀ", "ಕಿ") == 1 / 2


def test_exact_is_all_or_nothing():
    assert value("exact", "a  b", "a b\n") == 1.0
    assert compared("exact", "abc", "abd") == (0.0, "differs in 1 characters")


def test_length_is_the_shorter_over_the_longer():
    assert value("length", "abcd", "xy") == value("length", "xy", "abcd") == 1 / 2
    assert value("length", "", "") == 1.0
    assert compared("length", "abcd", "") == (0.0, "0 characters for a reference of 4")


def test_numbers_are_missing_or_added():
    """2 of 3 found, 4 written: 2 * 2 / 7."""
    assert value("numbers", "1 22 333", "1, 22, 44 and 55") == 4 / 7
    assert compared("numbers", "no digits", "1 2 3") is None


def test_paragraphs_are_counted():
    """Three for two: 1 - 1/2; four for two: 0."""
    assert value("paragraphs", "a\n\nb", "a\n\nb\n\nc") == 1 / 2
    assert compared("paragraphs", "a\n\nb", "a\n\nb\n\nc\n\nd") == (0.0, "4 paragraphs are far off")


def test_reading_order_is_a_share_of_pairs():
    assert value("reading_order", "aaaaa\n\nbbbbb\n\nccccc", "aaaaa\n\nccccc\n\nbbbbb") == pytest.approx(2 / 3)


# Formats


PAGE = """# Heat

The energy \\(E = mc^2\\) is large.

| a | bb |
| --- | --- |
| $x$ | 2 |

<table><tr><td>in <b>HTML</b></td></tr></table>

$$a + b$$

The end.
"""


def test_a_page_is_taken_apart_into_prose_formulas_and_tables():
    formats = take_apart(PAGE)
    assert formats.prose.split() == ["#", "Heat", "The", "energy", "is", "large.", "The", "end."]
    assert formats.formulas == ("E = mc^2", "a + b")
    assert [cell.text for grid in formats.tables for cell in grid.cells] == ["a", "bb", "x", "2", "in HTML"]


def test_the_characters_of_a_format_are_those_without_white_space_and_markup():
    """#Heat Theenergy islarge. Theend.: 5 + 9 + 8 + 7; E=mc^2 a+b: 6 + 3; a bb x 2 inHTML: 1 + 2 + 1 + 1 + 6."""
    assert take_apart(PAGE).characters == {"prose": 29, "formulas": 9, "tables": 11}


def test_a_table_that_is_not_closed_runs_to_the_end_and_lines_with_pipes_are_no_table():
    assert take_apart("one <table><tr><td>two").prose.split() == ["one"]
    assert take_apart("one | two\nthree | four").prose.split() == "one | two three | four".split()
    assert take_apart("a <table><tr><td><table></table>b</table> c").prose.split() == ["a", "c"]


def test_prose_is_compared_without_the_other_formats():
    assert value("prose", "abcd $x$", "abce $y + z$") == 3 / 4
    assert compared("prose", "$x$", "abc") is None
    assert compared("prose", "abc $x$", "$x$").value == 0.0


def test_formulas_are_equal_as_they_print():
    """One of two, the spacing aside; then one of the three that are written."""
    pytest.importorskip("py_mini_racer")
    assert value("formulas", r"$x^2$ and $y$", r"\(x^{2}\) and \(z\)") == 1 / 2
    assert value("formulas", "$x$", "$y$ $z$ $x$") == pytest.approx(1 / 3)
    assert compared("formulas", "$x$", "none") == (0.0, 'none of 1 formulas; the first is "x"')
    assert compared("formulas", "none", "$x$") is None


def test_each_formula_counts_once():
    pytest.importorskip("py_mini_racer")
    assert value("formulas", "$x$ $y$", "$x$ $x$") == 1 / 2
    assert value("formulas", "$x^2$ $y$", "$x^{2}$ ${x}^2$") == 1 / 2


def test_a_formula_that_cannot_be_rendered_equals_what_is_spelt_like_it():
    pytest.importorskip("py_mini_racer")
    assert value("formulas", r"$\nosuch{a}$", r"\(\nosuch{a}\)") == 1.0
    assert value("formulas", r"$\nosuch{a}$", r"\(\nosuch{b}\)") == 0.0


def test_formulas_without_the_engine_are_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr(katex, "installed", lambda: False)
    with pytest.raises(ValueError, match=r"pip install 'ocr-rl\[math\]'"):
        compared("formulas", "$x$", "$x$")
    assert compared("formulas", "none", "none") is None


def test_tables_are_compared_by_their_trees():
    """Three rows' worth of nodes: 2 rows and 4 cells; one cell of one letter differs: 1 - 1/6."""
    table = "|a|b|\n|-|-|\n|1|{}|"
    assert value("tables", table.format(2), table.format(3)) == pytest.approx(5 / 6)
    assert compared("tables", table, "a b 1 2") == (0.0, "no table on the page")
    assert compared("tables", "none", table) is None


def test_formats_are_weighed_by_their_shares_of_the_references_characters():
    """Prose of 4 characters, 3/4 right; a table of 4 characters that is missing: (4 * 3/4 + 4 * 0) / 8."""
    assert value("format_decoupled", "abcd\n\n|1|2|\n|-|-|\n|3|4|", "abce") == 3 / 8


def test_a_format_that_only_the_completion_has_is_worth_nothing():
    """4 characters of prose are right, 4 in a table nobody asked for: 4 / 8."""
    assert value("format_decoupled", "abcd", "abcd\n\n|1|2|\n|-|-|\n|3|4|") == 1 / 2


def test_a_reference_that_says_nothing_is_met_by_a_completion_that_says_nothing():
    assert value("format_decoupled", "", " \n") == 1.0
    assert value("format_decoupled", "", "a") == 0.0


# Tests


def test_the_pass_rate_is_micro_and_macro_is_by_kind():
    """1 of 3 present, 1 of 1 absent: 2/4 and (1/3 + 1) / 2."""
    judged = verdicts(True, False, False, True, kinds=["present"] * 3 + ["absent"])
    assert TEST_PARTS["pass_rate"](judged).value == 1 / 2
    assert TEST_PARTS["pass_rate_macro"](judged).value == pytest.approx(2 / 3)
    assert TEST_PARTS["pass_rate"](verdicts(False)) == (0.0, "no test passed; the first: nothing")


# All of them

UNRENDERED = sorted(REFERENCE_PARTS.keys() - {"formulas", "format_decoupled"})
MARKUP = st.lists(
    st.sampled_from(["<table>", "</table>", "<tr>", "<td>", "|", "|-|", "\n", "\n\n", "a", "12", "# ", "$", "\ud800"])
).map("".join)


@settings(deadline=None)
@given(st.text() | MARKUP, st.text() | MARKUP, st.sampled_from(UNRENDERED))
def test_a_part_is_in_zero_to_one_and_has_a_reason_only_where_it_is_zero(reference, completion, name):
    part = compared(name, reference, completion)
    if part is not None:
        assert 0.0 <= part.value <= 1.0
        assert bool(part.why) == (part.value == 0.0)


@settings(deadline=None)
@given(st.text() | MARKUP, st.sampled_from(UNRENDERED))
def test_a_text_compared_with_itself_is_worth_one(text, name):
    assert compared(name, text, text) in (None, (1.0, ""))


@settings(deadline=None, max_examples=30)
@given(st.text() | MARKUP)
def test_format_decoupled_of_a_text_with_itself_is_one(text):
    if take_apart(text).formulas:
        pytest.importorskip("py_mini_racer")
    assert value("format_decoupled", text, text) == pytest.approx(1.0)


@pytest.mark.parametrize("name", UNRENDERED)
@pytest.mark.parametrize("unit", ["<table>", "| a |\n|-|\n", "a\n\n", "1 ", "<!--", "\\[", "$", "x"])
def test_a_long_completion_takes_no_long_time(name, unit):
    reference = "# Title\n\nsome prose with 12 numbers\n\n| a | b |\n|-|-|\n| 1 | 2 |\n\n" * 3
    completion = unit * (100_000 // len(unit))
    with CpuClock() as clock:
        compared(name, reference, completion)
    assert clock.seconds < 1.5
