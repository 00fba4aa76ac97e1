"""Pages as a broken or cheating model writes them: each has its scores, soon."""

import random
import re
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.metrics.omnidocbench import runs, scoring
from ocr_verifiers.metrics.omnidocbench.blocks import (
    balanced,
    images,
    with_images_as,
    without_headings,
)
from ocr_verifiers.metrics.omnidocbench.delimited import (
    BRACKETS,
    DOLLARS,
    FORMULAS,
    INLINE,
    PARENTHESES,
    delimited,
    first_on_a_line,
    with_delimited,
    with_inline,
)
from ocr_verifiers.metrics.omnidocbench.matching import distances, quick_match
from ocr_verifiers.metrics.omnidocbench.normalization import normalized_table
from ocr_verifiers.metrics.omnidocbench.reference import reference_page
from ocr_verifiers.metrics.omnidocbench.runs import nearest_run
from ocr_verifiers.metrics.omnidocbench.stretches import lost_letters
from ocr_verifiers.metrics.omnidocbench.tables import table_score
from ocr_verifiers.metrics.omnidocbench.v16 import scoring as scoring_v16
from ocr_verifiers.metrics.omnidocbench.v16.blocks import Texts, cell_texts, page_blocks, parsed
from ocr_verifiers.metrics.omnidocbench.v16.formula_like import is_label, without_margins
from ocr_verifiers.metrics.omnidocbench.v16.latex import without_tags
from ocr_verifiers.metrics.omnidocbench.v16.logic import with_logic_as_arrays
from ocr_verifiers.metrics.omnidocbench.v16.normalization import normalized_formula, normalized_text
from verifiers.metrics.test_omnidocbench import record, text

TABLE = {"category_type": "table", "html": "<table><tr><td>a</td></tr></table>"}
FORMULA = {"category_type": "equation_isolated", "latex": r"a \\ b"}


def both(markdown):
    items = (text("ab a"), TABLE, FORMULA)
    old = scoring.score_page(reference_page(record(*items)), markdown, render=False)
    return old, scoring_v16.score_page(reference_page(record(*items), "v1.6"), markdown, render=False)


@pytest.mark.parametrize(
    "markdown",
    [
        "<table>" * 1500 + "</table>",
        r"\begin{tabular}" * 1500 + r"\end{tabular}",
        r"\[ " + r"\begin{cases} a \\ " * 400 + r"\end{cases}" * 400 + r" \]",
        "<table><![foo[x]]><tr>",
        "<table><![foo[x]]><tr><td>a</td></tr></table>",
        "<div><![foo[x]]></div>",
        f'<table><tr><td colspan="{"9" * 5000}">a</td></tr></table>',
    ],
    ids=["tables", "tabulars", "cases", "open section", "section", "section in text", "span"],
)
def test_odd_pages_have_scores(markdown):
    for page in both(markdown):
        assert all(0 <= block.edit <= 1 for block in (*page.texts, *page.formulas, *page.tables))
        assert page.tables[0].table.teds <= 1


def outermost(text, begin, end, beyond):
    """The definition: the part after the first `begin` that does not end is looked at alone."""
    spans, stack = [], []
    for found in re.finditer(f"({begin})|{end}", text):
        if found[1]:
            stack.append(found.start())
        elif stack and (start := stack.pop()) is not None and not stack:
            spans.append((start, min(len(text), found.end() + beyond)))
    if stack:
        rest = stack[0] + 1
        spans += [(rest + a, rest + b) for a, b in outermost(text[rest:], begin, end, beyond)]
    return spans


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["<table", ">", "</table>", " a "]), max_size=14).map("".join), st.sampled_from([0, 1]))
def test_spans_are_outermost_and_those_that_do_not_end_are_skipped(written, beyond):
    assert balanced(written, r"<table[^>]*>", "</table>", beyond) == outermost(
        written, r"<table[^>]*>", "</table>", beyond
    )


def test_a_table_that_cannot_be_parsed_has_no_cells():
    assert cell_texts("<table><tr><td>1 + 2</td></tr></table>") == ["1 + 2"]
    assert cell_texts("<table><tr><td>1 + 2</td></tr><![foo[x]]></table>") == []


