"""The PPO update on tiny policies, compared with the plain model and textbook formulas; short training runs."""

import json
import math
import re
import shutil
from dataclasses import replace

import pytest
import torch

from helpers.runs import before_touching, contents, done, killed, metrics_of, resume, train
from helpers.tiny_models import (
    PAD,
    assert_all_close,
    completion,
    gradients,
    make_page,
    make_policy,
    make_recipe,
    pages_of_different_sizes,
    score_unshared,
    weights,
)
from ocr_rl.algorithms import ppo as ppo_module
from ocr_rl.algorithms.ppo import PpoLearner, PpoTrainer, flatten_masked
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import GrpoConfig, ModelConfig, Recipe
from ocr_rl.config.unused import without_effect
from ocr_rl.config.validation import check
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.loop import TrainingLoop
from ocr_rl.types import Group
from ocr_verifiers import Rubric

REWARDS = [[1.0, 0.2, 0.5, 0.0], [0.3, 0.9, 0.1, 0.4]]


def ppo_recipe(**changes):
    """Without whitening and value clip, unless `changes` set them."""
    return make_recipe(**{"ppo_whiten": False, "ppo_value_clip": 0.0, "ppo_inner_epochs": 1} | changes)


def scored_groups(rewards=REWARDS):
    """Completions of 4, 1, 7, 2 and 2, 3, 7, 5 tokens; the second of each page was cut off."""
    texts = [["abc", "k", "adfghi", "l"], ["l", "bbk", "abcdef", "abca"]]
    return [
        ScoredGroup(Group(page, [completion(t, finished=i != 1) for i, t in enumerate(row)]), (), values)
        for page, row, values in zip(pages_of_different_sizes(), texts, rewards, strict=False)
    ]


def noise(parameters, size, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))


def moved(policy, recipe):
    """A learner whose policy is no longer the initial one and whose critic is not zero."""
    learner = PpoLearner(policy, recipe)
    noise(policy.model.parameters(), 0.02, seed=1)
    noise(learner.state.trained().values(), 0.1, seed=2)
    return learner


def taken(learner):
    """The gradients of policy and critic, which are cleared."""
    own = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in learner.state.trained().items()
    }
    found = gradients(learner.policy) | own
    learner.optimizer.zero_grad()
    return found


def gradient(learner, scored=None):
    learner.accumulate(learner.experience(scored or scored_groups()))
    return taken(learner)


# The plain model and the textbook.


def plainly(learner, page, one):
    """Log probabilities and values (T,) of one completion from one full forward pass, and the reference's."""
    recipe, policy = learner.recipe, learner.policy
    ids, mask = pad_rows([list(one.token_ids)], PAD)
    temperature, prompt = recipe.rollout.temperature, policy.prompt(page)
    scores = score_unshared(policy, prompt, ids, mask, temperature)
    hidden = scores.hidden
    if recipe.ppo.critic == "detached":
        hidden = hidden.detach()
    if recipe.ppo.critic == "separate":
        hidden = score_unshared(learner.critic.own, prompt, ids, mask, temperature).hidden
    ref = None
    if learner.reference is not None:
        with learner.reference.policy() as frozen:
            ref = score_unshared(frozen, prompt, ids, mask, temperature).logprobs[0]
    return scores.logprobs[0], learner.critic.head(hidden)[0], ref


def estimates(kind, logprobs, ref):
    d = ref - logprobs
    return {"k1": -d, "k2": d**2 / 2, "k3": d.exp() - 1 - d}[kind]


def plain_advantages(ppo, rewards, values):
    """(T,) by GAE, or the rewards of n tokens and the value after them, less the value now."""
    steps, gamma = len(rewards), ppo.gamma
    if ppo.estimator == "gae":
        after = torch.cat([values[1:], torch.zeros(1)])
        deltas = rewards + gamma * after - values
        sums = [sum((gamma * ppo.lam) ** k * deltas[t + k] for k in range(steps - t)) for t in range(steps)]
        return torch.stack(sums)
    n = {"n_step": ppo.n_step, "td": 1, "monte_carlo": steps}[ppo.estimator]
    returns = []
    for t in range(steps):
        earned = sum(gamma**k * rewards[t + k] for k in range(min(n, steps - t)))
        returns.append(earned + (gamma**n * values[t + n] if t + n < steps else 0.0))
    return torch.stack(returns) - values


