"""table, strict: a cell and its neighbours in the tables that a reader would see; one test per hole closed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import PreparedPage, parse_test, run_test

MARKDOWN = """
| City | 2020 | 2021 |
|------|-----:|-----:|
| Bern | 1.5 | 2.5 |
| Wien | 3 | 4 |
"""
HTML = """<table><thead><tr><th rowspan="2">City<th colspan="2">Sales</tr><tr><th>2020<th>2021</tr></thead>
<tr><th>Bern</th><td>1.5</td><td>2.5</td></tr><tr><th>Wien</th><td>3</td><td>4</td></tr></table>"""


def table(page, cell, compat=None, **fields):
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "table", "cell": cell, **fields}
    return run_test(parse_test(record, "t"), PreparedPage(page), compat)


@pytest.mark.parametrize("page", [MARKDOWN, HTML])
def test_a_cell_passes_with_the_neighbours_and_headings_that_it_has(page):
    assert table(page, "4", up="2.5", left="3", top_heading="2021", left_heading="Wien").passed
    assert table(page, "1.5", down="3", right="2.5").passed


@pytest.mark.parametrize("page", [MARKDOWN, HTML])
def test_a_cell_fails_with_a_neighbour_that_stands_elsewhere(page):
    assert table(page, "4", up="1.5").why == '"4" is a cell, but nowhere with up "1.5"'
    assert table(page, "4", top_heading="2020").why == '"4" is a cell, but nowhere with top_heading "2020"'
    assert table(page, "5").why == 'no cell reads "5"'


def test_a_table_as_prose_fails():
    assert table("In Bern sales were 1.5 in 2020 and 2.5 in 2021.", "1.5").why == "no table on the page"


def test_all_relations_hold_at_one_place():
    """Each of `a` and `b` is next to some `x`, but no `x` has both."""
    page = "<table><tr><td>a<td>x</tr><tr><td>c<td>d</tr><tr><td>e<td>x<td>b</tr></table>"
    assert table(page, "x", left="a").passed
    assert table(page, "x", right="b").passed
    assert not table(page, "x", left="a", right="b").passed


def test_a_spanning_cell_is_the_neighbour_of_every_cell_that_it_touches():
    assert table(HTML, "2020", up="Sales").passed
    assert table(HTML, "2021", up="Sales", left="2020").passed
    assert table(HTML, "2021", top_heading="Sales").passed
    assert table(HTML, "City", right="Sales").passed
    assert table(HTML, "City", right="2020").passed


def test_the_whole_cell_is_compared():
    assert not table(MARKDOWN, "Ber").passed
    assert table(MARKDOWN, "Ber", max_diffs=1).passed


@pytest.mark.parametrize(("max_diffs", "passed"), [(0, False), (1, False), (2, True)])
def test_max_diffs_counts_levenshtein_edits(max_diffs, passed):
    """`Bexx` is two substitutions from `Bern`."""
    assert table(MARKDOWN.replace("Bern", "Bexx"), "Bern", max_diffs=max_diffs).passed is passed


def test_max_diffs_is_never_more_than_half_of_the_text():
    """A one-letter neighbour has to match, however many edits the cell may have."""
    assert not table(MARKDOWN, "Bern", down="5", max_diffs=3).passed
    assert not table(MARKDOWN, "qqqq", max_diffs=100).passed


@pytest.mark.parametrize("cell", ["±5", "$\\pm 5$", "$\\pm5$", "\\(\\pm 5\\)", "**±5**", "±&#53;"])
def test_a_formula_is_the_plain_text_that_it_means(cell):
    assert table(f"<table><tr><td>{cell}</td></tr></table>", "±5").passed
    assert table("<table><tr><td>±5</td></tr></table>", cell.replace("&#53;", "5")).passed


@pytest.mark.parametrize("cell", ["x²", "x<sup>2</sup>", "$x^2$", "$x^{2}$"])
def test_superscripts_are_plain_characters(cell):
    assert table(f"<table><tr><td>{cell}</td></tr></table>", "x2").passed


def test_two_prices_are_no_formula():
    assert not table("<table><tr><td>5 to $6</td></tr></table>", "$5 to $6").passed


@pytest.mark.parametrize("line_break", ["<br>", "<br/>", "<BR />", "\n"])
def test_a_line_break_is_a_space(line_break):
    assert table(f"<table><tr><td>New{line_break}York</td></tr></table>", "New York").passed


def test_a_fenced_table_is_a_table():
    assert table(f"```markdown{MARKDOWN}```", "4", up="2.5").passed
    assert table(f"```html\n{HTML}\n```", "4", up="2.5").passed


def test_rows_may_be_ragged():
    page = "| a | b |\n|---|---|\n| c |\n| d | e | f |"
    assert table(page, "e", up="b").passed
    assert table(page, "f", left="e").passed
    assert not table(page, "f", up="b").passed


def test_ignore_markdown_tables_leaves_the_html_tables():
    assert not table(MARKDOWN, "4", ignore_markdown_tables=True).passed
    assert table(MARKDOWN + HTML, "4", ignore_markdown_tables=True).passed


def test_cells_need_no_end_tags():
    assert table("<table><tr><td>a<td>b<tr><td>c<td>d</table>", "d", left="c", up="b").passed


def test_the_marks_of_a_block_quote_are_no_part_of_a_table():
    assert table("> | Tea | Sum |\n> |---|---|\n> | Rum | 13 |", "13", left="Rum", up="Sum").passed
    assert table(">> | Tea |\n>> |---|\n>> | Rum |", "Rum", up="Tea").passed


@pytest.mark.parametrize("end", ["</td", "</td>", "</", "<", "</td></tr", "<td", ""])
def test_a_page_may_end_within_a_tag(end):
    assert table(f"<table><tr><td>a</td><td>b</td></tr><tr><td>c</td><td>d{end}", "d", up="b", left="c").passed


def test_an_attribute_may_hold_angle_brackets():
    assert table("<table><tr><td title='a < b > c'>x</td><td>y</td></tr></table>", "x", right="y").passed


def test_front_matter_is_no_table():
    assert not table("---\ntitle: a | b\n---\n", "a").passed


# Holes


def test_hole_closed_lines_with_pipes_are_no_table_without_a_rule():
    page = "either a | b\nor c | d"
    assert table(page, "or c", compat="olmocr").passed
    assert table(page, "or c").why == "no table on the page"


def test_hole_closed_an_escaped_pipe_is_text():
    page = "| a \\| b | c |\n|---|---|"
    assert not table(page, "a | b", compat="olmocr").passed
    assert table(page, "a | b", right="c").passed


def test_hole_closed_a_row_of_dashes_is_a_row():
    page = "| a | b |\n|---|---|\n| - | - |\n| c | d |"
    assert table(page, "c", up="a", compat="olmocr").passed
    assert not table(page, "c", up="a").passed
    assert table(page, "c", up="-").passed


def test_hole_closed_the_rows_of_a_nested_table_are_no_rows_of_the_outer_one():
    page = "<table><tr><td>a<table><tr><td>x</td></tr></table></td></tr><tr><td>b</td></tr></table>"
    assert table(page, "b", up="x", compat="olmocr").passed
    assert not table(page, "b", up="x").passed
    assert table(page, "b", up="a").passed
    assert table(page, "x").passed


def test_hole_closed_half_of_a_cell_is_not_enough():
    """With olmOCR's minimum of one half, eight edits match anything that shares half of the letters of `95.5`."""
    page = "<table><tr><td>9.45</td></tr></table>"
    assert table(page, "95.5", max_diffs=3, compat="olmocr").passed
    assert not table("<table><tr><td>9x4y</td></tr></table>", "95.5", max_diffs=8).passed


