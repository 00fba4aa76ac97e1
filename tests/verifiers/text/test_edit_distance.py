"""Edit counts, and the rates computed from them."""

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import EditCounts, alignment, char_edits, pool, word_edits

TEXT = st.text(alphabet="ab ಕಿe\u0301\n", max_size=30)


def test_kitten_becomes_sitting_by_two_substitutions_and_one_insertion():
    """k->s, e->i, +g: distance 3; CER 3/6; similarity 1 - 3/7 = 4/7."""
    edits = char_edits("kitten", "sitting")
    assert edits == EditCounts(hits=4, substitutions=2, deletions=0, insertions=1)
    assert edits.distance == 3
    assert edits.error_rate == 3 / 6
    assert edits.similarity == 4 / 7


def test_words_are_what_white_space_separates():
    """one two three -> one too three four: 1 substitution, 1 insertion; WER 2/3."""
    edits = word_edits("one two\nthree", "one  too three four")
    assert edits == EditCounts(hits=2, substitutions=1, deletions=0, insertions=1)
    assert edits.error_rate == 2 / 3


def test_an_error_rate_can_exceed_one():
    assert char_edits("a", "bcd").error_rate == 3.0


def test_an_empty_reference_scores_zero_only_against_an_empty_completion():
    assert char_edits("", "").error_rate == 0.0
    assert char_edits("", "abc").error_rate == 3.0


def test_two_empty_texts_are_alike_and_one_empty_text_is_not():
    assert char_edits("", "").similarity == 1.0
    assert char_edits("", "a").similarity == 0.0
    assert char_edits("a", "").similarity == 0.0


def test_a_wrong_vowel_sign_is_one_code_point_of_two_and_one_grapheme_of_one():
    assert char_edits("ಕಿ", "ಕೀ").error_rate == 1 / 2
    assert char_edits("ಕಿ", "ಕೀ", unit="grapheme").error_rate == 1 / 1


def test_an_unknown_unit_names_its_nearest_neighbour():
    with pytest.raises(ValueError, match='unknown unit "graphemes"; did you mean "grapheme"'):
        char_edits("a", "a", unit="graphemes")  # type: ignore[arg-type]


def test_a_corpus_rate_pools_counts_and_is_no_mean_of_pages():
    """A page of 1 character with 1 error and one of 9 without: 1/10, where a mean of rates says 1/2."""
    counts = [char_edits("a", "b"), char_edits("abcdefghi", "abcdefghi")]
    assert pool(counts).error_rate == 1 / 10


def test_pooling_nothing_gives_no_counts():
    assert pool([]) == EditCounts()


def test_an_alignment_says_what_stands_where():
    assert alignment("kitten", "sitting") == [
        ("replace", "k", "s"),
        ("equal", "itt", "itt"),
        ("replace", "e", "i"),
        ("equal", "n", "n"),
        ("insert", "", "g"),
    ]
    assert alignment("ab", "a") == [("equal", "a", "a"), ("delete", "b", "")]


@settings(deadline=None)
@given(TEXT, TEXT)
def test_the_spans_of_an_alignment_spell_both_texts(reference, completion):
    for unit in ("codepoint", "grapheme"):
        spans = alignment(reference, completion, unit)
        assert "".join(span.reference for span in spans) == reference
        assert "".join(span.completion for span in spans) == completion
        assert all((span.op == "equal") == (span.reference == span.completion) for span in spans)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_counts_add_up_to_both_lengths(reference, completion):
    edits = char_edits(reference, completion)
    assert edits.reference_length == len(reference)
    assert edits.completion_length == len(completion)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_similarity_is_in_zero_to_one_and_is_one_only_for_equal_texts(reference, completion):
    for unit in ("codepoint", "grapheme"):
        similarity = char_edits(reference, completion, unit).similarity
        assert 0.0 <= similarity <= 1.0
        assert (similarity == 1.0) == (reference == completion)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_an_error_rate_is_never_negative_and_is_zero_only_for_equal_texts(reference, completion):
    rate = char_edits(reference, completion).error_rate
    assert rate >= 0.0
    assert (rate == 0.0) == (reference == completion)


@settings(deadline=None)
@given(TEXT, TEXT)
def test_distance_and_similarity_are_symmetric(one, other):
    there, back = char_edits(one, other), char_edits(other, one)
    assert there.distance == back.distance
    assert there.similarity == back.similarity


@settings(deadline=None)
@given(TEXT, TEXT, TEXT)
def test_the_distance_obeys_the_triangle_inequality(a, b, c):
    assert char_edits(a, c).distance <= char_edits(a, b).distance + char_edits(b, c).distance


@settings(deadline=None)
@given(TEXT.filter(str.strip), TEXT)
def test_rates_equal_those_of_jiwer(reference, completion):
    reference, completion = " ".join(reference.split()), " ".join(completion.split())
    assert char_edits(reference, completion).error_rate == pytest.approx(jiwer.cer(reference, completion))
    assert word_edits(reference, completion).error_rate == pytest.approx(jiwer.wer(reference, completion))