def plain_experience(learner, scored):
    """(log pi, V, A, R, log ref) of every completion, token by token as in the papers."""
    ppo, found = learner.recipe.ppo, []
    for scored_group in scored:
        for one, reward in zip(scored_group.group.completions, scored_group.rewards, strict=True):
            logprobs, values, ref = (
                x.detach() if x is not None else None for x in plainly(learner, scored_group.group.page, one)
            )
            steps = len(one.token_ids)
            rewards = torch.zeros(steps)
            if ppo.beta and ppo.kl_in == "reward":
                rewards -= ppo.beta * estimates(ppo.kl, logprobs, ref)
            rewards[-1] += reward - (0.0 if one.finished else ppo.missing_end_penalty)
            advantages = plain_advantages(ppo, rewards, values)
            found.append([logprobs, values, advantages, advantages + values, ref])
    if ppo.whiten:
        every = torch.cat([row[2] for row in found])
        for row in found:
            row[2] = (row[2] - every.mean()) / torch.sqrt(every.var() + 1e-8)
    return found


def plain_gradient(learner, scored, experience):
    """Of -min(rho A, clip(rho) A) + c/2 max((V - R)^2, (clip(V) - R)^2) + beta KL, mean over all tokens."""
    ppo = learner.recipe.ppo
    tokens = sum(len(row[0]) for row in experience)
    every = iter(experience)
    for scored_group in scored:
        for one in scored_group.group.completions:
            old, old_values, advantages, returns, _ = next(every)
            logprobs, values, ref = plainly(learner, scored_group.group.page, one)
            ratio = (logprobs - old).exp()
            loss = -torch.minimum(ratio * advantages, ratio.clamp(1 - ppo.clip, 1 + ppo.clip) * advantages)
            squares = (values - returns) ** 2
            if ppo.value_clip:
                near = old_values + (values - old_values).clamp(-ppo.value_clip, ppo.value_clip)
                squares = torch.maximum(squares, (near - returns) ** 2)
            loss = loss + ppo.value_coefficient * squares / 2
            if ppo.beta and ppo.kl_in == "loss":
                loss = loss + ppo.beta * estimates(ppo.kl, logprobs, ref)
            (loss.sum() / tokens).backward()
    return taken(learner)


@pytest.mark.parametrize(
    "options",
    [
        {"ppo_beta": 0.3, "ppo_gamma": 0.9, "ppo_lam": 0.8, "ppo_missing_end_penalty": 0.7},
        {"ppo_whiten": True, "ppo_value_clip": 0.05, "ppo_critic_width": 6, "rollout_temperature": 0.7},
        {"ppo_beta": 0.3, "ppo_kl_in": "loss", "ppo_kl": "k3", "ppo_critic": "detached", "ppo_whiten": True},
        {"ppo_beta": 0.3, "ppo_kl": "k2", "ppo_critic": "separate", "ppo_value_clip": 0.05},
        {"ppo_estimator": "n_step", "ppo_n_step": 2, "ppo_beta": 0.3, "ppo_gamma": 0.9},
        {"ppo_estimator": "td", "ppo_critic": "separate", "ppo_gamma": 0.9},
        {"ppo_estimator": "monte_carlo", "ppo_beta": 0.3, "ppo_whiten": True},
    ],
    ids=[
        "kl in the reward",
        "whitened and clipped",
        "kl in the loss, detached",
        "separate",
        "two steps",
        "td, separate",
        "monte carlo",
    ],
)
def test_the_gradient_of_a_later_update_is_that_of_the_textbook_one_completion_at_a_time(policy, options):
    """The policy has changed between the experience and the update, so that ratios and values are clipped."""
    learner = moved(policy, ppo_recipe(**{"ppo_value_coefficient": 0.5, "ppo_clip": 0.1} | options))
    scored = scored_groups()
    expected, experience = plain_experience(learner, scored), learner.experience(scored)
    noise(policy.model.parameters(), 0.02, seed=3)
    noise(learner.state.trained().values(), 0.02, seed=4)
    plain = plain_gradient(learner, scored, expected)
    learner.accumulate(experience)
    _, _, _, clipped, value_clipped, tokens = learner.sums.tolist()
    assert 0 < clipped < tokens
    assert (0 < value_clipped < tokens) == (learner.recipe.ppo.value_clip > 0)
    found = taken(learner)
    assert_all_close(found, plain, 1e-5)
    assert plain["lm_head.weight"].abs().max() > 1e-3
    assert any(g.any() for name, g in plain.items() if name.startswith("critic"))


