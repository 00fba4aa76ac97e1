"""How DAPO, RLOO, CISPO, GDPO and the others differ from GRPO, in whole steps and runs of the trainer."""

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from helpers.grpo_steps import (
    REWARDS,
    RUBRIC,
    gradient,
    metrics_of,
    run_training,
    scored_groups,
    update,
)
from helpers.tiny_models import (
    PAD,
    assert_all_close,
    gradients,
    make_page,
    make_policy,
    make_recipe,
    score_unshared,
    weights,
)
from ocr_rl.algorithms.grpo import GrpoLearner, GrpoTrainer
from ocr_rl.config.schema import GrpoConfig
from ocr_rl.config.validation import check
from ocr_rl.models.padding import pad_rows
from ocr_rl.objectives.policy_losses import kl_estimate
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, gated_parts
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.group_advantages import advantages_of
from ocr_rl.training.loop import TrainingLoop
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics


def plain_logprobs(policy, group):
    """log pi of each completion, one full forward pass each: a list of (T,)."""
    prompt, rows = policy.prompt(group.group.page), []
    for completion in group.group.completions:
        ids, mask = pad_rows([list(completion.token_ids)], PAD)
        rows.append(score_unshared(policy, prompt, ids, mask, 1.0).logprobs[0])
    return rows


def test_rloo_is_the_gradient_of_the_whole_completion_s_log_probability(policy):
    """-1/N sum_i (r_i - mean of the others) log pi(o_i), the mean over all completions of the step."""
    recipe = make_recipe(grpo_advantage="leave_one_out", grpo_ratio="product", grpo_normalizer="sequence")
    scored = scored_groups()
    loss = 0.0
    for group, rewards in zip(scored, REWARDS, strict=True):
        for reward, row in zip(rewards, plain_logprobs(policy, group), strict=True):
            others = (sum(rewards) - reward) / (len(rewards) - 1)
            loss = loss - (reward - others) * row.sum()
    (loss / 8).backward()
    expected = gradients(policy)
    assert_all_close(gradient(policy, recipe, scored), expected, 1e-5)


def test_reinforce_over_tokens_is_the_policy_gradient_with_the_group_s_mean_as_baseline(policy):
    recipe = make_recipe(grpo_surrogate="reinforce", grpo_divide_by_std=False)
    scored = scored_groups()
    loss, tokens = 0.0, 0
    for group, rewards in zip(scored, REWARDS, strict=True):
        for reward, row in zip(rewards, plain_logprobs(policy, group), strict=True):
            loss = loss - (reward - sum(rewards) / 4) * row.sum()
            tokens += len(row)
    (loss / tokens).backward()
    expected = gradients(policy)
    assert_all_close(gradient(policy, recipe, scored), expected, 1e-5)


def test_at_the_first_update_clip_cispo_and_reinforce_have_one_gradient(policy):
    """The ratio is 1; they differ in later updates of a batch."""
    expected = gradient(policy, make_recipe())
    for surrogate in ("cispo", "reinforce"):
        assert_all_close(gradient(policy, make_recipe(grpo_surrogate=surrogate)), expected, 1e-6)
    later = {}
    start = weights(policy)
    for surrogate in ("clip", "cispo", "reinforce"):
        policy.model.load_state_dict(start)
        update(policy, make_recipe(grpo_surrogate=surrogate, grpo_inner_epochs=3), rate=1e-2)
        later[surrogate] = weights(policy)["lm_head.weight"]
    assert not torch.equal(later["clip"], later["cispo"])
    assert not torch.equal(later["cispo"], later["reinforce"])


def test_batch_advantages_have_one_scale_for_all_groups():
    scored = scored_groups(rewards=[[1.0, 0.0, 1.0, 0.0], [0.6, 0.4, 0.6, 0.4]])
    own = advantages_of(scored, GrpoConfig()).advantages
    batch = advantages_of(scored, GrpoConfig(advantage="batch")).advantages
    assert own[0, 0] == pytest.approx(own[1, 0].item(), rel=1e-2)
    assert batch[0, 0] == pytest.approx(5 * batch[1, 0].item(), rel=1e-4)


