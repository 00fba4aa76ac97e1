"""No page whatsoever makes a check raise, run long, or give varying verdicts.

Bounds are in CPU seconds and generous: a busy machine is no failure, a quadratic algorithm on these pages is.
"""

import unicodedata
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, RecordError, parse_test, run_test
from ocr_verifiers.markup import katex
from ocr_verifiers.markup.katex import installed, render, render_all
from ocr_verifiers.metrics.teds import tables_similarity
from ocr_verifiers.text.normalize import nfc
from ocr_verifiers.unit_tests.olmocr.layout import Layout, matches

MODES = (None, "olmocr")
KB, MB = 1 << 10, 1 << 20


def record(kind, **fields):
    return {"pdf": "a.pdf", "page": 1, "id": "t", "type": kind, **fields}


RECORDS = {
    "present": record("present", text="The quick brown fox jumps over", max_diffs=5),
    "absent": record("absent", text="the lazy dog", max_diffs=2, case_sensitive=False),
    "order": record("order", before="The quick brown fox", after="over the lazy dog", max_diffs=3),
    "baseline": record("baseline", check_disallowed_characters=True),
    "nearly blank": record("baseline", max_length=10**7, max_length_skips_image_alt_tags=True),
    "heading": record("format", format="heading", text="The quick brown", max_diffs=3),
    "italic": record("format", format="italic", text="The quick brown", max_diffs=3),
    "footnote": record("footnote", marker="1", appears_before_marker="the quick fox", appears_after_marker="jumps"),
    "table": record("table", cell="a", up="fox", left="b", top_heading="c", left_heading="dog", max_diffs=1),
    "math": record("math", math="x^2+y_1"),
}


def run(fields, page, compat):
    return run_test(parse_test(fields, "t", compat), page, compat)


def kinds():
    return [name for name in RECORDS if name != "math" or installed()]


# Any text, any record


FRAGMENTS = (
    "a|b|The quick|fox|1|12|3.14| |\n|\n\n|\t|\r|-|---\n|"
    "\x00|\ud800|\udfff|\ufeff|\u200b|\u0301|\u1100|İ|ß|¹²|²|½|漢|😀|𝐀|"
    "<table>|</table>|<tr>|<td>|</td>|<th>|<thead>|"
    "<td rowspan=0>|<td colspan=99999>|<td rowspan='99999'>|<br>|<b>|</b>|<i>|"
    "<body>|<h1>|</h1>|<sup>|</sup>|<sup>1</sup>|<|>|<!--|-->|<![CDATA[|<!|<?|<script>|&|&#|&#1|&#x110000;|&amp;|"
    "![|](|)|[^1]|[^1]:|*|**|***|_|__|`|# |==\n|\\|^1^|---\na: b\n---\n|a: &x [*x]\n|"
    "$|$$|\\(|\\)|\\[|\\]|\\begin{align}|\\end{align}|\\frac{|}{|}|^{|_{|x^2|\\sqrt{|\\left(|\\right)|\\def\\a{|\\a|#1|\\text{|&|\\\\"
).split("|")
FRAGMENTS += ["|", "| a | b |\n|---|---|\n", "|---|\n"]

texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=40).map("".join)
short = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), min_size=1, max_size=4).map("".join)
windows = st.none() | st.integers(0, 50)
records = st.one_of(
    st.builds(
        record,
        st.sampled_from(["present", "absent"]),
        text=short,
        max_diffs=st.integers(0, 9),
        case_sensitive=st.booleans(),
        first_n=windows,
        last_n=windows,
    ),
    st.builds(record, st.just("order"), before=short, after=short, max_diffs=st.integers(0, 4)),
    st.builds(
        record,
        st.just("baseline"),
        max_length=windows,
        max_length_skips_image_alt_tags=st.booleans(),
        max_repeats=st.integers(0, 40),
        check_disallowed_characters=st.booleans(),
    ),
    st.builds(
        record,
        st.just("format"),
        format=st.sampled_from(["heading", "bold", "italic"]),
        text=short,
        max_diffs=st.integers(0, 9),
        case_sensitive=st.booleans(),
    ),
    st.builds(
        record,
        st.just("footnote"),
        marker=short,
        appears_before_marker=st.none() | short,
        appears_after_marker=st.none() | short,
        max_diffs=st.integers(0, 9),
    ),
    st.builds(
        record,
        st.just("table"),
        **dict.fromkeys(["cell", "up", "down", "left", "right", "top_heading", "left_heading"], st.just("") | short),
        max_diffs=st.integers(0, 9),
        ignore_markdown_tables=st.booleans(),
    ),
    *([st.builds(record, st.just("math"), math=short, ignore_dollar_delimited=st.booleans())] if installed() else []),
)