@pytest.mark.parametrize(("estimator", "n"), [("gae", 0), ("n_step", 3), ("td", 0), ("monte_carlo", 0)])
def test_what_is_computed_before_the_first_update_is_that_of_the_textbook(policy, estimator, n):
    learner = moved(
        policy,
        ppo_recipe(
            ppo_estimator=estimator,
            ppo_n_step=n,
            ppo_beta=0.3,
            ppo_gamma=0.9,
            ppo_lam=0.8,
            ppo_missing_end_penalty=0.7,
        ),
    )
    scored = scored_groups()
    expected, experience = plain_experience(learner, scored), learner.experience(scored)
    for place_, task in enumerate(experience):
        for batch in task.batches:
            for i, row in enumerate(batch.rows):
                mine = batch.mask[i]
                found = [batch.old_logprobs, batch.old_values, batch.advantages, batch.returns, batch.ref_logprobs]
                for tensor, plain in zip(found, expected[4 * place_ + row], strict=True):
                    torch.testing.assert_close(tensor[i][mine], plain, atol=1e-5, rtol=1e-5)


def test_the_critic_s_loss_reaches_the_trunk_only_if_they_share_it(policy):
    """With all rewards 0, the only error is the critic's bias of 1."""
    scored = scored_groups([[0.0] * 4] * 2)
    for kind, reaches in (("shared", True), ("detached", False), ("separate", False)):
        learner = PpoLearner(policy, ppo_recipe(ppo_critic=kind, ppo_lam=0.0))
        experience = learner.experience(scored)
        with torch.no_grad():
            learner.critic.head.output.bias.fill_(1.0)
            learner.critic.head.output.weight.fill_(0.1)
        learner.accumulate(experience)
        found = taken(learner)
        assert any(found[name].any() for name in weights(policy)) == reaches, kind
        assert found["critic.output.bias"].any()
        own = [found[name].any() for name in found if name.startswith("critic_trunk")]
        assert any(own) == (kind == "separate")


# Limits, by configuration.


def advantages_of(learner, text, reward, finished=True):
    one = ScoredGroup(Group(make_page(), [completion(text, finished)]), (), [reward])
    experience = learner.experience([one])
    return [flatten_masked(experience, lambda b, name=name: getattr(b, name))[0] for name in ("advantages", "returns")]


@pytest.mark.parametrize(
    ("gamma", "lam", "advantages"),
    [
        (1.0, 1.0, [0.55, 0.55, 0.55, 0.55]),  # Monte Carlo: reward - V
        (1.0, 0.0, [0.0, 0.0, 0.0, 0.55]),  # the TD error: V - V, then reward - V
        (0.5, 1.0, [0.1 - 0.25, 0.2 - 0.25, 0.4 - 0.25, 0.55]),
        (0.5, 0.0, [-0.125, -0.125, -0.125, 0.55]),
        (1.0, 0.5, [0.06875, 0.1375, 0.275, 0.55]),
    ],
)
def test_gamma_and_lambda_have_their_limits(policy, gamma, lam, advantages):
    """Three characters and the end token, reward 0.8, a critic that is 0.25 everywhere; returns are A + V."""
    learner = PpoLearner(policy, ppo_recipe(ppo_gamma=gamma, ppo_lam=lam))
    with torch.no_grad():
        learner.critic.head.output.bias.fill_(0.25)
    found, returns = advantages_of(learner, "abc", 0.8)
    torch.testing.assert_close(found, torch.tensor(advantages))
    torch.testing.assert_close(returns, torch.tensor(advantages) + 0.25)


