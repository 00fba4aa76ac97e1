"""compat="olmocr": the rules of olmOCR's checks, and their quirks, each with a test named after it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, RecordError, parse_test, run_test
from ocr_verifiers.text.olmocr import normalize


def verdict(page, compat="olmocr", **record):
    test = parse_test({"pdf": "a.pdf", "page": 1, "id": "t", **record}, "t", compat)
    return run_test(test, PreparedPage(page), compat)


def passes(page, **record):
    return verdict(page, **record).passed


# normalisation


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("a<br>b<br/>c", "a b c"),
        ("**bold** __bold__ *it* _it_ <b>b</b> <i>i</i>", "bold bold it it b i"),
        ("one \n\t two\u00a0three", "one two three"),
        ("cafe\u0301", "café"),
        ("‘a’ ‚b “c” „d ＿ – — ‑ ‒ −", "'a' 'b \"c\" \"d _ - - - - -"),
        ("\u00b5m", "\u03bcm"),
    ],
)
def test_pages_and_texts_are_normalised(text, normalized):
    assert normalize(text) == normalized


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("snake_case_name", "snakecasename"),
        ("2*3*4", "234"),
        ("a<br />b<BR>c", "a<br />b<BR>c"),
        ("<strong>a</strong> <em>b</em>", "<strong>a</strong> <em>b</em>"),
        ("*not\nthis*", "*not this*"),
        ("\n", " "),
        (" a\n", " a "),
        ("</<b>b>", "</b>"),
    ],
)
def test_olmocr_quirk_normalisation(text, normalized):
    assert normalize(text) == normalized


# present, absent


def test_the_score_is_a_partial_ratio_against_one_minus_max_diffs_over_length():
    """`Paqe 3 of 10` is one letter of twelve off: 2 * 11 / 24 = 1 - 1/12, above 1 - 2/12."""
    assert not passes("x Paqe 3 of 10 y", type="present", text="Page 3 of 10")
    assert passes("x Paqe 3 of 10 y", type="present", text="Page 3 of 10", max_diffs=2)
    assert not passes("x Paqe 3 of 10 y", type="absent", text="Page 3 of 10", max_diffs=2)


def test_olmocr_quirk_a_score_that_equals_the_threshold_may_be_rounded_under_it():
    """In floating point 2 * 11 / 24 comes out smaller than 1 - 1/12."""
    assert not passes("x Paqe 3 of 10 y", type="present", text="Page 3 of 10", max_diffs=1)


@pytest.mark.parametrize("page", ["\n", "h"])
def test_olmocr_quirk_a_page_shorter_than_the_text_is_searched_in_the_text(page):
    assert passes(page, type="present", text="hello world foo bar")
    assert not passes(page, type="absent", text="hello world foo bar")
    assert passes("hello and good bye", type="present", text="hello world foo bar", first_n=5)


def test_an_empty_page_has_no_text():
    assert not passes("", type="present", text="hello")


def test_olmocr_quirk_max_diffs_of_the_whole_text_matches_anything():
    assert passes("quite another", type="present", text="Page 3", max_diffs=6)
    assert not passes("quite another", type="absent", text="Page 3", max_diffs=6)


def test_olmocr_quirk_the_first_and_last_characters_are_joined():
    assert passes("a long page b", type="present", text="ab", first_n=1, last_n=1)
    assert passes("a long page b", type="present", text="long", first_n=0)


# order


def test_order_compares_the_first_before_with_the_last_after():
    assert passes("b a b", type="order", before="a", after="b")
    assert not passes("one two", type="order", before="two", after="one")
    assert verdict("one", type="order", before="one", after="three").why == 'after: "three" not found within 0 edits'


def test_olmocr_quirk_the_greedy_search_misses_a_match_that_starts_with_an_unknown_letter():
    """`?bcde` is one edit from `abcde`, but a candidate must start at an a or b of the page; b is one edit as well."""
    assert passes("?bcde fghij", type="order", before="abcde", after="fghij", max_diffs=1)
    assert not passes("??cde fghij", type="order", before="abcde", after="fghij", max_diffs=1)


def test_olmocr_quirk_max_diffs_is_held_against_the_text_that_is_left():
    """`a_b_c_d` is 7 characters, and 4 after olmOCR's normalisation: at most 2 edits; 3 in strict mode."""
    assert passes("abcd abcd", type="order", before="a_b_c_d_", after="a_b_c_d_", max_diffs=2)
    with pytest.raises(RecordError, match="write at most 2"):
        verdict("abcd", type="order", before="a_b_c_d_", after="a_b_c_d_", max_diffs=3)


# baseline


def test_olmocr_quirk_only_loops_of_five_characters_at_the_end_are_seen():
    assert not passes("A page " + "-" * 31, type="baseline")
    assert passes("A page " + "-" * 30, type="baseline")
    assert not passes("A page " + "abcde" * 31, type="baseline")
    assert passes("A sentence, with a comma. " * 400, type="baseline")
    assert passes("-" * 1000 + " and a page", type="baseline")