def test_hole_closed_a_span_over_rows_that_another_cell_ends_is_read():
    page = '<table><tr><td>a<td rowspan="9">b<td>c</tr><tr><td colspan="2">d</tr></table>'
    assert table(page, "d", up="a").passed
    assert table(page, "c", left="b").passed


def test_hole_closed_a_comment_or_a_script_is_no_cell_text():
    for hidden in ("<!-- <td>x</td> -->", "<script><td>x</td></script>", "<!-- <td>x</td>"):
        assert not table(f"<table><tr><td>a</td>{hidden}</tr></table>", "x").passed


def test_hole_closed_two_bad_references_do_not_end_the_markup():
    page = "<table><tr><td>&#x; &#x;</td><td>a</td></tr></table>"
    assert not table(page, "a", compat="olmocr").passed
    assert table(page, "a").passed


# Bounds


@pytest.mark.parametrize("compat", [None, "olmocr"])
@pytest.mark.parametrize(
    "page",
    [
        "<table><tr><td>a" * 3_000,
        "|" * 1_000_000,
        "|a\n" * 20_000 + "|-|\n",
        "<table>" + "<tr><td rowspan=999999999 colspan=999999999>a<td>a" * 100 + "</table>",
        "<table>" + "".join(f"<tr><td colspan={n}>a</tr>" for n in range(1, 1000)) + "</table>",
        "<table><tr>" + "<td rowspan=30000>a" * 1000 + "<tr><td>a" * 1000,
        "<table>" + "<!--x>" * 20_000,
        "<table>" + '<a x=">"' * 20_000,
        "<table>" + "&#;<![CDATA[</<?" * 20_000,
    ],
    ids=lambda page: page[:12],
)
def test_degenerate_tables_get_a_verdict(page, compat):
    assert not table(page, "a", compat, up="zz", left_heading="yy").passed


PIECES = st.sampled_from(
    "<table> </table> <tr> </tr> <td> </td> <th> </th> <thead> </thead> <td/> <br> <!-- --> <!-- < & &#65; &#; &amp; "
    "<script> </script> <td\x00rowspan=2> <td\ud800colspan=3> | a b $ \\( \\ \n |-|-| \ud800 \x00 ``` <![CDATA[ <![x["
    "".split(" ")
)


@settings(deadline=None, max_examples=150)
@given(st.lists(PIECES, max_size=40).map("".join), PIECES, PIECES, st.integers(0, 9), st.sampled_from([None, "olmocr"]))
def test_any_page_gets_the_same_verdict_twice(page, cell, near, max_diffs, compat):
    first, second = (table(page, cell, compat, max_diffs=max_diffs, up=near, left_heading=near) for _ in range(2))
    assert first == second
    assert first.passed or first.why


CELLS = st.text(alphabet="abc1", min_size=1, max_size=3)


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=4)
    )
)
def test_every_neighbour_of_a_written_table_is_found_in_both_spellings_and_modes(rows):
    markdown = "\n".join("|" + "|".join(row) + "|" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])
    html = "<table>" + "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows) + "</table>"
    for r, row in enumerate(rows):
        for c, cell in enumerate(row):
            near = {}
            if r:
                near["up"] = rows[r - 1][c]
            if c:
                near["left"] = row[c - 1]
            for page in (markdown, html):
                for compat in (None, "olmocr"):
                    assert table(page, cell, compat, **near).passed