@pytest.mark.parametrize(
    ("options", "advantages"),
    [
        ({"ppo_estimator": "td"}, [-0.125, -0.125, -0.125, 0.55]),
        ({"ppo_estimator": "n_step", "ppo_n_step": 2}, [0.0625 - 0.25, 0.0625 - 0.25, 0.4 - 0.25, 0.55]),
        ({"ppo_estimator": "n_step", "ppo_n_step": 9}, [0.1 - 0.25, 0.2 - 0.25, 0.4 - 0.25, 0.55]),
        ({"ppo_estimator": "monte_carlo"}, [0.1 - 0.25, 0.2 - 0.25, 0.4 - 0.25, 0.55]),
    ],
    ids=["td", "two steps", "nine steps", "monte carlo"],
)
def test_the_other_estimators_count_the_rewards_of_one_n_or_all_tokens(policy, options, advantages):
    """The same completion and critic, gamma 1/2; lambda does not matter."""
    learner = PpoLearner(policy, ppo_recipe(ppo_gamma=0.5, ppo_lam=0.3, **options))
    with torch.no_grad():
        learner.critic.head.output.bias.fill_(0.25)
    found, returns = advantages_of(learner, "abc", 0.8)
    torch.testing.assert_close(found, torch.tensor(advantages))
    torch.testing.assert_close(returns, torch.tensor(advantages) + 0.25)


def test_a_missing_end_costs_its_penalty(policy):
    learner = PpoLearner(policy, ppo_recipe(ppo_lam=1.0, ppo_missing_end_penalty=0.3))
    assert advantages_of(learner, "abc", 0.8)[0][0].item() == pytest.approx(0.8)
    assert advantages_of(learner, "abc", 0.8, finished=False)[0][0].item() == pytest.approx(0.5)


def test_at_ratio_one_the_loss_is_minus_the_mean_advantage(policy):
    """V = 0: by token, each completion's reward; the critic's loss is half its mean square.

    Lengths 4, 1, 7, 2 | 2, 3, 7, 5: 31 tokens.
    """
    pairs = [(4, 1.0), (1, 0.2), (7, 0.5), (2, 0.0), (2, 0.3), (3, 0.9), (7, 0.1), (5, 0.4)]
    learner = PpoLearner(policy, ppo_recipe(ppo_lam=1.0))
    metrics = learner.update(learner.experience(scored_groups()), 0.0)
    mean = sum(n * r for n, r in pairs) / 31
    assert metrics["policy_loss"] == pytest.approx(-mean, rel=1e-5)
    assert metrics["value_loss"] == pytest.approx(sum(n * r**2 for n, r in pairs) / 62, rel=1e-5)
    assert metrics["loss"] == pytest.approx(metrics["policy_loss"] + 0.1 * metrics["value_loss"])
    assert metrics["returns"] == pytest.approx(mean, rel=1e-5)
    assert metrics["clip_fraction"] == metrics["value_clip_fraction"] == metrics["values"] == 0
    assert metrics["explained_variance"] == pytest.approx(0, abs=1e-6)
    assert metrics["kl"] is metrics["kl_coefficient"] is None
    assert 0 < metrics["entropy"] < math.log(24)