def test_olmocr_quirk_max_length_is_the_only_check_where_it_is_given():
    assert passes("日" + "-" * 1000, type="baseline", max_length=1)
    assert not passes("abc", type="baseline", max_length=2)
    assert passes("![abc](def.png)", type="baseline", max_length=0, max_length_skips_image_alt_tags=True)
    assert passes("![a] b](c](d)e", type="baseline", max_length=1, max_length_skips_image_alt_tags=True)
    assert not passes("![a\n](b)", type="baseline", max_length=1, max_length_skips_image_alt_tags=True)


def test_olmocr_quirk_characters_are_disallowed_unless_the_test_says_otherwise():
    assert not passes("page 日", type="baseline")
    assert passes("page 日", type="baseline", check_disallowed_characters=False)
    assert passes("page 한글", type="baseline")


# format


def test_headings_bold_and_italics_in_markdown_and_html():
    page = "# One\n**two** __three__ *four* _five_\n<H2 class='x'>six</h2> <b>seven</b> "
    page += "<strong>eight</strong> <em>nine</em>"
    found = {
        name: [
            w
            for w in ("One", "two", "three", "four", "five", "six", "seven", "eight", "nine")
            if passes(page, type="format", text=w, format=name)
        ]
        for name in ("heading", "bold", "italic")
    }
    assert found == {
        "heading": ["One", "six"],
        "bold": ["two", "three", "seven", "eight"],
        "italic": ["four", "five", "nine"],
    }


def test_olmocr_quirk_a_span_that_is_part_of_the_text_will_do():
    assert passes("# A", type="format", text="A very long heading text", format="heading")


def test_olmocr_quirk_body_opens_bold_and_a_heading_may_follow_its_marks():
    assert passes("<body>all of it</b>", type="format", text="all of it", format="bold")
    assert passes("#\n\nall of it", type="format", text="all of it", format="heading")


# footnote


def test_a_marker_is_a_reference_a_superscript_tag_or_superscript_digits():
    for page in ("text[^1] more", "text<sup>1</sup>", "text<SUP class='a'>1</SUP>", "text¹"):
        assert passes(page, type="footnote", marker="1")
    for page in ("[^1]: a note", "text 1", "<sup>12</sup>", "<sup>1"):
        assert not passes(page, type="footnote", marker="1")


def test_contexts_are_compared_by_letters_and_digits():
    test = {"type": "footnote", "marker": "1", "appears_before_marker": "the end", "appears_after_marker": "Next"}
    assert passes("This is T-h-e End.[^1] next one", **test)
    assert not passes("This is another.[^1] next one", **test)


def test_olmocr_quirk_a_longer_superscript_has_the_marker():
    assert passes("text¹²", type="footnote", marker="1")


def test_olmocr_quirk_contexts_may_belong_to_different_occurrences():
    test = {"type": "footnote", "marker": "1", "appears_before_marker": "alpha", "appears_after_marker": "omega"}
    assert passes("alpha[^1] one two three " + "x" * 300 + " four[^1] omega", **test)


# records, and any text at all


def test_olmocr_quirk_records_are_accepted_by_its_own_normalisation():
    """`<em></em>` is empty in strict mode, and nine characters for olmOCR; `****` the other way round."""
    assert passes("<em></em>", type="present", text="<em></em>")
    with pytest.raises(RecordError, match="nothing is left"):
        verdict("x", compat=None, type="present", text="<em></em>")
    with pytest.raises(RecordError, match="nothing is left"):
        verdict("x", type="present", text="****")


TESTS = [
    {"type": "present", "text": "hello world foo", "max_diffs": 3},
    {"type": "absent", "text": "*", "last_n": 5},
    {"type": "order", "before": "hello world foo", "after": "a<b", "max_diffs": 1},
    {"type": "baseline"},
    {"type": "baseline", "max_length": 3, "max_length_skips_image_alt_tags": True},
    {"type": "format", "text": "hello", "format": "heading"},
    {"type": "format", "text": "hello", "format": "bold", "max_diffs": 1},
    {"type": "format", "text": "hello", "format": "italic", "case_sensitive": False},
    {"type": "footnote", "marker": "1", "appears_before_marker": "hello world", "appears_after_marker": "..."},
]


@settings(deadline=None)
@given(st.one_of(st.text(st.characters()), st.text(alphabet="ab*_#<>/[]^:1 \n¹\0\ud800")), st.sampled_from(TESTS))
def test_any_text_gets_the_same_verdict_twice(page, test):
    first = verdict(page, **test)
    assert first == verdict(page, **test)
    assert first.passed == (not first.why)


@pytest.mark.parametrize(
    "piece", ["**", "*a", "_", "# \n", "<b>", "<sup", "<sup>", "<h1>", "[^1]", "![", "|", "\0", "a"]
)
def test_many_kilobytes_of_anything_take_a_few_milliseconds_each(piece):
    page = PreparedPage((piece * 2**17)[: 2**17])
    with CpuClock() as clock:
        for test in TESTS:
            run_test(parse_test({"pdf": "a.pdf", "page": 1, "id": "t", **test}, "t", "olmocr"), page, "olmocr")
    assert clock.seconds < 128 * 0.02  # of nine tests together