def test_a_span_is_a_number_of_up_to_nine_digits():
    one, large = (f'<table><tr><td colspan="{span}">a</td></tr></table>' for span in ("1", "9" * 5000))
    assert table_score(one, large) == (1, 1)
    assert table_score(one, one.replace('"1"', '"999999999"')) == (0.5, 0.5)


@pytest.mark.parametrize(("depth", "arrays"), [(12, 12), (500, 20)])
def test_cases_in_cases_are_arrays_down_to_a_depth(depth, arrays):
    begin, end = r"\begin{cases} a \Rightarrow b \\ ", r"\end{cases}"
    found = with_logic_as_arrays(begin * depth + "c" + end * depth)
    assert found.count(r"\begin{array}") == arrays
    assert found.count(r"\begin{cases}") == depth - arrays


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["![", "](", ")", "a", "\n", "!", "]"]), max_size=16).map("".join))
def test_images_stand_on_a_line(written):
    found = [(image.start(), image.end(1), image.end()) for image in re.finditer(r"!\[(.*?)\]\(.*?\)", written)]
    assert list(images(written)) == found
    assert with_images_as(str.upper, written) == re.sub(r"!\[.*?\]\(.*?\)", lambda image: image[0].upper(), written)


DELIMITERS = "$ $$ \\( \\) \\[ \\] \\ a".split()
TEXTS = st.lists(st.sampled_from([*DELIMITERS, "b", " ", "\n", "{", "}"]), max_size=12).map("".join)


@pytest.mark.parametrize("pairs", [FORMULAS, DOLLARS, INLINE])
@given(TEXTS)
def test_what_stands_between_delimiters_is_what_a_lazy_pattern_finds(pairs, written):
    pattern = "|".join(f"{re.escape(begin)}.*?{re.escape(end)}" for begin, end in pairs.items())
    found = [(formula.start, formula.stop, formula.text) for formula in delimited(written, pairs)]
    assert found == [(*formula.span(), formula[0]) for formula in re.finditer(pattern, written, re.DOTALL)]
    assert with_delimited(written, pairs, lambda _: "X") == re.sub(pattern, "X", written, flags=re.DOTALL)


@given(TEXTS)
def test_inline_formulas_and_what_is_in_brackets_stand_on_one_line(written):
    assert with_inline(written, lambda found: found.inner) == re.sub(r"\$(.*?)\$|\\\((.*?)\\\)", r"\1\2", written)
    displayed = re.search(r"\\\[(.+?)(?<!\\)\\\]|\\\((.+?)(?<!\\)\\\)", written)
    assert first_on_a_line(written, BRACKETS, PARENTHESES) == (displayed and (displayed[1] or displayed[2]))


@given(st.lists(st.sampled_from([r"\title", r"\title{", r"\text{", "\\section*{", " ", "\n", "a", "}"])).map("".join))
def test_headings_are_their_texts(written):
    expected = written
    for pattern, flags in [
        (r"\\title\{(.*?)\}", 0),
        (r"\\title\s*\{\s*(.*?)\s*\}", re.DOTALL),
        (r"\\text\s*\{\s*(.*?)\s*\}", re.DOTALL),
        (r"\\section\*?\{(.*?)\}", 0),
        (r"\\section\*?\{\s*(.*?)\s*\}", re.DOTALL),
    ]:
        expected = re.sub(pattern, r"\1", expected, flags=flags)
    assert without_headings(written) == expected


def seconds(work):
    start = time.process_time()
    work()
    return time.process_time() - start


