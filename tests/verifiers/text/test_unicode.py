"""What Unicode does to scores: composed and decomposed letters, old letters, right to left, invisible characters.

The real rows are read where they are: `OCR_RL_REAL_DATA` names their folder, `../shared/data/real` by default.
"""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers import PreparedPage, Rubric, char_edits, graphemes, normalize, parse_test, read_jsonl, run_test
from ocr_verifiers.metrics import diff_ratio, reading_order

ARABIC = "السلام عليكم ورحمة الله"


@pytest.fixture(scope="module")
def real_texts(real_data):
    """The true texts by their source."""
    texts = {}
    for _, row in read_jsonl(real_data / "metadata.jsonl"):
        texts.setdefault(row["source"], []).append(row["text"])
    return texts


def present(page, text, **fields):
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": text, **fields}
    return run_test(parse_test(record, "t"), PreparedPage(page)).passed


@pytest.mark.parametrize("source", ["kannada-words", "gt4histcomment", "archiscribe", "ehri-cs", "gallicorpora18"])
def test_decomposed_letters_are_the_composed_ones(real_texts, source):
    """Polytonic Greek, Czech and French decompose; Kannada's vowel signs do in part."""
    changed = 0
    for text in real_texts[source]:
        decomposed = unicodedata.normalize("NFD", text)
        changed += decomposed != text
        assert Rubric().score(decomposed, reference=text).reward == 1.0
        assert present(decomposed, text)
    assert changed >= 3, "else this test says nothing"


def test_kannada_and_greek_graphemes_are_fewer_than_code_points_and_spell_the_text(real_texts):
    fewer = 0
    for text in real_texts["kannada-words"]:
        clusters = graphemes(text)
        assert "".join(clusters) == text
        fewer += len(clusters) < len(text)
    assert fewer > 90, "nearly every one of the 100 words has a vowel sign or a conjunct"
    greek = max(real_texts["gt4histcomment"], key=lambda text: sum("\u1f00" <= c <= "\u1fff" for c in text))
    assert len(graphemes(unicodedata.normalize("NFD", greek))) == len(graphemes(greek))


def test_a_wrong_vowel_sign_is_one_grapheme_and_one_code_point():
    """ಕಿ for ಕು: one of two graphemes, one of four code points."""
    assert char_edits("ಕಿನಿ", "ಕುನಿ").error_rate == 1 / 4
    assert char_edits("ಕಿನಿ", "ಕುನಿ", unit="grapheme").error_rate == 1 / 2


def test_the_long_s_is_its_own_letter_unless_it_is_folded_by_name(real_texts):
    texts = [text for text in real_texts["archiscribe"] if "ſ" in text]
    assert len(texts) > 100
    folding = Rubric(normalization=("nfc", "whitespace", "long_s"))
    for text in texts:
        modern = text.replace("ſ", "s")
        assert char_edits(text, modern).distance == text.count("ſ")
        assert Rubric().score(modern, reference=text).reward < 1.0
        assert folding.score(modern, reference=text).reward == 1.0
        assert not present(modern, text)


def test_the_accents_of_polytonic_greek_count():
    assert not present("Αντιγονη", "Ἀντιγόνη")
    assert present("Ἀντιγόνη", "Ἀντιγόνη")
    assert char_edits("Ἀντιγόνη", "Αντιγόνη").distance == 1


def test_right_to_left_text_is_compared_in_reading_order():
    """Strings are in reading order; a page written backwards, in visual order, is wrong."""
    assert present(ARABIC, ARABIC)
    assert not present(ARABIC[::-1], ARABIC, max_diffs=3)
    assert reading_order(f"{ARABIC}\n\nاثنان", f"{ARABIC}\n\nاثنان") == 1.0


@pytest.mark.parametrize("control", ["\u200e", "\u200f", "\u202a", "\u202e", "\u202c", "\u2066", "\u2069", "\u061c"])
def test_bidi_controls_do_not_count_in_tests(control):
    page = control.join(ARABIC)
    assert present(page, ARABIC)
    assert normalize(page, ["invisible"]) == ARABIC
    assert char_edits(ARABIC, page).distance == len(ARABIC) - 1, "but as edits, unless they are dropped by name"


@pytest.mark.parametrize(
    "character", ["\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\u00ad", "\ufe0f", "\U000e0041"]
)
def test_hole_closed_invisible_characters_do_not_break_a_text(character):
    """They are invisible, and would hide a page header from its `absent` test."""
    assert present(f"Pa{character}ge 3", "Page 3")
    assert present("Page 3", f"Page{character} 3")
    assert normalize(f"a{character}b", ["invisible"]) == "ab"


def test_what_prints_is_not_invisible():
    for text in ("a b", "a\u00a0b", "e\u0301", "ಕ್ಷ", "\ufffd", "\u2003", "नि"):
        assert normalize(text, ["invisible"]) == text


@given(st.text())
def test_dropping_invisible_characters_twice_is_dropping_them_once(text):
    once = normalize(text, ["invisible"])
    assert normalize(once, ["invisible"]) == once
    assert diff_ratio(once, text) > 0 or not once