def test_whitened_advantages_have_mean_zero_and_variance_one_over_the_batch(policy):
    recipe = ppo_recipe(ppo_whiten=True, train_micro_batch_tokens=8)
    experience = moved(policy, recipe).experience(scored_groups())
    found = flatten_masked(experience, lambda batch: batch.advantages)[0]
    assert len(found) == 31
    assert found.mean().item() == pytest.approx(0, abs=1e-6)
    assert found.var().item() == pytest.approx(1, rel=1e-5)
    assert not any(batch.advantages[~batch.mask].any() for task in experience for batch in task.batches)


# How a batch is divided does not matter.


def test_micro_batches_pads_and_the_order_of_rows_do_not_matter(policy):
    """1 token: each completion alone, without a pad. 10: two at a time. 10,000: a page at once."""
    recipe = ppo_recipe(ppo_whiten=True, ppo_beta=0.1, ppo_value_clip=0.2)
    learner = moved(policy, recipe)
    whole = gradient(learner)
    for size in (1, 10):
        learner.recipe = replace(recipe, train=replace(recipe.train, micro_batch_tokens=size))
        assert_all_close(gradient(learner), whole, 1e-5)
    learner.recipe = recipe
    turned = [
        ScoredGroup(Group(s.group.page, list(s.group.completions)[::-1]), (), list(s.rewards)[::-1])
        for s in scored_groups()
    ]
    assert_all_close(gradient(learner, turned), whole, 1e-5)
    assert_all_close(gradient(learner, turned[::-1]), whole, 1e-5)


@pytest.mark.parametrize("critic", ["shared", "separate"])
def test_gradient_checkpointing_does_not_change_the_step(critic):
    recipe = ppo_recipe(ppo_beta=0.1, ppo_critic=critic)
    plain = gradient(moved(make_policy(), recipe))
    assert_all_close(gradient(moved(make_policy(gradient_checkpointing=True), recipe)), plain, 1e-5)


def test_updates_per_batch_are_optimiser_steps_on_part_of_the_pages(policy, monkeypatch):
    """If the weights do not change, each of two updates has the gradient of one page with its own denominator."""
    scored, seen = scored_groups(), []
    learner = moved(policy, ppo_recipe(ppo_updates_per_batch=2, ppo_inner_epochs=2))
    with monkeypatch.context() as patch:
        patch.setattr(ppo_module, "clipped_step", lambda *_: seen.append(taken(learner)) or 0.0)
        learner.update(learner.experience(scored), 1.0)
    alone = [gradient(learner, [one]) for one in scored]
    for found, expected in zip(seen, alone * 2, strict=True):
        assert_all_close(found, expected, 1e-6)


def test_the_experience_is_the_same_in_all_passes(policy):
    """Two passes are two single updates on one experience, and not on two."""
    recipe = ppo_recipe(ppo_inner_epochs=2, ppo_value_clip=0.2)
    start, ends = weights(policy), []
    for epochs, looks in ((2, 1), (1, 1), (1, 2)):
        policy.model.load_state_dict(start)
        learner = PpoLearner(policy, replace(recipe, ppo=replace(recipe.ppo, inner_epochs=epochs)))
        experience = learner.experience(scored_groups())
        for time in range(2 // epochs):
            if time and looks == 2:
                experience = learner.experience(scored_groups())
            learner.update(experience, 1e-2)
        ends.append(weights(policy))
    assert_all_close(ends[0], ends[1], 0.0)
    assert any(not torch.equal(value, ends[2][name]) for name, value in ends[0].items())


def test_importance_weights_compare_the_engine_with_the_policy_before_the_first_update(policy):
    """Each token was 1 / 1.5 times as likely to the engine: the policy's gradient is 1.5 times as large."""
    learner = PpoLearner(policy, ppo_recipe(ppo_value_coefficient=0.0))
    scored, elsewhere = scored_groups(), []
    for one in scored:
        ids, mask = pad_rows([list(c.token_ids) for c in one.group.completions], PAD)
        with torch.no_grad():
            sampling = policy.score(policy.read(policy.prompt(one.group.page)), ids, mask, 1.0).logprobs - math.log(1.5)
        rows = zip(one.group.completions, sampling, strict=True)
        completions = [replace(c, sampling_logprobs=row[: len(c.token_ids)].tolist()) for c, row in rows]
        elsewhere.append(replace(one, group=Group(one.group.page, completions)))
    plain = gradient(learner, scored)
    assert_all_close(gradient(learner, elsewhere), {name: 1.5 * g for name, g in plain.items()}, 1e-5)
    metrics = learner.update(learner.experience(elsewhere), 1e-2)
    assert metrics["mismatch/weight"] == pytest.approx(1.5, rel=1e-4)


# The KL and its coefficient; the critic.


@pytest.mark.parametrize("lora", [False, True])
def test_the_kl_to_the_initial_policy_starts_at_zero_and_grows(saved, lora):
    torch.manual_seed(0)
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=4 * lora))
    learner = PpoLearner(policy, ppo_recipe(ppo_beta=0.01, ppo_kl="k3"))
    found = [learner.update(learner.experience(scored_groups()), 1e-1 if lora else 1e-2)["kl"] for _ in range(3)]
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert found[-1] > 1e-4


