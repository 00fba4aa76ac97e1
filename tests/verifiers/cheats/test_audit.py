"""Published rewards, written anew: worked values, and the tables of docs/verifiers/audit.md."""

import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_verifiers.cheats.audit import HARD, audit, markdown
from ocr_verifiers.cheats.published import (
    easyr1_r1v,
    fd_rl,
    hunyuan_parsing,
    in_r1v_format,
    infinity_parser,
    olmocr_edit_distance,
    swift_accuracy,
)
from ocr_verifiers.cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "verifiers" / "audit.md"
TABLE = "<table><tr><td>ab</td><td>cd</td></tr></table>"


def test_olmocrs_similarity_counts_insertions_and_deletions():
    """`abcd` and `abxd`: one deletion and one insertion of eight characters."""
    assert olmocr_edit_distance("abxd", "abcd") == 0.75
    assert olmocr_edit_distance("x", "") == 0.0


@pytest.mark.parametrize(
    ("completion", "reference", "reward"),
    [
        ("the mill by the river", "themillbytheriver", 1.0),  # spaces do not count
        ("abcdefghij", "abcdefghxx", 0.8),
        ("abcdexxxxx", "abcdefghij", 0.5),
        ("abcdxxxxxx", "abcdefghij", 0.0),  # below a half
        ("a" * 199 + "b", "a" * 200, 1.0),  # above .99
        ("$\\alpha \\le 1$", "α≤1", 1.0),
        ("line\nline", "lineline", 1.0),
        ("(12, 34)text", "text", 1.0),
        ("text" + "go" * 200, "text", 0.0),
        ("", "text", 0.0),
    ],
)
def test_hunyuans_scores_of_text(completion, reference, reward):
    assert hunyuan_parsing(completion, reference) == pytest.approx(reward)


def test_hunyuans_scores_of_tables():
    """Two wrong letters of 46 and 7, TEDS 1 - 1/3 (one cell; a row has two), structure 1."""
    text = TABLE + "x" * 7
    wrong = text.replace("cd", "yz")
    similarity = 1 - 2 / 53
    assert hunyuan_parsing(wrong, text) == pytest.approx((2 * similarity + 2 / 3 + 1) / 4)
    assert hunyuan_parsing(wrong.replace("<table>", "<table x>"), text) == 0.0  # another number of tables


def test_r1v_wants_its_format_and_an_answer_in_one_line():
    assert swift_accuracy("page", "page") == 1.0
    assert swift_accuracy("<answer>page</answer>", "page") == 1.0
    assert swift_accuracy("<answer>a\nb</answer>", "a\nb") == 0.0
    assert easyr1_r1v(in_r1v_format("page"), "page") == 1.0
    assert easyr1_r1v(in_r1v_format("a\nb"), "a\nb") == easyr1_r1v(in_r1v_format("lies"), "a\nb") == 0.5
    assert easyr1_r1v("page", "page") == 0.5


def test_infinity_parsers_empty_page_is_in_perfect_order():
    assert infinity_parser("", "one\n\ntwo") == pytest.approx(1 / 3)
    """Three paragraphs in reverse: all pairs inverted."""
    page = "first line\n\nsecond one\n\nthird text"
    assert infinity_parser("third text\n\nsecond one\n\nfirst line", page) < 2 / 3
    assert infinity_parser(page, page) == 1.0


def test_fd_rl_looks_at_the_structure_of_tables_only():
    assert fd_rl(TABLE.replace("cd", "yz"), TABLE) == 1.0
    assert fd_rl("text", "text") == 1.0
    """BLEU of x^2 against x^3, with one added: 2 of 3 tokens, 1 of 2 pairs, 0 of 1 triple, 0 of 0 fours."""
    expected = ((2 + 1) / 4 * (1 + 1) / 3 * (0 + 1) / 2 * 1) ** (1 / 4)
    assert math.isclose(fd_rl("$x^2$", "$x^3$"), expected)


@pytest.fixture(scope="module")
def found():
    pytest.importorskip("py_mini_racer")
    return audit(cheats=False)


def test_the_true_text_earns_everything_by_the_rubrics(found):
    assert found.hard["the true text"][:4] == [1.0] * 4


def test_the_default_rubric_pays_more_for_all_of_the_page_than_for_anything_else(found):
    worst = min(values[0] for case, values in found.hard.items() if HARD[case][0])
    assert worst > max(values[0] for case, values in found.hard.items() if not HARD[case][0])


def test_the_tables_of_the_documentation_are_those_of_the_command(found):
    written = PAGE.read_text(encoding="utf-8").partition("checked by a test -->\n")[2].partition("\n<!-- end")[0]
    rows = list(markdown(found))
    assert written.splitlines()[: len(rows)] == rows


@pytest.mark.slow
def test_all_tables_of_the_documentation_are_those_of_the_command():
    written = PAGE.read_text(encoding="utf-8").partition("checked by a test -->\n")[2].partition("\n<!-- end")[0]
    result = CliRunner().invoke(main, ["audit"])
    assert written.splitlines() == result.output.splitlines()
