"""The format check: what is a heading, what is bold, what is italic."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.markup.formatting import formatted_texts


def formatting(page, text, kind, **fields):
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "format", "text": text, "format": kind, **fields}
    return run_test(parse_test(record, "t"), PreparedPage(page))


@pytest.mark.parametrize(
    "page",
    [
        "# Title", "###### Title", "  ## Title", "# Title #", "text\n# Title\ntext", "Title\n=====", "Title\n---\ntext",
        "# **Title**", "<h1>Title</h1>", '<H3 class="big">\nTitle\n</H3>', "<h2><b>Title</b></h2>",
    ],
)  # fmt: skip
def test_a_heading_is_found_in_every_spelling(page):
    assert formatted_texts(page)["heading"] == ["Title"]
    assert formatting(page, "Title", "heading").passed


@pytest.mark.parametrize(
    "page",
    ["#Title", "####### Title", "Title", "\\# Title", "**Title**", "| Title |\n|---|", "Title\n\n---", "- Title\n---"],
)
def test_what_only_looks_like_a_heading_is_none(page):
    assert formatting(page, "Title", "heading").why == "no heading on the page"


@pytest.mark.parametrize(
    "page",
    [
        "**bold**", "__bold__", "a **bold** b", "**bold**ed", "em**bold**", "a**bold**b", "请**bold**以下",
        "<b>bold</b>", "<strong>bold</strong>",
        '<B class="x">bold</B>', "*it **bold** it*", "***bold***", "_**bold**_", "**_bold_**", "<i><b>bold</b></i>",
        "- **bold**\n- other", "**bold\n**", "| **bold** | x |",
    ],
)  # fmt: skip
def test_bold_is_found_in_every_spelling(page):
    found = formatting(page, "bold", "bold").passed
    assert found == (page != "**bold\n**"), "no white space inside the markers"


@pytest.mark.parametrize(
    "page",
    [
        "*it*",
        "_it_",
        "<i>it</i>",
        "<em>it</em>",
        "***it***",
        "**a *it* b**",
        "*it **bold***",
        "_it_, then",
        "* *it*\n* b",
    ],
)
def test_italic_is_found_in_every_spelling(page):
    assert formatting(page, "it", "italic").passed


@pytest.mark.parametrize(
    "page", ["snake_it_case", "2*it*4", "a * it * b", "\\*it\\*", "**it**", "*it", "it*", "*\n\nit*"]
)
def test_what_only_looks_like_italics_is_none(page):
    assert formatting(page, "it", "italic").why == "no italic span on the page"


@pytest.mark.parametrize("page", ["____bold____", "2**3**4 bold", "** bold **", "\\**bold\\**", "<b>bold", "bold</b>"])
def test_what_only_looks_bold_is_not(page):
    assert not formatting(page, "bold", "bold").passed


def test_a_stretch_may_run_over_lines_but_not_over_a_blank_line():
    assert formatting("**two\nlines**", "two lines", "bold").passed
    assert not formatting("**two\n\nlines**", "two", "bold").passed
    assert not formatting("<b>two\n\nlines</b>", "two", "bold").passed


def test_both_kinds_are_found_whichever_closes_first():
    assert formatted_texts("***one** two*") == {"heading": [], "bold": ["one"], "italic": ["one two"]}
    assert formatted_texts("***one* two**") == {"heading": [], "bold": ["one two"], "italic": ["one"]}


def test_the_text_may_be_a_part_of_the_stretch():
    assert formatting("# 4. Results and discussion", "Results", "heading").passed


def test_max_diffs_are_edits_and_at_most_half_of_the_text():
    """`Resvlts` is one substitution away; 7 edits allowed for 7 letters are 3."""
    assert not formatting("# Resvlts", "Results", "heading").passed
    assert formatting("# Resvlts", "Results", "heading", max_diffs=1).passed
    assert not formatting("# Another", "Results", "heading", max_diffs=7).passed


def test_case_counts_unless_the_test_says_otherwise():
    verdict = formatting("# RESULTS", "Results", "heading")
    assert verdict.why == '"Results" not found within 0 edits in any heading of the page'
    assert formatting("# RESULTS", "Results", "heading", case_sensitive=False).passed


def test_hole_closed_a_heading_shorter_than_the_text_does_not_have_it():
    """olmOCR swaps the two and finds `A` in the text."""
    assert not formatting("# A", "A very long heading text", "heading").passed


def test_hole_closed_body_is_not_bold():
    assert not formatting("<body>all of the page</b>", "all of the page", "bold").passed
    assert not formatting("<body>all of the page</body>", "all of the page", "bold").passed
    assert not formatting("<image>all of the page</i>", "all of the page", "italic").passed


def test_hole_closed_identifiers_and_products_are_not_italic():
    assert not formatting("see snake_case_name", "case", "italic").passed
    assert not formatting("2*3*4 = 24", "3", "italic").passed


def test_hole_closed_max_diffs_of_the_whole_text_does_not_match_anything():
    assert not formatting("**something else**", "a claim", "bold", max_diffs=100).passed


def test_hole_closed_a_markdown_underline_makes_a_heading():
    assert formatting("Annual report\n=============\n\nText", "Annual report", "heading").passed


def test_front_matter_is_not_a_heading():
    """Its closing line would underline its last field."""
    page = "---\nis_table: false\n---\ntext"
    assert formatted_texts(PreparedPage(page).body)["heading"] == []
    assert not formatting(page, "is_table", "heading").passed


@settings(deadline=None)
@given(st.text(alphabet="*_ab <>/hi1#\n-=\\"))
def test_any_page_is_read_and_its_stretches_are_no_longer_than_it(page):
    for texts in formatted_texts(page).values():
        assert sum(map(len, texts)) <= len(page)
        assert "" not in texts


@settings(deadline=None)
@given(st.text(), st.sampled_from(["heading", "bold", "italic"]), st.integers(0, 9))
def test_any_text_gets_the_same_verdict_twice(page, kind, max_diffs):
    verdicts = {formatting(page, "some text", kind, max_diffs=max_diffs) for _ in range(2)}
    assert len(verdicts) == 1


@settings(deadline=None)
@given(st.text(alphabet="ab c", min_size=1).map(str.strip).filter(bool))
def test_what_is_set_in_a_format_is_found_in_it(text):
    for kind, page in (("heading", f"## {text}"), ("bold", f"x **{text}** y"), ("italic", f"x _{text}_ y")):
        assert formatting(page, text, kind).passed


@pytest.mark.parametrize(
    "unit", ["<b>", "</b>", "<b>x</b>", "<h1>", "**", "*a", "**a** ", "# a\n", "a\n--\n", "\\", "<b ", "\n\n"]
)
def test_a_page_of_100_kilobytes_is_read_in_bounded_time(unit):
    """A few milliseconds per kilobyte; measured at 0.05 to 0.6."""
    page = unit * (100_000 // len(unit))
    with CpuClock() as clock:
        formatting(page, "a very long heading text", "heading", max_diffs=5)
        formatting(page, "some bold text", "bold", max_diffs=7)
    assert clock.seconds < 2