@pytest.mark.parametrize(
    ("work", "part", "after"),
    [
        (without_margins, r"\, (a", r" \]"),
        (without_margins, r"\, (a", r") x) \]"),
        (without_tags, r"\tag{1 ", ""),
        (without_tags, r"\tag{1 ", "}"),
        (cell_texts, "<td>1", ""),
        (cell_texts, "<td> ", "x" * 8_000),
        (cell_texts, "<td></x>", ""),
        (normalized_table, "<math>", "</math"),
        (page_blocks, "![a](", ""),
        (page_blocks, "| a \n", ""),
        (page_blocks, "|\n \n", ""),
        (normalized_table, "<math ", "</math>"),
        (normalized_table, "<table>", ""),
        (normalized_table, "<colgroup>", "</table>"),
        (page_blocks, r"\(", ""),
        (page_blocks, r"\[ a ", r"\)"),
        (page_blocks, r"$\[\( ", ""),
        (page_blocks, r"\title{", ""),
        (page_blocks, r"\text{", "\n" * 8_000),
        (page_blocks, r"\begin{table}", ""),
        (page_blocks, "|a|\n<table>", "|a|\n"),
        (normalized_text, r"\(", ""),
        (normalized_text, r"\textcircled{ ", " " * 8_000),
        (normalized_formula, r"\(", r"\\)"),
        (normalized_formula, r"\hspace{", "\n}"),
        (is_label, r"\[", ""),
    ],
)
def test_long_pages_do_not_take_long(work, part, after):
    long, short = (seconds(lambda n=n: work(r"<table>\[ " + part * (n // len(part)) + after)) for n in (40_000, 8_000))
    assert short < 0.5
    assert long < 2


def test_equation_numbers_are_dropped_and_what_does_not_end_stays():
    assert without_tags(r"a \tag{1} b \tag*{x{y}} \notag") == "a  b  "
    assert without_tags(r"a \tag{1 \tag{2} b") == "a {1  b"
    assert without_tags(r"{a \tag {\tag{2}} b}}") == "{a  b}}"


def test_texts_of_cells_in_cells_and_of_long_ones():
    table = "<td>a <b>1</b><td> b <i>\n2</i></td>c</td><th></th></x><td>%s</td><td>%s"
    assert cell_texts(table % ("y" * 120, "z" * 200)) == ["a 1 b 2 c", "b 2", "", "y" * 120, "z" * 121]


HTML = (
    "<table> <td> <td> </td> </td> <tr> </th> <th> <b> </b> <br> </div> <div> <td/> <!-- <TD> </script <script>".split()
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([*HTML, '<td class="a>b">', '<td a="1" b="">', "a", " 1\n", "&amp;", "& b", "&lt", ">"]))
)
def test_texts_of_usual_tags_are_those_of_the_parser(parts):
    parser = Texts()
    parser.feed("".join(parts))
    parser.close()
    found = parsed("".join(parts))
    assert (found.cells, "".join(found.text)) == (parser.cells, "".join(parser.text))


@given(st.text("ab\u00e9", min_size=1), st.text("ab \u00e9\U0001f600", min_size=1), st.data())
def test_distances_to_all_stretches_of_a_text(a, b, data):
    start = data.draw(st.integers(0, len(b) - 1))
    lengths = np.arange(1, len(b) - start + 1)
    found = len(a) - lengths + lost_letters(a, b)(start, lengths)
    assert found.tolist() == [Levenshtein.distance(a, b[start : start + length]) for length in lengths]


@settings(deadline=None, max_examples=200)
@given(
    st.text("abcd", min_size=1, max_size=40), st.lists(st.text("abcde", min_size=1, max_size=4), min_size=1), st.data()
)
def test_the_nearest_run_is_the_same_among_many_blocks(written, page, data):
    starts = sorted(data.draw(st.sets(st.sampled_from(range(len(page))), min_size=1)))
    costs = distances([written], page)[0]
    few = nearest_run(written, page, starts, costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "MANY", 0)
        patch.setattr(runs, "SHORT", 0)
        assert nearest_run(written, page, starts, costs) == few


def test_a_run_grows_while_it_is_as_near():
    """Each costs 25 of 38: a distance that, as a share, is no number of the computer."""
    written = "dbabbaddcab\u00e9acccbcddbcdd\u00e9\u00e9a\u00e9bccdcabddd"
    page = ["dx\u00e9dbbxc", "a\u00e9", "xcd", "bcd\u00e9x\u00e9ab", "a", "c"]
    assert nearest_run(written, page, range(6), distances([written], page)[0]).blocks == tuple(range(6))


def test_a_page_of_five_thousand_letters_does_not_take_long():
    """It spells what the reference has."""
    rng = random.Random(0)
    reference = ["".join(rng.choices("etaoinshrdlu", k=600)) for _ in range(3)]
    page = list("".join(reference) * 3)[:5_000]
    assert seconds(lambda: quick_match(reference, page)) < 10
