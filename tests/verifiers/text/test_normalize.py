"""Text normalisations: which differences between two texts are ignored."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import NORMALIZATIONS, graphemes, normalize
from ocr_verifiers.text.normalize import markdown, quotes, strict, whitespace


def test_nfc_composes_a_letter_and_its_accent():
    assert normalize("caf\u0065\u0301", ["nfc"]) == "caf\u00e9"


def test_whitespace_collapses_runs_and_strips_the_ends():
    assert whitespace(" a\t b\r\n\nc\u00a0") == "a b c"


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("‘a’ ‚b‛", "'a' 'b'"),
        ("“a” „b‟", '"a" "b"'),
        ("1914–18 — co‑op −5", "1914-18 - co-op -5"),
        ("＿", "_"),
        ("\u00b5m", "\u03bcm"),
    ],
)
def test_quotes_folds_typographic_quotes_dashes_and_look_alikes(written, folded):
    assert quotes(written) == folded


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("**bold** and *italic*", "bold and italic"),
        ("__bold__ and _italic_", "bold and italic"),
        ("***both***", "both"),
        ("**bold with *italic* inside**", "bold with italic inside"),
        ("**N**ame, post**script**", "Name, postscript"),
        ("<b>bold</b> <I>italic</I> <strong>b</strong> <em>i</em>", "bold italic b i"),
        ("(*see* _there_.)", "(see there.)"),
    ],
)
def test_markdown_drops_emphasis(written, plain):
    assert markdown(written) == plain


@pytest.mark.parametrize(
    "text",
    [
        "snake_case_name",
        "2*3*4",
        "a*b*c",
        "x*y*(z)",
        "2 * 3 * 4",
        "* a list\n* of stars",
        "Name: ____ Date: ____",
        "one * here\nand one* there",
        "*over\ntwo lines*",
        "** not closed",
        "# Heading",
        "<body>",
    ],
)
def test_hole_closed_markdown_leaves_text_that_only_looks_like_emphasis(text):
    assert markdown(text) == text


def test_markdown_is_peeled_three_levels_deep():
    assert markdown("*_*a*_*") == "a"


@pytest.mark.parametrize("tag", ["<br>", "<br/>", "<br />", "<BR>", "<Br  />"])
def test_hole_closed_every_spelling_of_a_line_break_tag_is_a_space(tag):
    assert strict(f"one{tag}two") == "one two"


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("the AT&amp;T Company", "the AT&T Company"),
        ("p &lt; 0.05 &#38; q", "p < 0.05 & q"),
        ("R&D &notaname; &amp", "R&D &notaname; &amp"),
        ("&lt;b&gt;bold&lt;/b&gt;", "<b>bold</b>"),
        (r"snake\_case and 5 \* 3", "snake_case and 5 * 3"),
        (r"\*not emphasis\*", "*not emphasis*"),
        (r"C:\temp", r"C:\temp"),
        ("the <u>Act</u> of <s>1900</s> <mark>1901</mark>", "the Act of 1900 1901"),
        ("H<sub>2</sub>O, 10<sup>-5</sup>", "H₂O, 10⁻⁵"),
        ("the 19<sup>th</sup>", "the 19th"),
        ("Po\u00ad\nlitik, Zu\u00adcker", "Politik, Zucker"),
        ("Po&shy;litik", "Politik"),
    ],
)
def test_strict_reads_entities_escapes_inline_tags_and_soft_hyphens(written, plain):
    assert strict(written) == plain


@pytest.mark.parametrize(
    ("name", "written", "plain"),
    [
        ("ligatures", "ﬁnd the ﬂoor, ﬅ x²", "find the floor, st x²"),
        ("width", "ＡＢＣ１　ｶﾅ ￥", "ABC1 カナ ¥"),
        ("nfkc", "ﬁ Ａ x² ſ", "fi A x2 s"),
        ("dehyphenate", "tran-\nscribe, 1914-\n18, co⸗\n  op", "transcribe, 1914-\n18, coop"),
        ("escapes", r"a\_b &amp; c", "a_b & c"),
    ],
)
def test_named_folds(name, written, plain):
    assert normalize(written, [name]) == plain


def test_strict_applies_all_of_them():
    assert strict("  **“Cafe\u0301”**<br>1914—18\n") == '"Café" 1914-18'


def test_normalisations_apply_in_the_order_given():
    """Markdown first keeps emphasis within a line; whitespace first makes one line of two."""
    assert normalize("*a\nb*", ["markdown", "whitespace"]) == "*a b*"
    assert normalize("*a\nb*", ["whitespace", "markdown"]) == "a b"


def test_an_unknown_normalisation_names_its_nearest_neighbour():
    with pytest.raises(ValueError, match='unknown normalization "whitespaces"; did you mean "whitespace"'):
        normalize("a", ["whitespaces"])


def test_an_unknown_normalisation_with_no_neighbour_lists_what_is_known():
    with pytest.raises(ValueError, match="known: breaks, dehyphenate, escapes, invisible, ligatures, "):
        normalize("a", ["xyz"])


def test_graphemes_are_what_a_reader_calls_characters():
    """A letter and its vowel sign, a letter and its accent, three people and two joiners."""
    assert graphemes("ಕಿe\u0301👨‍👩‍👧") == ["ಕಿ", "e\u0301", "👨‍👩‍👧"]


@settings(deadline=None)
@given(st.text())
def test_graphemes_joined_spell_the_text(text):
    assert "".join(graphemes(text)) == text


@settings(deadline=None)
@given(st.text())
@pytest.mark.parametrize("name", ["nfc", "whitespace", "quotes", "breaks"])
def test_normalising_twice_is_normalising_once(name, text):
    once = NORMALIZATIONS[name](text)
    assert NORMALIZATIONS[name](once) == once


@settings(deadline=None)
@given(st.text(alphabet="*_ab \n"))
def test_markdown_takes_out_markers_and_nothing_else(text):
    def without_markers(s):
        return [c for c in s if c not in "*_"]

    assert without_markers(markdown(text)) == without_markers(text)


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("R&amp;D, caf&eacute;, &lt;5, &#39;", "R&D, café, <5, '"),
        ("&quot;no&quot;&nbsp;&mdash; &frac12;", '"no" - ½'),
        ("1\\. snake\\_case \\[1\\] 5 \\* 3 50\\% \\#1", "1. snake_case [1] 5 * 3 50% #1"),
        ("C:\\\\dir", "C:\\dir"),
        ("a\\-b \\~5 \\> 3 \\$5", "a-b ~5 > 3 $5"),
        ("&unknown; AT&T; &amp 5 & 3", "&unknown; AT&T; &amp 5 & 3"),
        ("co\u00ad\noperate, soft\u00adly", "cooperate, softly"),
        ("<a href='x'>a</a> <code>b</code> <kbd>c</kbd> <strike>d</strike> e<wbr>f", "a b c d ef"),
        ('<span title="5 < 6 > 4">a</span>', "a"),
        ("<u>Act</u> <ins>b</ins> <mark class=y>c</mark>", "Act b c"),
        ("~~old~~ new, `code()`", "old new, code()"),
        ("``quoted'' and `quoted'", "``quoted'' and `quoted'"),
        ("~5 and ~6, a ~~ b ~~ c", "~5 and ~6, a ~~ b ~~ c"),
        ("H<sub>2</sub>O, 19<sup>th</sup>, x<sup>2</sup>", "H₂O, 19th, x²"),
    ],
)
def test_unit_tests_see_what_a_reader_sees(written, seen):
    assert strict(written) == seen
