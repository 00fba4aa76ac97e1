"""table in the mode `olmocr`: the tree of its HTML parser, and its verdicts."""

from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.markup.olmocr.html_tree import read_html


def table(page, cell, **fields):
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "table", "cell": cell, **fields}
    return run_test(parse_test(record, "t"), PreparedPage(page), "olmocr")


def texts(page):
    markup = read_html(page)
    return [[markup.text[cell.start : cell.end] for cell in row] for row in markup.rows]


def test_no_tag_is_closed_by_another():
    assert texts("<table><tr><td>a<td>b</td></td><td>c</table>") == [["ab", "c"]]


def test_an_end_tag_closes_all_that_was_opened_since():
    assert texts("<div><table><tr><td>a</div><td>b") == [["a"]]


def test_a_line_break_is_a_newline_and_other_tags_are_nothing():
    assert texts("<table><tr><td>a<br>b<p>c</p>d</td></tr></table>") == [["a\nbcd"]]


def test_comments_and_scripts_are_no_text_but_cdata_is():
    assert texts("<table><tr><td>a<!-- b --><script>c</script><![CDATA[d]]></td></tr></table>") == [["ad"]]


def test_references_are_read_as_beautiful_soup_reads_them():
    assert texts("<table><tr><td>&amp;&#65;&#x80;&#0;&foo;&copy </td></tr></table>") == [["&A€\ufffd&foo© "]]


def test_the_second_bad_reference_ends_the_markup():
    assert texts("<table><tr><td>&#x; a</td><td>&#x; b</td></tr></table>") == [["&#x; a", "&#x; b</td></tr></table>"]]


def test_of_an_attribute_given_twice_the_last_counts():
    (row,) = read_html("<table><tr><td rowspan=2 ROWSPAN='&#51;'>a").rows
    assert row[0].rowspan == "3"


def test_a_tag_that_does_not_end_is_text_up_to_the_next_bracket():
    assert texts("<table><tr><td>a<b c='d</td><td>e</td></tr></table>") == [["a<b c='d</td>e"]]


def test_the_rows_of_a_nested_table_are_rows_of_the_outer_one_too():
    page = "<table><tr><td>a<table><tr><td>x</td></tr></table></td></tr><tr><td>b</td></tr></table>"
    assert table(page, "b", up="x").passed
    assert table(page, "ax").passed


def test_a_row_span_of_zero_goes_to_the_last_row():
    page = "<table><tr><td rowspan=0>a<td>b</td></td></tr><tr><td>c</td></tr></table>"
    assert table(page.replace("</td></td>", "</td>").replace("a<td>", "a</td><td>"), "c", left="a").passed


def test_a_page_on_which_olmocr_raises_fails():
    page = "<table><tr><td>a</td><td rowspan=9>b</td></tr><tr><td colspan=2>c</td></tr></table>"
    assert table(page, "a").why == "olmOCR cannot read the page: a cell spans rows that another cell has ended"
    assert table("|a|\n|b|\n<![x[", "a").why == 'olmOCR cannot read the page: "<![x" is not a known section'


def test_markdown_rules_anywhere_are_left_out_and_pipes_always_separate():
    page = "| a | b |\n|---|---|\n| - | - |\n| c | d \\| e |"
    assert table(page, "c", up="a").passed
    assert table(page, "d \\").passed


def test_the_threshold_is_at_least_a_half():
    """ratio(ab, ax) = 2 * 1 / 4 is a half; ratio(ab, xy) is 0."""
    assert table("<table><tr><td>ax</td></tr></table>", "ab", max_diffs=9).passed
    assert not table("<table><tr><td>xy</td></tr></table>", "ab", max_diffs=9).passed
