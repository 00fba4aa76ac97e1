"""OTSL: cells, spans and headings, and where a table ends."""

import pytest

from ocr_verifiers import parse_test, run_test, to_markdown
from ocr_verifiers.unit_tests.page import PreparedPage


def table(tokens):
    """The rows of the only table, without the tags around them."""
    converted = to_markdown(tokens, "otsl")
    assert converted.problem is None
    assert converted.text.startswith("<table><tr>")
    assert converted.text.endswith("</tr></table>")
    return converted.text.removeprefix("<table><tr>").removesuffix("</tr></table>").split("</tr><tr>")


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [
        ("<fcel>a<nl>", ["<td>a</td>"]),
        ("<fcel> a <ecel><nl>", ["<td>a</td><td></td>"]),
        ("<fcel>a<nl>\n<fcel>1<nl>\n", ["<th>a</th>", "<td>1</td>"]),
        ("<ched>a<nl><rhed>b<fcel>1<nl>", ["<th>a</th>", "<th>b</th><td>1</td>"]),
        ("<ecel><ched>a<nl><fcel>b<fcel>1<nl>", ["<th></th><th>a</th>", "<td>b</td><td>1</td>"]),
        ("<fcel>b<ched>a<nl><fcel>1<fcel>2<nl>", ["<td>b</td><th>a</th>", "<td>1</td><td>2</td>"]),
        ("<srow>s<lcel><nl><fcel>1<fcel>2<nl>", ['<th colspan="2">s</th>', "<td>1</td><td>2</td>"]),
        ("<fcel>a<fcel>b<nl><fcel>1<nl>", ["<th>a</th><th>b</th>", "<td>1</td>"]),
        ("<otsl><fcel>a<nl></otsl>", ["<td>a</td>"]),
        ("<fcel>a<nl><nl><fcel>1<nl>", ["<th>a</th>", "<td>1</td>"]),
        ("<fcel>P < 0.05 & $x$<nl>", ["<td>P < 0.05 & $x$</td>"]),
    ],
)
def test_cells_and_headings(tokens, rows):
    """Without a heading token, the first of several rows has headings; an empty cell among headings is one."""
    assert table(tokens) == rows


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [
        ("<ched>a<lcel><lcel><nl>", ['<th colspan="3">a</th>']),
        ("<ched>a<nl><ucel><nl><ucel><nl>", ['<th rowspan="3">a</th>', "", ""]),
        # two ways to write a cell of 2 x 2: as the paper does, and as docling-core does
        ("<ched>a<lcel><nl><ucel><xcel><nl>", ['<th rowspan="2" colspan="2">a</th>', ""]),
        ("<ched>a<xcel><nl><xcel><xcel><nl>", ['<th rowspan="2" colspan="2">a</th>', ""]),
        # the cell at the left does not reach into the one that hangs from above
        (
            "<fcel>a<ched>b<xcel><nl><fcel>c<xcel><xcel><nl>",
            ['<td>a</td><th rowspan="2" colspan="2">b</th>', "<td>c</td>"],
        ),
        ("<ched>a<lcel><nl><ucel><fcel>b<nl>", ['<th colspan="2">a</th>', "<td></td><td>b</td>"]),
        ("<ched>a<nl><lcel><nl>", ["<th>a</th>", "<td></td>"]),
        ("<ched>a<fcel>b<nl><fcel>1<ucel><nl>", ['<th>a</th><td rowspan="2">b</td>', "<td>1</td>"]),
    ],
)
def test_a_cell_spans_the_tokens_that_extend_it_to_a_rectangle(tokens, rows):
    assert table(tokens) == rows


def test_neighbours_of_spanning_cells_are_found_by_table_tests():
    record = {
        "pdf": "a.pdf",
        "page": 1,
        "id": "t",
        "type": "table",
        "cell": "7",
        "top_heading": "Year",
        "left": "North",
    }
    tokens = "<ched>Region<ched>Year<lcel><nl><ucel><ched>1<ched>2<nl><fcel>North<fcel>7<fcel>8<nl>"
    page = PreparedPage(to_markdown(tokens, "otsl").text)
    assert run_test(parse_test(record, "t"), page).passed
    assert not run_test(parse_test(record | {"top_heading": "Region"}, "t"), page).passed


A, B = "<table><tr><td>a</td></tr></table>", "<table><tr><td>b</td></tr></table>"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("Dear Sir,\n\n<fcel>a<nl>\n\nYours", f"Dear Sir,\n\n{A}\n\nYours"),
        ("Dear Sir, <fcel>a<nl> Yours", f"Dear Sir, \n\n{A}\n\n Yours"),
        ("<fcel>a<nl>\n\n<fcel>b<nl>", f"{A}\n\n{B}"),
        ("<otsl><fcel>a<nl></otsl><otsl><fcel>b<nl></otsl>", f"{A}\n\n{B}"),
        ("  No table\n", "  No table\n"),
        ("", ""),
    ],
)
def test_a_table_ends_at_a_blank_line_or_other_text(text, markdown):
    assert to_markdown(text, "otsl") == (markdown, None, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<fcel>a<nl><fcel>b", "the last row of a table does not end with <nl>"),
        ("<otsl><fcel>a</otsl>", "the last row of a table does not end with <nl>"),
        ("a<nl>", "<nl> stands outside a table"),
        ("<fcel>a<nl> b <nl>", "<nl> stands outside a table"),
        ("<fcel>a<ucel>b<nl>", "<ucel> has text, and is part of another cell"),
    ],
)
def test_what_is_malformed_and_why(text, why):
    assert to_markdown(text, "otsl") == (text, why, "")