def test_the_coefficient_follows_the_target():
    """At the start the KL is 0: e = -0.2, beta' = 0.98 beta. Far beyond the target: e = 0.2, beta' = 1.02 beta."""
    learner = PpoLearner(make_policy(), ppo_recipe(ppo_beta=0.5, ppo_kl="k3", ppo_kl_target=1e-3))
    rows = [learner.update(learner.experience(scored_groups()), 1e-2) for _ in range(3)]
    assert [row["kl_coefficient"] for row in rows] == pytest.approx([0.5, 0.49, 0.49 * 1.02])
    assert learner.state.numbers["kl_coefficient"] == pytest.approx(0.49 * 1.02**2)


def test_a_fixed_coefficient_stays():
    learner = PpoLearner(make_policy(), ppo_recipe(ppo_beta=0.5))
    for _ in range(2):
        learner.update(learner.experience(scored_groups()), 1e-2)
    assert learner.state.numbers == {"kl_coefficient": 0.5}


def test_a_large_beta_keeps_the_policy_near_its_start():
    ends = []
    for beta in (1e-6, 1.0):
        learner = PpoLearner(make_policy(), ppo_recipe(ppo_beta=beta, ppo_kl="k3", ppo_kl_in="loss"))
        for _ in range(10):
            metrics = learner.update(learner.experience(scored_groups()), 1e-3)
        ends.append(metrics["kl"])
    assert 0 < ends[1] < 0.5 * ends[0]


@pytest.mark.parametrize(("kind", "rate"), [("detached", 3e-2), ("separate", 5e-3)])
def test_the_critic_learns_the_returns_of_a_fixed_policy(kind, rate):
    """The expected return before a token is the mean reward of the completions with this prefix: V approaches it.

    The policy's rate is nearly 0; the critic's is millions of times that.
    """
    options = {"ppo_critic": kind, "ppo_critic_rate": rate / 1e-9, "ppo_critic_width": 16, "ppo_inner_epochs": 20}
    recipe = ppo_recipe(ppo_lam=1.0, **options)
    policy, scored = make_policy(), scored_groups()
    start, learner = weights(policy), PpoLearner(policy, recipe)
    rows = [learner.update(learner.experience(scored), 1e-9) for _ in range(3)]
    assert rows[0]["explained_variance"] == pytest.approx(0, abs=1e-6)
    assert rows[-1]["explained_variance"] > 0.5
    assert_all_close(weights(policy), start, 1e-5)
    for task, one in zip(learner.experience(scored), scored, strict=True):
        ids = [list(c.token_ids) for c in one.group.completions]
        for batch in task.batches:
            for i, row in enumerate(batch.rows):
                for t in range(len(ids[row])):
                    alike = [r for own, r in zip(ids, one.rewards, strict=True) if own[:t] == ids[row][:t]]
                    assert batch.old_values[i, t].item() == pytest.approx(sum(alike) / len(alike), abs=0.1)


