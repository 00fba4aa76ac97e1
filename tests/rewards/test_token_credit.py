"""The edit distance of a completion as a sum over its tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from helpers.tiny_models import make_page, make_policy
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.token_credit import token_credits
from ocr_rl.types import Completion, Group
from ocr_verifiers import Rubric
from ocr_verifiers.text.normalize import normalize

PLAIN = Rubric()


def completion(pieces, finished=True):
    ids = list(range(len(pieces) + finished))
    return Completion(ids, "".join(pieces), "end" if finished else "length", [0.0] * len(ids))


def credits(reference, *rows, finished=True, rubric=PLAIN):
    """The credit of completions that are given as pieces; a finished one has an end token that adds nothing."""
    group = Group(make_page(0, text=reference), [completion(row, finished) for row in rows])
    return token_credits(group, [[*row, ""] if finished else row for row in rows], reference, rubric)


def test_each_token_answers_for_its_own_edits():
    [wrong, early] = credits("abcd", ["a", "x", "c", "d"], ["a", "b"])
    assert wrong.deltas == [0, -1, 0, 0, 0]
    assert wrong.positions[:2] == [0, 1]
    assert early.deltas == [0, 0, -2]  # the end token leaves two characters out


def test_a_token_of_several_characters_answers_for_all_of_them():
    [found] = credits("abcdef", ["ab", "xyz", "f"])
    assert found.deltas == [0, -3, 0, 0]


def test_a_completion_that_was_cut_off_is_not_charged_for_the_rest():
    [found] = credits("abcdef", ["a", "x"], finished=False)
    assert found.deltas == [0, -1]


def test_white_space_that_is_folded_costs_nothing():
    [found] = credits("a b", ["a", " ", "\n", " ", "b", "\n"])
    assert found.deltas == [0] * 7
    [wrong] = credits("a b", [" ", "a", "  ", "x"])
    assert wrong.deltas == [0, 0, 0, -1, 0]


def test_accents_in_two_code_points_are_one_character():
    [found] = credits("é!", ["e", "\u0301", "!"])
    assert found.deltas == [0, 0, 0, 0]
    [found] = credits("e!", ["e", "\u0301", "!"], rubric=Rubric(unit="grapheme"))
    assert sum(found.deltas) == -1


def test_an_output_format_maps_back_to_its_tokens():
    rubric = Rubric(output="tags")
    [found] = credits("ab", ["<page_number>", "7", "</page_number>", "a", "x"], rubric=rubric)
    assert found.deltas == [0, 0, 0, 0, -1, 0]


PIECES = st.lists(st.text("ab \n", max_size=3), min_size=1, max_size=8)


@given(st.text("ab ", max_size=10), st.lists(PIECES, min_size=1, max_size=3), st.booleans())
def test_deltas_add_up_to_the_edit_distance(text, rows, finished):
    reference = normalize(text, PLAIN.normalization)
    for row, found in zip(rows, credits(reference, *rows, finished=finished), strict=True):
        written = normalize("".join(row), PLAIN.normalization)
        assert all(delta <= 0 for delta in found.deltas)
        assert len(found.deltas) == len(found.positions) == len(row) + finished
        assert -sum(found.deltas) <= Levenshtein.distance(reference, written)
        if finished:
            assert -sum(found.deltas) == Levenshtein.distance(reference, written)


@given(st.text("ab c", min_size=1, max_size=10))
def test_a_perfect_completion_costs_nothing(text):
    reference = normalize(text, PLAIN.normalization)
    [found] = credits(reference, list(reference))
    assert set(found.deltas) == {0}


def test_siblings_and_their_order_change_nothing():
    rows = [["a", "x"], ["abc", "d", "d"], ["", "b"]]
    together = credits("abcd", *rows)
    assert credits("abcd", *reversed(rows)) == together[::-1]
    assert [credits("abcd", row)[0] for row in rows] == together


@pytest.mark.parametrize("text", ["Nr. 17 of\n3rd May", "", "a  b"])
def test_the_pieces_of_a_policy_spell_its_text(text):
    for policy in (Policy.load(ModelConfig(path=str(EMBEDDED["tiny"]))), make_policy()):
        ids = policy.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = [*ids, policy.end_ids[0]]
        assert "".join(policy.pieces(ids)) == policy.text(ids)
        assert policy.pieces(ids)[-1] == ""