@given(fields=records, text=texts, own=st.booleans(), compat=st.sampled_from(MODES))
@settings(max_examples=500)
def test_any_text_against_any_valid_record_gives_one_verdict_with_its_reason(fields, text, own, compat):
    if own:  # the strings that the record looks for are on the page
        text += "".join(value for value in fields.values() if isinstance(value, str)) + text
    try:
        test = parse_test(fields, "t", compat)
    except RecordError:
        assume(False)
    verdict = run_test(test, PreparedPage(text), compat)
    assert verdict.passed == (verdict.why == "")
    assert run_test(test, PreparedPage(text), compat) == verdict


# Pages that are large or deep


def filled(unit, length):
    return (unit * (length // len(unit) + 1))[:length]


LARGE = {
    "a million pipes": "|" * 10**6,
    "10,000 nested tables": "<table><tr><td>" * 10_000 + "a" + "</td></tr></table>" * 10_000,
    "a megabyte of prose": filled("The quick brown fox jumps over the lazy dog, 12 times. ", MB),
    "a megabyte of one letter": "a" * MB,
}
UNITS = {
    "table rows": "| a | b |\n",
    "tables": "<table><tr><td>a</td><td>b</td></tr></table>",
    "tables that stay open": "<table><tr><td>",
    "cells that hang down": "<table><tr><td rowspan='99999' colspan=99999>a",
    "references": "<table><tr><td>&amp;&#120;",
    "references that are none": "<td>&#",
    "tags that stay open": "<td a='",
    "comments that stay open": "<!--",
    "sections that stay open": "<![CDATA[",
    "scripts that stay open": "<table><script>",
    "stars": "*a **b ",
    "underlines": "_a __b ",
    "headings": "# a\na\n--\n",
    "images that stay open": "![",
    "images without an end": "![](",
    "footnote markers": "a[^1] <sup>1</sup> ¹ $^{1}$ ",
    "footnote markers that stay open": "[^<sup>$^{",
    "prices": "$5 and ",
    "formulas that stay open": "\\(\\[$$\\begin{align}",
    "front matter": "---\na: b\n",
    "anchors": "---\na: &a [*a, *a, *a]\n",
    "NUL": "\x00",
    "lone surrogates": "a\ud800\udc80",
    "combining marks": "\u0301\u0345\u200d",
    "marks in an order that is not Unicode's": "\u0301\u0345",
    "Tibetan vowels of two marks": "\u0f73\u0301",
    "line ends": "\r\n\u2028\x85\x0b",
}
HOSTILE = {
    **{name: filled(unit, 48 * KB) for name, unit in UNITS.items()},
    "an entity bomb": "<!DOCTYPE a ["
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 9}">' for i in range(1, 20))
    + "]><table><tr><td>"
    + "&a19;" * 1000,
    "an alias bomb": "---\na: &a [x]\n" + "".join(f"b{i}: &b{i} [*a, *a]\n" for i in range(40)) + "---\nText",
    "deep front matter": "---\n" + "[" * 1900 + "\n---\nText",
    "a span without a number": "<table><tr><td rowspan=" + " " * 40_000 + ">a",
    "a table's rule that is none": "a|b\n---" + " " * 40_000 + "x|\n",
    "a reference of 5,000 digits": "<table><tr><td rowspan='&#" + "1" * 5000 + ";'>&#" + "1" * 5000 + ";",
    "deep formulas": ("$" + "\\frac{" * 400 + "x" + "}{y}" * 400 + "$ ") * 12,
    "macros that call themselves": "$\\def\\a{\\a\\a}\\a$ " * 2000,
    "macros that grow": "".join(f"$\\def\\a{{{'x' * (400 + i)}}}{chr(92)}a" + "\\a" * 900 + "$ " for i in range(12)),
}


def seconds(kind, text, compat):
    page = PreparedPage(text)
    with CpuClock() as clock:
        run(RECORDS[kind], page, compat)
    return clock.seconds


@pytest.mark.parametrize("name", LARGE)
def test_a_megabyte_is_judged_in_milliseconds_per_kilobyte(name):
    text = LARGE[name]
    for kind, compat in product(kinds(), MODES):
        assert seconds(kind, text, compat) < 1 + 0.01 * len(text) / KB, (kind, compat)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_is_judged_in_milliseconds_per_kilobyte(name):
    text = HOSTILE[name]
    for kind, compat in product(kinds(), MODES):
        base = 4 if kind == "math" else 0.5
        assert seconds(kind, text, compat) < base + 0.01 * len(text) / KB, (kind, compat)


@pytest.mark.parametrize("max_diffs", [0, 2, 4, 9])
@pytest.mark.parametrize("compat", MODES)
def test_order_on_a_page_of_two_letters_is_linear(max_diffs, compat):
    """Nearly everything matches nearly everywhere; olmOCR's own search is exponential here."""
    page = "".join("ab"[bin(i).count("1") & 1] for i in range(16 * KB))
    fields = record("order", before="abbaababbaabbaabba", after="babaabbaabbaababab", max_diffs=max_diffs)
    with CpuClock() as clock:
        run(fields, PreparedPage(page), compat)
    assert clock.seconds < 2


def test_many_small_tables_are_compared_in_bounded_time():
    """Of 3,000 and 3,001 tables the first 300 are compared, the rest are missed: 600 / 6,001 of the cells match."""
    page = "<table><tr><td>a</td></tr></table>" * 3000
    with CpuClock() as clock:
        assert tables_similarity(page, page + "<table><tr><td>b</td></tr></table>") == pytest.approx(600 / 6001)
    assert clock.seconds < 5


# What was found, each by its name


@given(st.text(st.sampled_from("ae\u0301\u0345\u0323\u0344\u0340\u0f73\u0f75\u1100\u1161"), min_size=90, max_size=300))
def test_long_runs_of_marks_have_the_nfc_of_unicodedata(text):
    assert nfc(text) == unicodedata.normalize("NFC", text)


def test_a_character_reference_of_5000_digits_is_the_replacement_character():
    page = PreparedPage(f"<table><tr><td>a&#{'1' * 5000};b &amp; c</td></tr></table>")
    assert run(record("table", cell="a\ufffdb & c"), page, None).passed
    assert "cannot read" in run(record("table", cell="a"), page, "olmocr").why  # Python's parser raises an error


def test_an_image_that_never_closes_is_text_and_one_that_closes_is_not():
    fields = record("baseline", max_length=5, max_length_skips_image_alt_tags=True)
    assert run(fields, PreparedPage("![a long description](page.png) text"), None).passed
    assert not run(fields, PreparedPage("![a long description](page.png text"), None).passed


def test_a_page_whose_macros_expand_too_far_is_compared_in_part():
    """The first ones, the nearest to the test's, until they have expanded to 10,000 tokens together."""
    pytest.importorskip("py_mini_racer")
    formulas = [r"\def\a{xxxxxxxxxx}" + r"\a" * 400 + f"+{i}" for i in range(30)]
    rendered = render_all(formulas, 10_000)
    assert [each.expanded for each in rendered] == [4000] * 3
    assert render_all(formulas, 10_000) == rendered  # they are kept now, and it is the same
    assert "5000 tokens" in render(r"\def\a{" + "x" * 400 + "}" + r"\a" * 900).error


def test_a_formula_is_not_slow_because_the_machine_is_busy(monkeypatch):
    """Two seconds of wall time without CPU time are inconclusive: it is tried again with four, then eight."""
    py_mini_racer = pytest.importorskip("py_mini_racer")
    waited = []

    class Engine:
        def eval(self, call, timeout_sec, max_memory):
            waited.append(timeout_sec)
            if timeout_sec < 8:
                raise py_mini_racer.JSTimeoutException
            return '[{"error": "done", "expanded": 0}]'

    monkeypatch.setattr(katex, "_started", Engine)
    assert katex._run(["a busy machine"], "render")[0]["error"] == "done"
    assert waited == [2, 4, 8]


def test_characters_that_the_other_formula_has_too_few_of_are_seen_without_a_search():
    """12 lone x's do not fit into 11 places, in whatever order they are tried."""

    def lone(count):
        return Layout("", ("x",) * count, ((None, None, None, None),) * count, None)

    with CpuClock() as clock:
        assert not matches(lone(12), lone(11))
        assert matches(lone(11), lone(12))
    assert clock.seconds < 0.1