@pytest.mark.parametrize("kind", ["shared", "separate"])
def test_a_critic_that_learns_alone_leaves_the_policy_bit_for_bit(policy, kind):
    """The critic's gradient is the same as in a joint update."""
    learner = moved(policy, ppo_recipe(ppo_critic=kind, ppo_beta=0.1, train_weight_decay=0.1))
    experience, before = learner.experience(scored_groups()), weights(policy)
    learner.accumulate(experience)
    beside = taken(learner)
    learner.accumulate(experience, critic_only=True)
    alone = taken(learner)
    own = learner.state.trained().keys()
    assert_all_close({name: alone[name] for name in own}, {name: beside[name] for name in own}, 1e-6)
    assert all(alone[name].any() == (name in own) for name in ("lm_head.weight", "critic.output.weight"))
    learner.update(experience, 1e-2, critic_only=True)
    assert_all_close(weights(policy), before, 0.0)


def test_the_critic_warms_up_before_the_policy_moves(tmp_path):
    """Two steps of two; then two of three."""
    rows, _, policy = run_training(tmp_path, train_steps=2, ppo_critic_warmup=2, train_learning_rate=1e-2)
    assert_all_close(weights(policy), weights(make_policy()), 0.0)
    assert rows[1]["values"] != 0
    _, _, policy = run_training(tmp_path / "again", ppo_critic_warmup=2, train_learning_rate=1e-2)
    assert not torch.equal(weights(policy)["lm_head.weight"], weights(make_policy())["lm_head.weight"])


# Whole runs.

RUBRIC = Rubric(weights={"similarity": 1.0}, gates={"end": 0.5})


def run_training(tmp_path, policy=None, **changes):
    """A training run on three pages; its rows and policy."""
    policy = policy or make_policy()
    pages = [make_page(i, text="ab") for i in range(3)]
    recipe = make_recipe(**{"train_steps": 3} | changes)
    run = RunFolder.create(tmp_path / "run", "")
    trainer = PpoTrainer(
        policy, TransformersEngine(policy), pages, GroupScorer(RewardFunction(RUBRIC, pages), 0), recipe
    )
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}).run()
    return [json.loads(line) for line in run.metrics.read_text().splitlines()], run, policy


def test_training_raises_the_reward(tmp_path):
    """A random policy learns to write "ab" for every page: the reward goes from about 0.1 to about 1."""
    rows, _, policy = run_training(
        tmp_path,
        train_steps=30,
        train_learning_rate=5e-3,
        rollout_group_size=64,
        rollout_max_tokens=5,
        rollout_pages_per_step=1,
        ppo_beta=0.01,
    )
    rewards = [row["reward"] for row in rows]
    assert sum(rewards[:3]) / 3 < 0.3
    assert sum(rewards[-3:]) / 3 > 0.9
    written = TransformersEngine(policy).generate([make_page(0)], Sampling(1, 0.0, 5), seed=0)[0].completions[0]
    assert written.text == "ab"
    assert written.finished


def test_a_group_may_be_a_single_completion(tmp_path):
    rows, run, _ = run_training(tmp_path, rollout_group_size=1, rollout_pages_per_step=4)
    assert [row["reward_std"] for row in rows] == [None] * 3
    assert all(row["grad_norm"] > 0 for row in rows)
    lines = (run.path / "rollouts" / "step_000001.jsonl").read_text().splitlines()
    assert len(lines) == 4
    assert all(math.isfinite(json.loads(line)["advantage"]) for line in lines)