# GDPO.


def scored(parts):
    return ScoredGroup(None, [SimpleNamespace(parts=p) for p in parts], [0.0] * len(parts))


def test_decoupled_parts_count_by_their_weights_and_not_by_their_spread():
    """One group differs by 0.01 in similarity, the other by 1 in pass rate: both count by their weights, 2 to 1."""
    groups = [
        scored([{"similarity": 0.51, "pass_rate": 1.0}, {"similarity": 0.50, "pass_rate": 1.0}]),
        scored([{"similarity": 0.50, "pass_rate": 1.0}, {"similarity": 0.50, "pass_rate": 0.0}]),
    ]
    config = GrpoConfig(advantage="decoupled", min_group_std=1e-3)
    advantages = advantages_of(groups, config, {"similarity": 2.0, "pass_rate": 1.0}).advantages
    assert advantages[0, 0] == pytest.approx(2 * advantages[1, 0].item(), rel=0.03)
    assert (advantages[:, 0] > 0.3).all()
    rewards = advantages_of([replace(g, rewards=[0.5, 0.5]) for g in groups], GrpoConfig())
    assert not rewards.spread.any()


def test_gates_close_every_part_and_a_part_that_does_not_apply_is_0():
    score = SimpleNamespace(parts={"similarity": 0.8, "end": 0.5, "repetition": 0.5, "exact": 0.0})
    assert gated_parts(score, {"similarity": 1.0, "pass_rate": 1.0}) == [pytest.approx(0.2), 0.0]


