"""What the types of a recipe cannot say: which values go together, and within which bounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_rl.config.schema import Recipe

Rules = list[tuple[bool, str, object, str]]
"""Whether it holds, the key, its value, and what to write instead."""


def check(recipe: Recipe) -> Recipe:
    """The recipe, if all rules hold. Raises ValueError with the key, the value and what to write."""
    sections = (
        _data_rules,
        _rollout_rules,
        _grpo_rules,
        _ppo_rules,
        _preference_rules,
        _reward_model_rules,
        _train_rules,
        _budget_rules,
    )
    for ok, key, value, want in (rule for section in sections for rule in section(recipe)):
        if not ok:
            raise ValueError(f"{key} is {value}; write {want}")
    return recipe


def _data_rules(recipe: Recipe) -> Rules:
    data = recipe.data
    return [
        (0 < data.validation < 1, "data.validation", data.validation, "a share between 0 and 1"),
        (recipe.render.pages >= 2, "render.pages", recipe.render.pages, "at least 2: one is held out"),
        (
            len(recipe.render.lines) == 2,
            "render.lines",
            recipe.render.lines,
            "the least and the most, e.g. [2, 4]",
        ),
        (
            len(recipe.render.characters) == 2,
            "render.characters",
            recipe.render.characters,
            "the least and the most, e.g. [8, 20]",
        ),
    ]


def _rollout_rules(recipe: Recipe) -> Rules:
    rollout = recipe.rollout
    return [
        (
            rollout.group_size >= (1 if recipe.algorithm == "ppo" else 2),
            "rollout.group_size",
            rollout.group_size,
            "at least 1" if recipe.algorithm == "ppo" else "at least 2: a group of one has no advantage",
        ),
        (
            rollout.temperature > 0,
            "rollout.temperature",
            rollout.temperature,
            "above 0: greedy groups have no spread",
        ),
        (rollout.max_tokens >= 1, "rollout.max_tokens", rollout.max_tokens, "at least 1"),
        (
            len(recipe.vllm.stop_repetition) in (0, 2),
            "vllm.stop_repetition",
            recipe.vllm.stop_repetition,
            "two numbers, e.g. [20, 8], or []",
        ),
        (0 < recipe.vllm.memory_share < 1, "vllm.memory_share", recipe.vllm.memory_share, "a share between 0 and 1"),
        (
            recipe.vllm.transfer == "nccl" or bool(recipe.vllm.transfer_folder),
            "vllm.transfer_folder",
            f'"{recipe.vllm.transfer_folder}"',
            "a folder that both machines see, for vllm.transfer = folder",
        ),
        (recipe.vllm.timeout_s > 0, "vllm.timeout_s", recipe.vllm.timeout_s, "above 0"),
        (rollout.correction_cap >= 1, "rollout.correction_cap", rollout.correction_cap, "at least 1"),
        (recipe.reward.processes >= 0, "reward.processes", recipe.reward.processes, "0 or more"),
        (rollout.pages_per_step >= 1, "rollout.pages_per_step", rollout.pages_per_step, "at least 1"),
    ]


def _grpo_rules(recipe: Recipe) -> Rules:
    grpo = recipe.grpo
    return [
        (grpo.inner_epochs >= 1, "grpo.inner_epochs", grpo.inner_epochs, "at least 1"),
        (
            1 <= grpo.updates_per_batch <= recipe.rollout.pages_per_step,
            "grpo.updates_per_batch",
            grpo.updates_per_batch,
            "between 1 and rollout.pages_per_step",
        ),
        (grpo.refill >= 0, "grpo.refill", grpo.refill, "0 or more"),
        (grpo.reference_every >= 0, "grpo.reference_every", grpo.reference_every, "0 or more"),
        (
            not grpo.reference_every or grpo.beta > 0,
            "grpo.reference_every",
            grpo.reference_every,
            "0, or grpo.beta above 0: without a KL term there is no reference",
        ),
        (
            grpo.advantage != "decoupled" or grpo.kl_in == "loss",
            "grpo.kl_in",
            grpo.kl_in,
            "loss: grpo.advantage = decoupled looks at the parts of the reward, and the KL is none of them",
        ),
        (
            grpo.advantage != "decoupled" or not recipe.reward.permute,
            "reward.permute",
            recipe.reward.permute,
            "false: grpo.advantage = decoupled looks at the parts of the reward, which stay in place",
        ),
    ]


def _ppo_rules(recipe: Recipe) -> Rules:
    ppo, most = recipe.ppo, recipe.rollout.pages_per_step
    updates = "between 1 and rollout.pages_per_step"
    return [
        (ppo.inner_epochs >= 1, "ppo.inner_epochs", ppo.inner_epochs, "at least 1"),
        (1 <= ppo.updates_per_batch <= most, "ppo.updates_per_batch", ppo.updates_per_batch, updates),
        (0 < ppo.clip < 1, "ppo.clip", ppo.clip, "a share between 0 and 1"),
        (ppo.value_clip >= 0, "ppo.value_clip", ppo.value_clip, "0 or more"),
        (0 <= ppo.gamma <= 1, "ppo.gamma", ppo.gamma, "a factor from 0 to 1"),
        (0 <= ppo.lam <= 1, "ppo.lam", ppo.lam, "a factor from 0 to 1"),
        (ppo.critic_width >= 0, "ppo.critic_width", ppo.critic_width, "0 or more"),
        (ppo.critic_rate > 0, "ppo.critic_rate", ppo.critic_rate, "above 0"),
        (ppo.critic_warmup >= 0, "ppo.critic_warmup", ppo.critic_warmup, "0 or more"),
        (ppo.beta >= 0, "ppo.beta", ppo.beta, "0 or more"),
        (ppo.kl_target >= 0, "ppo.kl_target", ppo.kl_target, "0 or more"),
        (ppo.beta > 0 or not ppo.kl_target, "ppo.beta", ppo.beta, "above 0: ppo.kl_target multiplies it"),
        (
            ppo.kl_in == "reward" or ppo.kl != "k1",
            "ppo.kl",
            ppo.kl,
            "k2 or k3: in the loss the gradient of k1 is 0 on average",
        ),
        (ppo.missing_end_penalty >= 0, "ppo.missing_end_penalty", ppo.missing_end_penalty, "0 or more"),
        (
            recipe.rollout.group_size > 1 or not recipe.reward.permute,
            "reward.permute",
            recipe.reward.permute,
            "false, or rollout.group_size 2 or more: a group of one has nothing to shuffle",
        ),
    ]


def _reward_model_rules(recipe: Recipe) -> Rules:
    own, reward = recipe.reward_model, recipe.reward
    return [
        (own.margin > 0, "reward_model.margin", own.margin, "above 0: completions of equal reward are no pair"),
        (own.pairs_per_page >= 1, "reward_model.pairs_per_page", own.pairs_per_page, "at least 1"),
        (own.centring >= 0, "reward_model.centring", own.centring, "0 or more"),
        (own.width >= 0, "reward_model.width", own.width, "0 or more"),
        (own.rate > 0, "reward_model.rate", own.rate, "above 0"),
        (0 < reward.model_weight <= 1, "reward.model_weight", reward.model_weight, "a share above 0, at most 1"),
        (
            recipe.algorithm != "reward-model" or not reward.model,
            "reward.model",
            f'"{reward.model}"',
            'nothing ("") where algorithm is "reward-model": it learns from the rules',
        ),
    ]


def _preference_rules(recipe: Recipe) -> Rules:
    pairs = recipe.pairs
    return [
        (pairs.margin > 0, "pairs.margin", pairs.margin, "above 0: completions of equal reward are no pair"),
        (pairs.most >= 1, "pairs.most", pairs.most, "at least 1"),
        (pairs.dead_zone >= 0, "pairs.dead_zone", pairs.dead_zone, "0 or more"),
        (recipe.dpo.beta > 0, "dpo.beta", recipe.dpo.beta, "above 0"),
        (
            0 <= recipe.dpo.label_smoothing < 0.5,
            "dpo.label_smoothing",
            recipe.dpo.label_smoothing,
            "a share from 0 to under 0.5",
        ),
        (
            not recipe.dpo.label_smoothing or recipe.dpo.loss in ("sigmoid", "robust"),
            "dpo.label_smoothing",
            recipe.dpo.label_smoothing,
            f"0: the loss {recipe.dpo.loss} has none",
        ),
        (
            recipe.dpo.reference == "live" or bool(pairs.path),
            "dpo.reference",
            recipe.dpo.reference,
            "live, or name a file in pairs.path: fresh pairs are not known before training",
        ),
        (recipe.kto.beta > 0, "kto.beta", recipe.kto.beta, "above 0"),
        (recipe.kto.desirable_weight >= 0, "kto.desirable_weight", recipe.kto.desirable_weight, "0 or more"),
        (recipe.kto.undesirable_weight >= 0, "kto.undesirable_weight", recipe.kto.undesirable_weight, "0 or more"),
        (recipe.orpo.beta >= 0, "orpo.beta", recipe.orpo.beta, "0 or more"),
    ]


def _train_rules(recipe: Recipe) -> Rules:
    train = recipe.train
    return [
        (train.steps >= 0, "train.steps", train.steps, "0 or more"),
        (train.learning_rate >= 0, "train.learning_rate", train.learning_rate, "0 or more"),
        (train.micro_batch_tokens >= 1, "train.micro_batch_tokens", train.micro_batch_tokens, "at least 1"),
        (train.keep_checkpoints >= 1, "train.keep_checkpoints", train.keep_checkpoints, "at least 1"),
        (
            train.eval_every >= 1 or not train.keep_best,
            "train.eval_every",
            train.eval_every,
            f"at least 1: train.keep_best = {train.keep_best} chooses among evaluations",
        ),
        (len(train.betas) == 2, "train.betas", train.betas, "two numbers"),
    ]


def samples(recipe: Recipe) -> bool:
    """Whether it learns from completions that it samples."""
    return recipe.algorithm != "sft" and not (recipe.pairs.path and recipe.algorithm in ("dpo", "orpo", "kto"))


def _budget_rules(recipe: Recipe) -> Rules:
    budget = recipe.budget
    return [
        (budget.pages >= 0, "budget.pages", budget.pages, "0 or more"),
        (budget.completions >= 0, "budget.completions", budget.completions, "0 or more"),
        (
            not budget.completions or samples(recipe),
            "budget.completions",
            budget.completions,
            f"0: {recipe.algorithm} samples none here; give budget.pages or budget.seconds",
        ),
        (budget.seconds >= 0, "budget.seconds", budget.seconds, "0 or more"),
        (budget.evaluations >= 0, "budget.evaluations", budget.evaluations, "0 or more"),
        (
            recipe.train.schedule == "constant" or not (budget.pages or budget.completions or budget.seconds),
            "train.schedule",
            recipe.train.schedule,
            "constant: the others end at train.steps, and the budget may end the run before",
        ),
    ]
