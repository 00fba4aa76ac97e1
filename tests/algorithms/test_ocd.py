"""Learning from own prefixes, compared with the plain model; and a whole run."""

import json

import pytest
import torch

from helpers.commands import rows_of
from helpers.runs import done, train
from helpers.tiny_models import (
    EOS,
    assert_all_close,
    completion,
    gradients,
    make_page,
    make_policy,
    make_recipe,
    plain_loss,
    tokens,
)
from ocr_rl.algorithms.ocd import OcdTrainer
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, make_rubric
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Group

PAGES = [make_page(0, text="abcd"), make_page(1, (64, 64), text="ef")]


def trainer_of(policy, **changes):
    naive = {"ocd_choice": "nearest", "ocd_cap": 0.0, "ocd_sft_share": 0.0, "rollout_max_tokens": 8}
    recipe = make_recipe(**naive | changes)
    rewards = RewardFunction(make_rubric(recipe.reward), PAGES)
    return OcdTrainer(policy, TransformersEngine(policy), PAGES, GroupScorer(rewards, 0), recipe)


def scored(*texts):
    """A group of each page."""
    groups = [Group(page, [completion(text) for text in own]) for page, own in zip(PAGES, texts, strict=True)]
    return [ScoredGroup(group, (), [0.0] * len(group.completions)) for group in groups]


def loss_at(policy, page, ids, t, token):
    """-log pi(token | page, ids[:t]) by the plain model."""
    before = plain_loss(policy, page, ids[:t]) if t else 0
    return plain_loss(policy, page, [*ids[:t], token]) - before


def expected(policy, weight, learned):
    """The gradient of the plain model: (page, tokens read, place, token learned) each with the same weight."""
    for page, text, t, token in learned:
        (weight * loss_at(policy, page, tokens(text), t, token)).backward()
    return gradients(policy)


GROUPS = scored(["abl", "abcd"], ["e"])
LEARNED = [
    *((PAGES[0], "abl", t, token) for t, token in enumerate(tokens("abcc"))),
    *((PAGES[0], "abcd", t, token) for t, token in enumerate([*tokens("abcd"), EOS])),
    *((PAGES[1], "e", t, token) for t, token in enumerate(tokens("ef"))),
]


def test_the_gradient_is_that_of_the_nearest_optimal_tokens_after_each_own_prefix(policy):
    """4 + 5 + 2 places; the end of `e` is replaced by the `f` that it leaves out."""
    wanted = expected(policy, 1 / 11, LEARNED)
    metrics = trainer_of(policy).accumulate(GROUPS, 1)
    assert_all_close(gradients(policy), wanted, 1e-4)
    assert metrics["optimal_fraction"] == pytest.approx((2 + 5 + 1) / 11)
    assert metrics["text_loss"] is None


def test_the_likeliest_is_the_total_probability_of_the_optimal_tokens(policy):
    """After `abl` both `c` and `d` are optimal: -log(pi(c) + pi(d)); all other places have one token."""
    page, ids = PAGES[0], tokens("abl")
    single = [*((page, "abl", t, token) for t, token in enumerate(tokens("abc"))), *LEARNED[9:]]
    either = [loss_at(policy, page, ids, 3, token) for token in tokens("cd")]
    (-torch.logsumexp(-torch.stack(either), 0) / 6).backward()
    wanted = gradients(policy)
    rest = expected(policy, 1 / 6, single)
    metrics = trainer_of(policy, ocd_choice="likeliest").accumulate(scored(["abl"], ["e"]), 1)
    assert_all_close(gradients(policy), {name: wanted[name] + rest[name] for name in rest}, 1e-4)
    assert metrics["optimal_fraction"] == pytest.approx(3 / 6)


@pytest.fixture
def plain():
    return make_policy()


def test_micro_batches_do_not_matter(plain):
    whole = trainer_of(plain, ocd_sft_share=0.5).accumulate(GROUPS, 1)
    expected = gradients(plain)
    cut = trainer_of(plain, ocd_sft_share=0.5, train_micro_batch_tokens=1).accumulate(GROUPS, 1)
    assert_all_close(gradients(plain), expected, 1e-5)
    assert cut == pytest.approx(whole, rel=1e-4)


def test_a_share_is_plain_sft(plain):
    """5 + 3 tokens of the two texts."""
    for page in PAGES:
        (0.25 / 8 * plain_loss(plain, page, [*tokens(page.text), EOS])).backward()
    text = gradients(plain)
    own = expected(plain, 0.75 / 11, LEARNED)
    metrics = trainer_of(plain, ocd_sft_share=0.25).accumulate(GROUPS, 1)
    assert_all_close(gradients(plain), {name: own[name] + text[name] for name in own}, 1e-4)
    with torch.no_grad():
        loss = sum(plain_loss(plain, page, [*tokens(page.text), EOS]) for page in PAGES) / 8
    assert metrics["text_loss"] == pytest.approx(loss.item(), rel=1e-5)


def test_what_is_above_the_cap_is_counted_and_not_learned(plain):
    metrics = trainer_of(plain, ocd_cap=1e-6).accumulate(GROUPS, 1)
    assert metrics["capped_fraction"] == 1
    assert metrics["loss"] == pytest.approx(1e-6)
    assert all(not gradient.any() for gradient in gradients(plain).values())


def test_the_rest_of_the_text_is_learned_after_a_cut_that_depends_on_the_step_alone(plain):
    trainer = trainer_of(plain, ocd_learn="rest")
    logged = [trainer.accumulate(GROUPS, step) for step in (1, 1, 2, 3)]
    losses = [metrics["loss"] for metrics in logged]
    assert {metrics["optimal_fraction"] for metrics in logged} == {None}  # it would always be 1
    assert losses[0] == losses[1]
    assert len({*losses}) > 1


def test_a_group_that_is_right_is_sft_on_its_own_text(plain):
    right = scored(["abcd", "abcd"], ["ef"])
    for page, weight in zip(PAGES, (2, 1), strict=True):
        (weight / 13 * plain_loss(plain, page, [*tokens(page.text), EOS])).backward()
    wanted = gradients(plain)
    metrics = trainer_of(plain).accumulate(right, 1)
    assert_all_close(gradients(plain), wanted, 1e-5)
    assert metrics["optimal_fraction"] == 1


def test_a_whole_run(place, fresh):
    done(train(fresh, "--set=algorithm=ocd", "--set=train.eval_every=0", "--set=train.steps=2"))
    rows = rows_of(fresh / "metrics.jsonl")
    assert {"loss", "text_loss", "optimal_fraction", "capped_fraction", "reward", "completions"} <= set(rows[-1])
    assert [row["completions"] for row in rows] == [8, 8]
    assert (fresh / "rollouts" / "step_000002.jsonl").is_file()
    assert json.loads((fresh / "eval" / "after.json").read_text())["cer"] is not None
