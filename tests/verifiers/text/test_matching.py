"""Which characters of a text another one confirms, by worked examples and properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers.text.edit_distance import char_edits
from ocr_verifiers.text.matching import matching, matching_all
from ocr_verifiers.text.normalize import nfc, whitespace

texts = st.text("ab \n", max_size=10)


def shown(text, other):
    """The characters that are not confirmed as x."""
    return "".join(c if right else "x" for c, right in zip(text, matching(text, other), strict=True))


@pytest.mark.parametrize(
    ("text", "other", "expected"),
    [
        ("house", "house", "house"),
        ("hovse", "house", "hoxse"),  # wrong
        ("housxe", "house", "housxe"),  # added
        ("huse", "house", "xuse"),  # missing: the character before
        ("ouse", "house", "xuse"),  # nothing is before it
        ("hous", "house", "houx"),
        ("a dog", "a big dog", "a xog"),  # a whole word: after the space
        ("a dog", "a dogs", "a dox"),
        ("cat dog", "cats dog", "cax dog"),
        ("catdog", "cat dog", "caxdog"),
        ("cat\ndog", "cat  dog", "cat\ndog"),  # white space is collapsed
        ("e\u0301a", "éa", "e\u0301a"),  # NFC
        ("e\u0301a", "ea", "xxa"),
        ("", "house", ""),
    ],
)
def test_worked_examples(text, other, expected):
    assert shown(text, other) == expected


@given(texts, texts)
def test_all_characters_are_confirmed_if_and_only_if_there_is_no_edit(text, other):
    a, b = whitespace(nfc(text)), whitespace(nfc(other))
    if a:
        assert all(matching(text, other)) == (a == b)


@given(texts, texts)
def test_no_more_characters_are_unconfirmed_than_there_are_edits(text, other):
    """A space that is not collapsed has characters of its own, so collapsed texts are counted."""
    a, b = whitespace(nfc(text)), whitespace(nfc(other))
    assert matching(a, b).count(False) <= char_edits(a, b).distance


@given(texts, st.lists(texts, max_size=4))
def test_several_texts_are_compared_one_by_one(text, others):
    assert matching_all(text, others) == [matching(text, other) for other in others]
