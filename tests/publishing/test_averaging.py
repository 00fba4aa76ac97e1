"""Averages of weights, and the greedy choice of Wortsman et al. 2022, Recipe 1."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.publishing.averaging import add_share, greedy_choice


def test_shares_are_added_by_name_and_integers_stay():
    """.5 * 2 + .25 * 4 + .25 * 8 = 4; .5 * -1 + .25 * 1 + .25 * 3 = .5"""
    total = {}
    for value, share in (([2.0, -1.0], 0.5), ([4.0, 1.0], 0.25), ([8.0, 3.0], 0.25)):
        total = add_share(total, {"w": torch.tensor(value), "n": torch.tensor([7])}, share)
    assert total["w"].tolist() == [4.0, 0.5]
    assert total["n"].tolist() == [7]


def test_a_share_does_not_change_the_weights_it_comes_from():
    weights = {"w": torch.tensor([2.0])}
    add_share(add_share({}, weights, 0.5), weights, 0.5)
    assert weights["w"].item() == 2.0


def table(values):
    """The held-out value of an average, from a table; which averages were asked for."""
    asked = []

    def value_with(chosen):
        asked.append(tuple(chosen))
        return values[frozenset(chosen)]

    return value_with, asked


def test_ingredients_are_tried_from_the_best_and_kept_unless_the_average_gets_worse():
    """Alone .7, .9, .8, .6. 1 + 2 is .95: kept; 1 + 2 + 0 is .94: not; 1 + 2 + 3 is .95, not worse: kept."""
    value_with, asked = table(
        {frozenset({1, 2}): 0.95, frozenset({0, 1, 2}): 0.94, frozenset({1, 2, 3}): 0.95},
    )
    assert greedy_choice([0.7, 0.9, 0.8, 0.6], value_with, 1) == [1, 2, 3]
    assert asked == [(1, 2), (1, 2, 0), (1, 2, 3)]


def test_an_error_rate_is_better_when_lower():
    value_with, asked = table({frozenset({0, 2}): 0.25, frozenset({0, 1}): 0.15})
    assert greedy_choice([0.2, 0.4, 0.3], value_with, -1) == [0, 1]
    assert asked == [(0, 2), (0, 1)]


def test_equal_ingredients_are_tried_in_their_order():
    value_with, asked = table({frozenset({0, 1}): 0.5, frozenset({0, 1, 2}): 0.5})
    assert greedy_choice([0.5, 0.5, 0.5], value_with, 1) == [0, 1, 2]
    assert asked == [(0, 1), (0, 1, 2)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_a_greedy_soup_is_never_worse_on_the_pages_that_chose_it_than_its_best_ingredient(values, random):
    seen = {}

    def value_with(chosen):
        return seen.setdefault(frozenset(chosen), random.random())

    kept = greedy_choice(values, value_with, 1)
    assert kept[0] == values.index(max(values))
    assert len(set(kept)) == len(kept)
    assert (seen[frozenset(kept)] if len(kept) > 1 else values[kept[0]]) >= max(values)
