"""OmniDocBench v1.6 by hand, and by the program in VLMEvalKit (commit fb4d575): `scripts/bench/omnidocbench.py`."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.omnidocbench_pages import page as invented_page
from ocr_verifiers.metrics.omnidocbench.reference import reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import summary
from ocr_verifiers.metrics.omnidocbench.v16.blocks import page_blocks
from ocr_verifiers.metrics.omnidocbench.v16.in_order import ordered_pairs
from ocr_verifiers.metrics.omnidocbench.v16.multiline import formula_lines
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_formula, normalized_table, normalized_text
from ocr_verifiers.metrics.omnidocbench.v16.rows import in_order
from ocr_verifiers.metrics.omnidocbench.v16.scoring import score_page
from verifiers.metrics.test_omnidocbench import record, text


def scored(markdown, *items, **options):
    return score_page(reference_page(record(*items, **options), "v1.6"), markdown, render=False)


def formula(latex, **fields):
    return {"category_type": "equation_isolated", "latex": latex, **fields}


def pairs(blocks):
    return [(block.reference, block.page) for block in blocks]


def test_a_page_is_cut_into_typed_blocks_and_names_in_dollars_are_none():
    assert [
        (block.kind, block.text)
        for block in page_blocks("# A\n\n$$\nx + 1\n$$\n\nthe curves $y$ and $y^2$ are drawn everywhere")
    ] == [
        ("text", "# A"),
        ("formula", r"\[ x + 1 \]"),
        ("text", "the curves $y$ and $y^2$ are drawn everywhere"),
        ("formula", r"\[y^2\]"),
    ]


@pytest.mark.parametrize(("first", "last"), [("a", ["d", r"\[xy\]"]), ("$$z$$", [r"\[xy\]", "d"])])
def test_of_a_text_and_a_formula_at_one_place_the_first_is_what_the_page_begins_with(first, last):
    """What is between paragraphs does not count: after `a`, the formula begins at 9, and `d` at 3 + 6."""
    blocks = in_order(page_blocks(f"{first}\n\nb\n\nc\n\n$$xy$$\n\nd"))
    assert [(block.start, block.text) for block in blocks[-2:]] == [(len(first) + 8, text) for text in last]


def test_a_calculation_in_a_table_is_a_formula_too():
    (table, cell) = page_blocks("<table><tr><td>3 + 4 = 7</td><td>seven</td></tr></table>")
    assert (table.kind, cell.kind, cell.text) == ("table", "formula", r"\[ 3 + 4 = 7 \]")


def test_texts_formulas_and_cells_are_compared_in_normal_form():
    assert normalized_text(r"① A $\frac{a}{b_1}$ c") == "1Aab_1c"
    assert normalized_formula(r"\[ \left( \mathbf{X}_{i} \right) &= {a+b} \tag{3} \]") == "(x_i)=a+b"
    cell = "<table><tr><th> ✓ </th><th>-</th><td>$\\alpha$</td></tr></table>"
    assert "<td>√</td><td>—</td><td>α</td>" in normalized_table(cell)


def test_the_lines_of_a_formula_are_formulas():
    lines = formula_lines(r"\[\begin{aligned} a &= b \\ c &= d \tag{1} \end{aligned}, e\]")
    assert [line.latex for line in lines] == ["a &= b", "c &= d , e"]
    assert formula_lines(r"\begin{pmatrix} a \\ b \end{pmatrix}") == []
    assert formula_lines(r"\left\{ \begin{array}{l} a \\ b \end{array} \right.") == []


def test_lines_may_be_written_apart_or_together():
    aligned = formula(r"\begin{gathered} a = b \\ c = d \end{gathered}")
    assert pairs(scored("$$a = b$$\n\n$$c = d$$", aligned).formulas) == [("a=b", "a=b"), ("c=d", "c=d")]
    assert pairs(scored(r"$$a = b \\ c = d$$", formula("a = b"), formula("c = d")).formulas) == [
        ("a=b", "a=b"),
        ("c=d", "c=d"),
    ]


def test_formulas_in_order_may_take_several_of_the_page():
    """abcd for ab and cd costs 1 of 5, since they are joined by a space; to leave out x costs 1."""
    known = [1, 2, 3, 4]
    assert ordered_pairs(
        ["abcd", "ef"], ["ab", "cd", "x", "ef"], known, [True, True, False, True], [False] * 4, False, 0
    ) == [
        [0, 1],
        [3],
    ]


def test_what_is_only_on_the_page_does_not_count():
    page = scored("abcd\n\nmore than that, which nobody wrote", text("abcd"))
    assert pairs(page.texts) == [("abcd", "abcd")]


def test_what_is_missing_counts_once():
    assert pairs(scored("abcd", text("abcd"), text("vwxyz")).texts) == [("abcd", "abcd"), ("vwxyz", "")]


def test_headers_take_what_is_near_them_first():
    page = scored("Title one\n\nTitle on", text("Title one", "header"), text("Title on"))
    assert pairs(page.texts) == [("Titleon", "")]


def test_the_first_table_of_a_page_has_no_place_there_as_in_the_benchmark():
    """1 2 against 1: only the paragraph is found."""
    table = {"category_type": "table", "html": "<table><tr><td>a</td></tr></table>"}
    page = scored("abcd\n\n<table><tr><td>a</td></tr></table>", text("abcd"), table)
    assert page.order == 1 / 2
    assert page.tables[0].table == (1, 1)


def test_parts_of_a_cut_paragraph_are_joined_once():
    cut = [{"relation_type": "truncated", "source_anno_id": n, "target_anno_id": n + 1} for n in (1, 2)]
    page = scored("onetwothree", text("one"), text("two"), text("three"), relations=cut)
    assert pairs(page.texts) == [("onetwothree", "onetwothree")]


def test_what_is_to_be_ignored_is():
    assert pairs(scored("abcd", text("abcd"), {**text("xyz"), "ignore": True}).texts) == [("abcd", "abcd")]


def test_the_means_are_those_of_the_program_in_vlmevalkit():
    """On the pages of `random.Random(5)`: --pages 40 --seed 5 --vlmevalkit; the means are of its pairs."""
    rng = random.Random(5)
    pages = [invented_page(rng, number) for number in range(40)]
    found = summary([score_page(reference_page(record, "v1.6"), page, render=False) for record, page in pages])
    values = (
        found.text_edit,
        found.formula_edit,
        found.table_teds,
        found.table_teds_s,
        found.table_edit,
        found.order_edit,
    )
    expected = (
        0.13585481056597407,
        0.10810963455319463,
        0.8730599391267789,
        0.8932748538011696,
        0.18732972576129903,
        0.23045565545565544,
    )
    assert values == pytest.approx(expected, abs=1e-8)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text("ab<>|$\\#\n []{}:-&!", max_size=40), max_size=4).map("\n\n".join))
def test_any_page_has_scores(markdown):
    table = {"category_type": "table", "html": "<table><tr><td>a</td></tr></table>"}
    page = scored(markdown, text("ab a"), formula(r"a \\ b"), table)
    assert all(0 <= block.edit <= 1 for block in (*page.texts, *page.formulas, *page.tables))
    assert len(page.texts) == len(page.tables) == 1
    assert len(page.formulas) == 2


@settings(deadline=None, max_examples=50)
@given(st.text("a{}\\&begin ()[]$", max_size=60))
def test_any_latex_has_a_normal_form(latex):
    assert " " not in normalized_formula(latex)
    assert all(line.latex for line in formula_lines(latex))
