"""The metrics of a rollout batch are its counts."""

import math
from dataclasses import replace

import pytest

from helpers.grpo_steps import RUBRIC
from helpers.tiny_models import group, make_page
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.training.rollout_metrics import Batch, Cost, rollout_metrics
from ocr_verifiers import Rubric


def test_metrics_of_a_batch_are_its_counts():
    """Two pages "ab": completions "ab", "ax" finished; "ab", "" cut off.

    Edits 0 + 1 + 0 + 2 over 8 characters; tokens 3 + 3 + 2 + 0; similarities 1, 1/2, 1, 0; rewards 1, 1/2 and 1/2, 0.
    """
    pages = [make_page(i, text="ab") for i in range(2)]
    groups = [group(pages[0], "ab", "ac"), group(pages[1], "ab", "", finished=False)]
    scored = RewardFunction(RUBRIC, pages).score_groups(groups)
    refused = [(make_page(2), "too many tokens")]
    cost = Cost(pages=5, completions=8, tokens=20)
    batch = Batch(scored, refused, generate_s=1.0, score_s=0.5, wait_s=1.75, sync_s=0.25, cost=cost)
    metrics = rollout_metrics(batch, learn_s=2.25)
    assert metrics == {
        "reward": pytest.approx(2 / 4),
        "reward_std": pytest.approx(0.5 / math.sqrt(2)),
        "reward/similarity": pytest.approx(2.5 / 4),
        "reward/exact": 2 / 4,
        "reward/end": (1 + 1 + 0.5 + 0.5) / 4,
        "pass_rate": None,
        "cer": 3 / 8,
        "completion_length": 8 / 4,
        "truncated_fraction": 2 / 4,
        "tokens_per_s": 8 / 4,
        "refused": 1,
        "pages": 5,
        "completions": 8,
        "sampled_tokens": 20,
        "time/wait": 1.75,
        "time/sync": 0.25,
        "time/generate": 1.0,
        "time/score": 0.5,
        "time/learn": 2.25,
    }


def test_the_pass_rate_is_pooled_over_tests():
    tests = [{"pdf": "a", "page": 1, "id": f"{i}", "type": "present", "text": t} for i, t in enumerate(("a", "zz"))]
    page = replace(make_page(text="ab"), tests=tests)
    rubric = Rubric(weights={"pass_rate": 1.0})
    scored = RewardFunction(rubric, [page]).score_groups([group(page, "ab", "c")])
    metrics = rollout_metrics(Batch(scored, [], 1.0, 0.0, 1.0, 0.0), learn_s=1.0)
    assert metrics["pass_rate"] == metrics["pass_rate/present"] == 1 / 4
    assert metrics["reward/pass_rate"] == pytest.approx(1 / 4)
