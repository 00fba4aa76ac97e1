"""OmniDocBench by hand, and by evalscope 1.14.1: `scripts/bench/omnidocbench.py` compares thousands of pages."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from helpers.omnidocbench_pages import page as invented_page
from ocr_verifiers.metrics.omnidocbench.blocks import markdown_tables, page_blocks
from ocr_verifiers.metrics.omnidocbench.matching import Pair, contains, quick_match, simple_match
from ocr_verifiers.metrics.omnidocbench.normalization import normalized_formula, normalized_table, normalized_text
from ocr_verifiers.metrics.omnidocbench.reference import reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import score_page, summary
from ocr_verifiers.metrics.omnidocbench.tables import table_score
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_table as normalized_table_v16


def record(*items, relations=(), image="a.png", language="english"):
    return {
        "page_info": {"image_path": image, "page_attribute": {"language": language}},
        "layout_dets": [{"anno_id": n, "order": n, **item} for n, item in enumerate(items, 1)],
        "extra": {"relation": list(relations)},
    }


def text(written, kind="text_block"):
    return {"category_type": kind, "text": written}


def scored(markdown, *items, **options):
    return score_page(reference_page(record(*items, **options)), markdown)


def kinds(markdown):
    return [(block.kind, block.text) for block in page_blocks(markdown)]


def test_a_page_is_cut_into_typed_blocks():
    assert kinds("# A\n\n$$\nx + 1\n$$\n\n<table><tr><td>a</td></tr></table>\n\nb $y$ c") == [
        ("text", "# A"),
        ("formula", r"\[x+1\]"),
        ("table", "<table><tr><td>a</td></tr></table>"),
        ("text", "b $y$ c"),
        ("formula", r"\[y\]"),
    ]


def test_a_table_in_markdown_is_one_in_html():
    (table,) = page_blocks("| a | b |\n|---|---|\n| c | d |\n")
    assert table.kind == "table"
    html = "<tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d</td></tr></table></body></html>"
    assert normalized_table(table.text).replace(' colspan="1" rowspan="1"', "").endswith(f'<table border="1" >{html}')


def test_a_cell_with_a_colon_and_a_line_above_a_table_are_lost_as_in_the_benchmark():
    assert "9:30" not in str(kinds("above\n| a | 9:30 |\n|---|---|\n| c | d |\n"))
    assert "above" not in str(kinds("above\n| a | b |\n|---|---|\n| c | d |\n"))
    assert "above" not in str(kinds("above\nbefore | a | b |\n|---|---|\n| c | d |\n"))


def test_places_on_a_page_with_a_table_in_markdown_are_those_of_the_benchmark():
    """An empty line more at the beginning, none above the table, and two before and three after it."""
    text, (table,) = markdown_tables("x\n\n| a |\n| b |\n\ny")
    assert text == "\nx\n" + "\n\n" + " " * len(table.text) + "\n\n\n" + "\ny"


def test_texts_are_compared_by_letters_and_formulas_without_spaces():
    assert normalized_text(r"A b, $\frac{a}{b_1}$ c\n-d $p=1$") == "Abab_1cdp1"
    assert normalized_formula(r"\[ \mathbf{X} + \text{y} . \]") == "{x}+{y}"


def test_a_reference_in_dollars_is_unlike_itself_as_in_the_benchmark():
    """`$$x$$` against `x`: 4 of 5."""
    (formula,) = scored("$$x$$", {"category_type": "equation_isolated", "latex": "$$x$$"}).formulas
    assert (formula.edits, formula.length) == (4, 5)


def test_a_paragraph_may_be_written_as_two_and_two_as_one():
    assert quick_match(["abcdefghijklmnop"], ["abcdefgh", "ijklmnop"]) == [Pair((0,), (0, 1))]
    assert quick_match(["abcdefghijklmnop", "qrstuvwxyz"], ["abcdefghijklmnopqrstuvwxyz"]) == [Pair((0, 1), (0,))]


def test_what_is_left_of_the_page_stands_together():
    assert quick_match(["abcd"], ["abcd", "xyz", "uvw"]) == [Pair((0,), (0,)), Pair((), (1, 2))]
    assert simple_match(["ab"], ["cd", "ab", "ef"]) == [Pair((0,), (1,)), Pair((), (0, 2))]


def test_edits_are_summed_over_a_page_and_means_are_over_pages():
    """1 of 4 + 3 characters on one page, 0 of 2 on the other: (1/7 + 0) / 2."""
    pages = [scored("abcx\n\nxyz", text("abcd"), text("xyz")), scored("ab", text("ab"))]
    assert summary(pages).text_edit == pytest.approx(1 / 14)


def test_headers_are_matched_and_do_not_count():
    page = scored("Title\n\nabcd", text("Title", "header"), text("abcd"))
    assert [(block.reference, block.page) for block in page.texts] == [("abcd", "abcd")]


def test_paragraphs_in_another_order_cost_edits_of_their_numbers():
    """2 1 against 1 2."""
    page = scored("second text\n\nfirst words", text("first words"), text("second text"))
    assert page.order == 1
    assert summary([page]).text_edit == 0


def test_a_cut_paragraph_is_joined():
    cut = [{"relation_type": "truncated", "source_anno_id": 1, "target_anno_id": 2}]
    page = scored("onetwo", text("one"), text("two"), relations=cut)
    assert [(block.reference, block.page) for block in page.texts] == [("onetwo", "onetwo")]


def test_a_tag_within_a_cell_is_a_node_and_letters():
    """`<b>` and `</b>` in a cell of 3: 2 edits of 3 letters, one of 3 nodes more: 1 - (2/3) / 3."""
    plain, bold = (f"<table><tr><td>{cell}</td></tr></table>" for cell in ("a", "<b>a</b>"))
    assert table_score(plain, bold) == pytest.approx((1 - 2 / 3 / 3, 1))


def test_teds_is_below_zero_if_the_edits_outnumber_the_nodes():
    """Ten rows of a cell, 20 nodes, against a row of ten others: all rows go, one comes, and ten cells change: 21."""
    column = "".join(f"<tr><td>{letter}</td></tr>" for letter in "abcdefghij")
    row = "".join(f"<td>{digit}</td>" for digit in range(10))
    found = table_score(f"<table>{column}</table>", f"<table><tr>{row}</tr></table>")
    assert found == pytest.approx((1 - 21 / 20, 1 - 11 / 20))


@pytest.mark.parametrize("normalized", [normalized_table, normalized_table_v16])
def test_mathml_in_a_table_is_the_latex_that_it_was_made_from(normalized):
    cells = r"""<td>a <math display="block" alttext='x^{2}'><mi>x</mi></math> b</td><td><math><mi>y</mi></math></td>"""
    table = f'<table><tr>{cells}<td><math alttext="y &lt; z">\n<mi>y</mi></math></td></tr></table>'
    written = "<table><tr><td>a $x^{2}$ b</td><td>$$</td><td>$y &lt; z$</td></tr></table>"
    assert normalized(table) == normalized(written)
    assert "<td>a $x^{2}$ b</td><td>$$</td>" in normalized_table(table)


# By evalscope 1.14.1 on the pages of `random.Random(5)`: scripts/bench/omnidocbench.py --pages 40 --seed 5
EVALSCOPE = {
    "english": (
        0.17690353257331126,
        0.18955687465374405,
        0.900567399014996,
        0.14779317317155963,
        0.1919784580498866,
        0.8355321334345136,
    ),
    "simplified_chinese": (
        0.24936836550471073,
        0.04414242040902382,
        0.787265821660472,
        0.2967463064055883,
        0.1984126984126984,
        0.8238355843335097,
    ),
}


def test_the_means_are_those_of_evalscope():
    rng = random.Random(5)
    pages = [invented_page(rng, number) for number in range(40)]
    scores = [score_page(reference_page(reference), markdown, render=False) for reference, markdown in pages]
    for language, expected in EVALSCOPE.items():
        found = summary([score for score in scores if score.language == language])
        values = (
            found.text_edit,
            found.formula_edit,
            found.table_teds,
            found.table_edit,
            found.order_edit,
            found.overall_edit,
        )
        assert values == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text("ab<>|$\\#\n []{}:-!", max_size=40), max_size=4).map("\n\n".join))
def test_any_page_has_scores(markdown):
    table = {"category_type": "table", "html": "<table><tr><td>a</td></tr></table>"}
    page = scored(markdown, text("ab a"), table)
    blocks = (*page.texts, *page.formulas, *page.tables)
    assert all(0 <= block.edits <= block.length for block in blocks)
    assert [block.kind for block in page.texts if block.reference] == ["text_block"]
    assert [(block.kind, block.reference) for block in page.tables] == [("table", normalized_table(table["html"]))]
    assert page.formulas == []
    assert summary([page]).text_edit == sum(b.edits for b in page.texts) / sum(b.length for b in page.texts)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.text("ab c", min_size=1, max_size=12), max_size=6),
    st.lists(st.text("ab c", min_size=1, max_size=12), max_size=6),
)
def test_every_block_of_the_reference_is_paired(reference, page):
    rows = [row for pair in quick_match(reference, page) for row in pair.reference]
    assert set(rows) == set(range(len(reference)))
    assert {row for pair in simple_match(reference, page) for row in pair.reference} == set(rows)


@settings(deadline=None, max_examples=60)
@given(st.text("ab", max_size=60), st.text("ab", min_size=1, max_size=50))
def test_a_part_is_found_where_any_stretch_is_near(written, part):
    stretches = [written[start : start + len(part)] for start in range(len(written) - len(part) + 1)]
    near = [Levenshtein.distance(stretch, part) / len(part) < 0.4 for stretch in stretches]
    assert contains(written, part) == any(near)
