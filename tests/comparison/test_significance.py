"""Systems with several seeds: rates and differences over seeds and pages."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.scored_pages import page, results
from ocr_rl.comparison.significance import COMPARED, differences, holm, most_different_pages, summary
from ocr_rl.evaluation.paired import paired_differences
from ocr_rl.evaluation.rates import RATES
from ocr_rl.evaluation.summary import summarize


def run(*edits, length=10):
    """Pages p0, p1, ... of `length` characters, with so many of them wrong."""
    return results(*((page(f"p{i}", "a" * length), "z" * n + "a" * (length - n)) for i, n in enumerate(edits)))


def test_a_rate_pools_all_seeds():
    """(1 + 0 + 2 + 5) edits of 4 x 10 characters."""
    assert summary([run(1, 0), run(2, 5)])["cer"] == pytest.approx(8 / 40)


def test_of_one_seed_everything_is_as_in_an_evaluation():
    ours, theirs = summary([run(1, 4, 2, 0)]), summarize(run(1, 4, 2, 0))
    assert {key: ours[key] for key in theirs} == theirs


def test_two_systems_of_one_seed_differ_as_in_a_comparison():
    these, those = run(1, 4, 2, 0, 3), run(2, 4, 5, 1, 0)
    ours, theirs = differences([these], [those]), paired_differences(these, those, "old")["metrics"]
    for name in ("cer", "exact", "reward"):
        assert ours[name]["p"] == theirs[name]["p"]
        assert ours[name]["difference"] == pytest.approx(theirs[name]["difference"])
        assert ours[name]["difference_ci"] == pytest.approx(theirs[name]["difference_ci"])
    assert ours["pass_rate"] is None
    assert tuple(ours) == COMPARED
    assert set(COMPARED) <= set(RATES)


def test_seeds_that_disagree_make_the_interval_wider_than_pages_do():
    """Every page has 2 wrong characters with one seed and 6 with the other: pages alone would say .4 exactly.

    Of two seeds drawn twice, a quarter of the draws is .2 and a quarter .6.
    """
    assert summary([run(*[2] * 9), run(*[6] * 9)])["cer_ci"] == pytest.approx([0.2, 0.6])
    assert summary([run(*[4] * 9), run(*[4] * 9)])["cer_ci"] == pytest.approx([0.4, 0.4])


def test_a_difference_is_of_means_over_seeds_and_a_better_system_on_all_pages_is_certain():
    """.3 on average against .5, on each of eight pages: seen in 2 of 256 swaps."""
    found = differences([run(*[2] * 8), run(*[4] * 8)], [run(*[5] * 8)])["cer"]
    assert found["difference"] == pytest.approx(-0.2)
    assert found["difference_ci"] == pytest.approx([-0.3, -0.1])
    assert found["p"] == pytest.approx(2 / 256, abs=0.003)


def test_holm_by_hand():
    """Smallest first: 3 x .01, then 2 x .03, and .04 may not be less than that."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_corrected_p_is_no_smaller_keeps_the_order_and_is_at_most_bonferronis(ps):
    corrected = holm(ps)
    assert all(p <= q <= min(1.0, len(ps) * p) + 1e-12 for p, q in zip(ps, corrected, strict=True))
    by_size = sorted(range(len(ps)), key=lambda i: ps[i])
    assert all(corrected[a] <= corrected[b] for a, b in pairwise(by_size))


def test_the_pages_on_which_two_systems_differ_most_the_better_one_first():
    """Page p1: a has 0 and 2 errors with its two seeds, b 9, c 5. Page p0: b is the best. Page p2: all alike."""
    systems = {"a": [run(4, 0, 3), run(4, 2, 3)], "b": [run(1, 9, 3)], "c": [run(3, 5, 3)]}
    first, second = most_different_pages(systems, 5)
    assert (first["id"], first["recipes"]) == ("p1", ["a", "b"])
    assert first["rewards"] == pytest.approx([0.9, 0.1])
    assert first["texts"] == ["a" * 10, "z" * 9 + "a"]
    assert first["reference"] == "a" * 10
    assert (second["id"], second["recipes"]) == ("p0", ["b", "a"])
    assert most_different_pages(systems, 1) == [first]
    assert most_different_pages({"a": systems["a"]}, 5) == []
