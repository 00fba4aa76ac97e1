"""ANLS* by hand, and by anls-star 1.0.1: `python scripts/bench/measures.py anls` compares thousands of values."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers.metrics import anls, json_anls
from ocr_verifiers.metrics.assignment import _narrow as narrow
from ocr_verifiers.metrics.assignment import _wide as wide
from ocr_verifiers.metrics.assignment import cheapest_pairs


def test_texts_are_compared_without_case_and_spaces():
    """One of 5 letters."""
    assert anls("Hello", "HELLA") == pytest.approx(4 / 5)
    assert anls("a  b", "A b ") == 1


def test_a_text_that_is_more_than_half_wrong_is_worth_nothing():
    assert anls("ab", "ax") == 1 / 2
    assert anls("abc", "axx") == 0


def test_numbers_and_booleans_are_texts():
    assert anls(12, "12") == anls(True, "true") == anls([1.5], ["1.5"]) == 1


def test_a_missing_and_an_added_key_cost_a_leaf():
    assert anls({"a": "x", "b": "y"}, {"a": "x"}) == anls({"a": "x"}, {"a": "x", "b": "y"}) == 1 / 2


def test_lists_are_compared_in_any_order():
    """Three pairs, and one added item."""
    assert anls(["a", "b", "c"], ["c", "d", "a", "b"]) == 3 / 4


def test_the_best_alternative_counts():
    assert anls({"total": ("12", "12 EUR")}, {"total": "12 eur"}) == 1


def test_a_list_of_texts_against_a_text_has_alternatives():
    assert anls(["yes", "yeah"], "yeah") == 1
    assert anls([], "yeah") == 0


def test_none_is_nothing():
    assert [anls(None, found) for found in (None, "", [], {}, "x")] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("expected", "found", "message"),
    [
        ((), "a", "tuple is empty"),
        ("a", ("b",), "write a list"),
        ("a", {"b": object()}, "is a object"),
    ],
)
def test_other_values_are_refused(expected, found, message):
    with pytest.raises(ValueError, match=message):
        anls(expected, found)


ORACLE = [  # by anls_score of anls-star 1.0.1
    ({"a": ("hello", "world"), "b": ["this", "is", "a", "test"]}, {"a": "hello!", "b": ["a", "test", "this", "be"]}),
    ({"a": "x"}, {"a": "x", "b": None}),
    ({"a": None}, {}),
    ([{"q": 1, "r": "two"}, {"q": 2}], [{"q": 2}, {"q": 1, "r": "too"}]),
]


@pytest.mark.parametrize(("pair", "value"), zip(ORACLE, (0.76666666666, 0.5, 1.0, 0.88888888888), strict=True))
def test_the_values_are_those_of_anls_star(pair, value):
    assert anls(*pair) == pytest.approx(value, abs=1e-9)


def test_json_is_read_from_a_code_fence_and_other_text_is_a_text():
    assert json_anls('{"a": "x"}', '```json\n{"a": "x"}\n```') == 1
    assert json_anls('{"a": "x"}', "a: x") == json_anls('{"a": "x"}', "[" * 5_000) == 0
    assert json_anls("a: x", '{"a": "x"}') is None


@pytest.mark.parametrize("completion", ["Total 12.50", '"Total 12.50"', "```\nAnna\n```", "1999", "null", ""])
def test_an_array_has_no_alternatives(completion):
    assert json_anls('["Total 12.50", "Anna", "1999"]', completion) == 0


def test_a_part_of_an_array_is_a_part():
    assert json_anls('["Total 12.50", "Anna", "1999"]', '["Total 12.50"]') == 1 / 3


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 99) | st.text("ab ", max_size=4),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.sampled_from("abc"), values, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=200)
@given(VALUES, VALUES)
def test_a_value_is_like_itself_and_any_two_have_a_similarity(expected, found):
    assert 0 <= anls(expected, found) <= 1
    assert anls(expected, expected) == 1
    assert anls((found, expected), expected) == 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_cheapest_pairs_are_the_cheapest(costs):
    costs = np.array(costs, dtype=float)
    rows = range(len(costs))
    best = min(
        sum(costs[row, column] for row, column in zip(rows, chosen, strict=True))
        for chosen in itertools.permutations(range(4), len(costs))
    )
    for pairs in (cheapest_pairs(costs), [(row, column) for column, row in cheapest_pairs(costs.T)]):
        assert len({column for _, column in pairs}) == len({row for row, _ in pairs}) == len(costs)
        assert sum(costs[pair] for pair in pairs) == best


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 7), st.integers(0, 4), st.integers(1, 9), st.randoms(use_true_random=False))
def test_pairs_are_the_same_by_lists_and_by_arrays_also_where_several_are_as_cheap(rows, more, highest, rng):
    costs = np.array([[rng.randint(0, highest) / 9 for _ in range(rows + more)] for _ in range(rows)])
    by_lists = narrow(costs.tolist())
    assert by_lists == wide(costs) == [column for _, column in cheapest_pairs(costs)]


WORDS = st.sampled_from(["a", "ab", "Abc ", "abc", "x  y", 1, 1.0, True, "true", 2.5, "2.5", ""])


@settings(deadline=None, max_examples=200)
@given(st.lists(WORDS, max_size=6), st.lists(WORDS, max_size=6))
def test_lists_of_texts_are_paired_as_lists_of_anything(expected, found):
    """A text in an object of its own is worth the same, and is compared one by one."""
    assert anls(expected, found) == anls([{"k": item} for item in expected], [{"k": item} for item in found])


def test_a_long_list_costs_seconds():
    """The first 500 of 1,000 items are paired, and 1,000 are missing or added; but equal lists are equal."""
    items = [f"item {number * 7919 % 1000}" for number in range(1_000)]
    with CpuClock() as clock:
        assert anls({"a": items}, {"b": 1, "a": items}) == 500 / 1_501
    assert anls({"a": items}, {"a": items}) == 1
    assert clock.seconds < 10
