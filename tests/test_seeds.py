"""Derived seeds: the same for the same parts, different for all others, and within what generators take."""

from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.seeds import derive

parts = st.lists(st.integers(-(2**70), 2**70) | st.text(), min_size=1, max_size=4)


@given(st.integers(), parts)
def test_a_seed_is_a_function_of_its_parts_that_every_generator_takes(seed, what):
    derived = derive(seed, *what)
    assert derived == derive(seed, *what)
    assert 0 <= derived < 2**63
    Random(derived)
    torch.Generator().manual_seed(derived)


def test_where_one_part_ends_and_the_next_begins_matters():
    assert len({derive(0, "a", 12), derive(0, "a1", 2), derive(0, "a", "12"), derive(0, "a", 1, 2)}) == 4


def test_neighbouring_runs_steps_draws_and_processes_never_meet():
    """3 seeds x 2,000 steps x 4 draws x 8 processes in 32 bits: a few chance collisions at most, no system in them."""
    seeds = [
        derive(seed, "step", step, "draw", draw, "process", rank)
        for seed in range(3)
        for step in range(2000)
        for draw in range(4)
        for rank in range(8)
    ]
    assert len(set(seeds)) == len(seeds) == 192_000
    lower = {seed & 0xFFFFFFFF for seed in seeds}
    assert len(seeds) - len(lower) <= 20  # 192,000^2 / 2^33 = 4.3 expected


def test_these_are_the_seeds_of_all_runs_so_far():
    """A change here ends the resuming of older runs."""
    assert derive(0, "step", 1) == 4_413_158_142_644_703_930