# The KL in the reward; reward to go; a reference that is renewed.


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_a_kl_in_the_reward_is_taken_from_each_completion_s_reward(policy, estimator):
    """r - beta sum_t kl_t by one full forward per completion, of the policy and of its start."""
    recipe = make_recipe(grpo_beta=0.5, grpo_kl=estimator, grpo_kl_in="reward")
    learner, groups = GrpoLearner(policy, recipe), scored_groups()
    start = make_policy("lighton" if "Light" in type(policy.base).__name__ else "qwen")
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter += 0.02 * torch.randn_like(parameter)
        penalties = [
            [
                0.5 * kl_estimate(own, ref, estimator)
                for own, ref in zip(plain_logprobs(policy, group), plain_logprobs(start, group), strict=True)
            ]
            for group in groups
        ]
    expected = torch.tensor(REWARDS) - torch.tensor([[kl.sum().item() for kl in row] for row in penalties])
    for page, rewards, row in zip(learner.penalised_rewards(groups), expected, penalties, strict=True):
        torch.testing.assert_close(page.total, rewards, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(page.by_token.sum(1), rewards, atol=1e-4, rtol=1e-3)
        for by_token, mask, kl in zip(page.by_token, page.mask, row, strict=True):
            torch.testing.assert_close(by_token[mask][:-1], -kl[:-1], atol=1e-4, rtol=1e-3)
            assert not by_token[~mask].any()
    assert max(kl.sum().abs().item() for row in penalties for kl in row) > 1e-2


REWARD_TO_GO = {
    "grpo_surrogate": "reinforce",
    "grpo_divide_by_std": False,
    "grpo_beta": 0.5,
    "grpo_kl": "k1",
    "grpo_kl_in": "reward",
    "grpo_returns": "reward_to_go",
}


@pytest.mark.parametrize("advantage", ["group", "leave_one_out"])
def test_reinforce_with_reward_to_go_credits_a_token_with_what_follows_it(policy, advantage):
    """-1/N sum_i sum_t (R_it - b_i) log pi(o_it): R_it = r_i - beta sum_(s>=t) k1_is, b the group's mean of R_i1.

    With leave_one_out b is the mean of the others. N counts the tokens. One full forward per completion.
    """
    learner = GrpoLearner(policy, make_recipe(**REWARD_TO_GO, grpo_advantage=advantage, train_micro_batch_tokens=9))
    groups = scored_groups()
    start = make_policy("lighton" if "Light" in type(policy.base).__name__ else "qwen")
    with torch.no_grad():
        for parameter in policy.trainable_parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    loss, tokens, later = 0.0, 0, []
    for group, rewards in zip(groups, REWARDS, strict=True):
        rows = plain_logprobs(policy, group)
        to_go = [
            reward - 0.5 * (row - ref).detach().flip(0).cumsum(0).flip(0)
            for reward, row, ref in zip(rewards, rows, plain_logprobs(start, group), strict=True)
        ]
        for i, row in enumerate(rows):
            others = [own[0] for j, own in enumerate(to_go) if advantage == "group" or j != i]
            loss = loss - ((to_go[i] - sum(others) / len(others)) * row).sum()
            tokens += len(row)
            later.append((to_go[i][-1] - to_go[i][0]).abs().item())
    (loss / tokens).backward()
    expected = gradients(policy)
    (_, spread), advantages = learner.advantages(groups)
    learner.accumulate(groups, learner.prepare(groups, advantages, spread))
    assert_all_close(gradients(policy), expected, 1e-5)
    assert max(later) > 1e-2  # far from the gradient of the total


def test_at_the_start_the_reward_to_go_is_the_total_and_a_run_learns_from_it(tmp_path):
    """Where the policy is its reference the KL of every token is 0."""
    rewards = {}
    for returns in ("total", "reward_to_go"):
        options = REWARD_TO_GO | {"grpo_returns": returns, "grpo_beta": 0.05}
        run, policy = run_training(tmp_path, returns, train_learning_rate=1e-2, **options)
        rewards[returns] = metrics_of(run), weights(policy)
    (total, by_total), (to_go, by_to_go) = rewards.values()
    assert to_go[0]["loss"] == pytest.approx(total[0]["loss"], abs=1e-6)
    assert to_go[2]["kl"] > 0
    assert not torch.equal(by_total["lm_head.weight"], by_to_go["lm_head.weight"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grpo_beta": 0.0}, "write total, or grpo.beta above 0 and grpo.kl_in = reward"),
        ({"grpo_kl_in": "loss"}, "write total, or grpo.beta above 0 and grpo.kl_in = reward"),
        ({"grpo_divide_by_std": True}, "write total, or grpo.advantage = leave_one_out, or grpo.divide_by_std = false"),
        ({"grpo_advantage": "batch"}, "write total, or grpo.advantage = leave_one_out, or grpo.divide_by_std = false"),
        (
            {"grpo_ratio": "product", "grpo_surrogate": "clip"},
            "write total, or grpo.ratio = token: with product a completion is one action",
        ),
    ],
)
def test_a_reward_to_go_that_makes_no_difference_or_no_sense_is_refused(changes, message):
    check(make_recipe(**REWARD_TO_GO))
    with pytest.raises(ValueError, match=re.escape(f"grpo.returns is 'reward_to_go'; {message}")):
        check(make_recipe(**REWARD_TO_GO | changes))


def test_a_kl_in_the_reward_is_not_in_the_loss_too(policy):
    in_reward = make_recipe(grpo_beta=0.5, grpo_kl_in="reward")
    assert_all_close(gradient(policy, in_reward), gradient(policy, make_recipe()), 1e-7)


@pytest.mark.parametrize("where", ["loss", "reward"])
def test_a_large_beta_holds_the_policy_near_its_start(tmp_path, where):
    """The distance that the weights move in 15 steps: far without, less with the KL term."""

    def moved(name, **options):
        start = weights(make_policy())
        _, policy = run_training(tmp_path, name, train_steps=15, rollout_group_size=8, **options)
        return sum((weights(policy)[n] - start[n]).square().sum().item() for n in start)

    free = moved("free")
    assert moved("held", grpo_beta=5.0, grpo_kl="k2" if where == "loss" else "k1", grpo_kl_in=where) < 0.9 * free


def test_a_renewed_reference_is_the_policy_of_the_last_renewal(tmp_path):
    """The KL of the step after a renewal is that to the policy itself: 0. In between it is not."""
    run, _ = run_training(tmp_path, train_steps=6, train_learning_rate=1e-2, grpo_beta=1e-6, grpo_reference_every=3)
    kl = [row["kl"] for row in metrics_of(run)]
    assert kl[0] == pytest.approx(0, abs=1e-7)
    assert kl[3] == pytest.approx(0, abs=1e-7)
    assert min(kl[1], kl[2], kl[4], kl[5]) > 1e-5


# Dynamic sampling.


def take(pages, flat, refill, steps=1, start=0, wanted=2):
    """Each step's batch; groups of the pages `flat` are rejected."""
    policy = make_policy()
    recipe = make_recipe(rollout_pages_per_step=wanted, rollout_max_tokens=3)
    recipe = replace(recipe, train=replace(recipe.train, steps=start + steps))
    keep = (lambda group: group.group.page.id not in flat) if refill else None
    scorer = GroupScorer(RewardFunction(RUBRIC, pages), 0)
    rollouts = Rollouts(policy, TransformersEngine(policy), pages, scorer, recipe, keep, refill)
    rollouts.start(start)
    return [rollouts.take(step) for step in range(1, steps + 1)]


def draw(*args, **options):
    """Pages of each step's groups, and how many batches have been drawn so far."""
    return [([group.group.page.id for group in batch.groups], batch.drawn) for batch in take(*args, **options)]


def test_groups_without_spread_are_replaced_from_further_batches():
    pages = [make_page(i, text="ab") for i in range(6)]
    plain = [ids for ids, _ in draw(pages, set(), 0, steps=3)]
    flat = {plain[0][0], plain[1][1]}
    ((ids, drawn),) = draw(pages, flat, refill=5)
    assert ids == [plain[0][1], plain[1][0]]
    assert drawn == 2


def test_rejected_groups_count_as_sampled():
    """Three batches of two pages and four completions each, of which one group is kept, or two."""
    pages = [make_page(i, text="ab") for i in range(6)]
    (batch,) = take(pages, {page.id for page in pages}, refill=2)
    assert (batch.cost.pages, batch.cost.completions) == (6, 6 * len(batch.groups[0].rewards))
    kept = sum(len(c.token_ids) for group in batch.groups for c in group.group.completions)
    assert batch.cost.tokens > kept
    assert rollout_metrics(batch, learn_s=1.0)["sampled_tokens"] == batch.cost.tokens


def test_refilling_ends_and_a_step_uses_the_groups_that_it_has():
    pages = [make_page(i, text="ab") for i in range(6)]
    plain = [ids for ids, _ in draw(pages, set(), 0, steps=3)]
    only = plain[1][0]
    others = {page.id for page in pages} - {only}
    assert draw(pages, others, refill=2) == [([only], 3)]
    assert draw(pages, {page.id for page in pages}, refill=2) == [(plain[0], 3)]


def test_a_resumed_run_continues_after_the_batches_that_were_drawn(tmp_path):
    pages = [make_page(i, text="ab") for i in range(7)]
    recipe = make_recipe(train_steps=2, grpo_refill=3, grpo_min_group_std=0.05, train_checkpoint_every=1)
    policy = make_policy()
    run = RunFolder.create(tmp_path / "run", "")
    trainer = GrpoTrainer(
        policy, TransformersEngine(policy), pages, GroupScorer(RewardFunction(RUBRIC, pages), 0), recipe
    )
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}).run()
    state = json.loads((run.checkpoints()[-1] / "trainer" / "state.json").read_text())
    assert state["numbers"]["batches"] == trainer.rollouts.drawn >= 2
    again = GrpoTrainer(
        policy, TransformersEngine(policy), pages, GroupScorer(RewardFunction(RUBRIC, pages), 0), recipe
    )
    again.state.numbers.update(state["numbers"])
    again.start(2)
    assert next(again.rollouts._pages)[0].id == next(trainer.rollouts._pages)[0].id