def test_the_rows_of_a_rollout_have_each_completion_s_mean_advantage(tmp_path):
    """With V = 0 and lambda = 1 that is its reward."""
    _, run, _ = run_training(tmp_path, train_steps=1, ppo_whiten=False, ppo_lam=1.0, train_micro_batch_tokens=9)
    for line in (run.path / "rollouts" / "step_000001.jsonl").read_text().splitlines():
        row = json.loads(line)
        assert row["advantage"] == pytest.approx(row["reward"], abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"ppo.beta": 0.1, "ppo.kl_target": 0.05, "ppo.updates_per_batch": 2, "ppo.critic_width": 8},
        {"ppo.critic": "separate", "model.lora_rank": 4, "rollout.group_size": 1, "ppo.critic_rate": 3.0},
    ],
    ids=["adaptive kl", "separate critic with lora, groups of one"],
)
def test_a_run_killed_and_resumed_equals_one_that_was_not(place, settings):
    """Killed in the fourth of five steps, with a checkpoint of the second; all state is restored."""
    options = {"algorithm": "ppo", "train.steps": 5} | settings
    options = [f"--set={key}={json.dumps(value)}" for key, value in options.items()]
    whole, run = place / "whole", place / "run"
    for folder in (whole, run):
        shutil.rmtree(folder, ignore_errors=True)
    done(train(whole, *options))
    killed(train(run, *options, kill=before_touching("rollouts/step_000004")))
    assert RunFolder(run).checkpoints()
    done(resume(run))
    assert contents(run) == contents(whole)
    assert "checkpoints/step_000005/trainer/modules.safetensors" in contents(whole)
    rows = metrics_of(whole)
    assert len({row["grad_norm"] for row in rows}) == 5
    assert len({row["kl_coefficient"] for row in rows}) == (5 if "ppo.beta" in settings else 1)


def test_a_dry_run_trains_nothing_and_reports_what_a_run_takes(place):
    finished = done(train(place / "dry", "--set=algorithm=ppo", "--set=rollout.group_size=1", "--dry-run"))
    assert "minutes at most" in finished.output
    assert not (place / "dry").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ppo_kl_target": 6.0}, r"ppo\.beta is 0\.0; write above 0: ppo\.kl_target multiplies it"),
        ({"ppo_beta": 0.1, "ppo_kl_in": "loss"}, r"ppo\.kl is 'k1'; write k2 or k3"),
        ({"ppo_n_step": 4}, r"ppo\.n_step is 4; write 0, or ppo\.estimator = n_step: gae does not use it"),
        (
            {"ppo_estimator": "td", "ppo_n_step": 4},
            r"ppo\.n_step is 4; write 0, or ppo\.estimator = n_step: td does not use it",
        ),
        ({"ppo_estimator": "n_step"}, r"ppo\.n_step is 0; write at least 1, for ppo\.estimator = n_step"),
        ({"ppo_updates_per_batch": 3}, r"ppo\.updates_per_batch is 3; write between 1 and rollout\.pages_per_step"),
        (
            {"rollout_group_size": 1, "reward_permute": True},
            r"reward\.permute is True; write false, or rollout\.group_size",
        ),
    ],
)
def test_invalid_settings_are_refused_with_what_to_write_instead(changes, message):
    with pytest.raises(ValueError, match=message):
        check(replace(make_recipe(**changes), algorithm="ppo"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ppo.clip=0.0", "ppo.clip is 0.0; write a number above 0 and below 1"),
        ("ppo.lam=1.5", "ppo.lam is 1.5; write a number from 0 to 1"),
        ("rollout.group_size=0", "rollout.group_size is 0; write an integer of at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_refused(override, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_recipe("ppo", [override])


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"ppo_lam": 1.0}, []),
        ({"ppo_estimator": "td"}, []),
        ({"ppo_estimator": "td", "ppo_lam": 1.0}, ["ppo.lam = 1.0 has no effect: ppo.estimator is td"]),
    ],
)
def test_a_lambda_that_no_estimator_uses_is_named(changes, lines):
    recipe = replace(make_recipe(**changes), algorithm="ppo", grpo=GrpoConfig())
    assert without_effect(check(recipe)) == lines


def test_a_group_of_one_is_refused_if_siblings_are_compared():
    check(replace(make_recipe(rollout_group_size=1), algorithm="ppo"))
    with pytest.raises(ValueError, match=r"rollout\.group_size is 1; write at least 2"):
        check(replace(Recipe(), rollout=make_recipe(rollout_group_size=1).rollout))
