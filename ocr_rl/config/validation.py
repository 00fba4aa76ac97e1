"""Rules between the settings of a recipe. The bounds of each single one are in the schema."""

from __future__ import annotations

from functools import reduce
from math import inf

from ocr_rl.config.presets import PRESETS
from ocr_rl.config.schema import OWN_SECTIONS, Recipe

Rules = list[tuple[bool, str, str]]
"""Whether it holds, the key, and what to write instead."""


def check(recipe: Recipe) -> Recipe:
    """The recipe, if all rules hold. Raises ValueError with the key, the value and what to write."""
    sections = (
        _model_rules,
        _data_rules,
        _rollout_rules,
        _reward_rules,
        _grpo_rules,
        _ppo_rules,
        _preference_rules,
        _train_rules,
        _budget_rules,
    )
    for ok, key, want in (rule for section in sections for rule in section(recipe)):
        if not ok:
            raise ValueError(f"{key} is {reduce(getattr, key.split('.'), recipe)!r}; write {want}")
    return recipe


def _model_rules(recipe: Recipe) -> Rules:
    model, words = recipe.model, {"all-linear", "language", "vision"}
    presets = ["auto", "none", *(preset.format.preset for preset in PRESETS)]
    return [
        (model.preset in presets, "model.preset", f"one of {', '.join(presets)}"),
        (
            len(model.lora_targets) == 1 or (bool(model.lora_targets) and words.isdisjoint(model.lora_targets)),
            "model.lora_targets",
            f"one of {', '.join(sorted(words))}, or names of layers",
        ),
        (
            model.lora_targets != ["vision"] or not model.freeze_vision,
            "model.freeze_vision",
            "false, or model.lora_targets = language",
        ),
    ]


def _data_rules(recipe: Recipe) -> Rules:
    render = recipe.render
    return [
        (render.lines == sorted(render.lines), "render.lines", "the lower number first"),
        (render.characters == sorted(render.characters), "render.characters", "the lower number first"),
    ]


def _rollout_rules(recipe: Recipe) -> Rules:
    vllm, stop = recipe.vllm, recipe.vllm.stop_repetition
    return [
        (
            not recipe.model.quantize or recipe.rollout.engine == "transformers",
            "model.quantize",
            '"", or rollout.engine = "transformers": vLLM does not take 4-bit weights from the trainer',
        ),
        (
            recipe.rollout.group_size >= 2 or recipe.algorithm in ("ppo", "ocd"),
            "rollout.group_size",
            "at least 2: a group of one has no advantage",
        ),
        (
            recipe.rollout.group_size >= 2 or not recipe.reward.weights.get("consensus"),
            "rollout.group_size",
            "at least 2: consensus compares the completions of a group",
        ),
        (
            not stop or (len(stop) == 2 and stop[1] >= 2),
            "vllm.stop_repetition",
            "a length and a count of at least 2, e.g. [20, 8], or []",
        ),
        (
            vllm.transfer == "nccl" or bool(vllm.transfer_folder),
            "vllm.transfer_folder",
            "a folder that all machines see, for vllm.transfer = folder",
        ),
        (
            len({url.rstrip("/").lower() for url in vllm.server}) == len(vllm.server),
            "vllm.server",
            "each address once",
        ),
    ]


def _reward_rules(recipe: Recipe) -> Rules:
    reward = recipe.reward
    return [
        (
            not reward.functions or reward.processes >= 1,
            "reward.processes",
            "at least 1: reward.functions are run in other processes, with a time limit",
        ),
    ]


def _grpo_rules(recipe: Recipe) -> Rules:
    grpo = recipe.grpo
    return [
        (
            grpo.updates_per_batch <= recipe.rollout.pages_per_step,
            "grpo.updates_per_batch",
            "between 1 and rollout.pages_per_step",
        ),
        (
            not grpo.reference_every or grpo.beta > 0,
            "grpo.reference_every",
            "0, or grpo.beta above 0: without a KL term there is no reference",
        ),
        (
            grpo.advantage != "decoupled" or grpo.kl_in == "loss",
            "grpo.kl_in",
            "loss: grpo.advantage = decoupled looks at the parts of the reward, and the KL is not one of them",
        ),
        (
            grpo.advantage != "decoupled" or not recipe.reward.permute,
            "reward.permute",
            "false: grpo.advantage = decoupled looks at the parts of the reward, which are not shuffled",
        ),
        (
            not grpo.reference_in_group or not recipe.reward.weights.get("consensus"),
            "grpo.reference_in_group",
            "false, or no consensus in reward.weights: a known text is not judged by its siblings",
        ),
        (
            not grpo.reference_in_group or not (recipe.reward.permute or recipe.reward.model),
            "grpo.reference_in_group",
            "false, or no reward.permute and no reward.model: the text has the reward of the rules",
        ),
        *_reward_to_go_rules(recipe),
        *_credit_rules(recipe),
    ]


def _credit_rules(recipe: Recipe) -> Rules:
    grpo = recipe.grpo
    if grpo.credit == "sequence":
        return []
    enough = 1 / (1 - grpo.credit_lambda) if grpo.credit_lambda < 1 else inf
    return [
        (
            not grpo.credit_cap or grpo.credit_cap >= enough * (1 - 1e-9),
            "grpo.credit_cap",
            f"0, or at least {enough:.3g}, 1 / (1 - grpo.credit_lambda): below that, ending costs less than reading on",
        ),
        (
            _has_place(recipe) or (grpo.credit_tests and bool(recipe.reward.weights.get("pass_rate"))),
            "grpo.credit",
            NO_PLACE + ", but for tests with grpo.credit_tests",
        ),
        (
            grpo.ratio == "token" or grpo.surrogate == "reinforce",
            "grpo.credit",
            f"sequence, or grpo.ratio = token: with {grpo.ratio} a completion is one action",
        ),
        (
            grpo.advantage != "decoupled" and (grpo.kl_in == "loss" or not grpo.beta),
            "grpo.credit",
            "sequence, or another grpo.advantage than decoupled and grpo.kl_in = loss",
        ),
        (
            not recipe.reward.permute and not recipe.reward.model,
            "grpo.credit",
            "sequence, or no reward.permute and no reward.model: neither has a place in the text",
        ),
    ]


def _reward_to_go_rules(recipe: Recipe) -> Rules:
    grpo = recipe.grpo
    if grpo.returns == "total":
        return []
    undivided = grpo.advantage == "leave_one_out" or (grpo.advantage == "group" and not grpo.divide_by_std)
    return [
        (
            grpo.beta > 0 and grpo.kl_in == "reward",
            "grpo.returns",
            "total, or grpo.beta above 0 and grpo.kl_in = reward: the KL alone gives each token a reward",
        ),
        (
            undivided,
            "grpo.returns",
            "total, or grpo.advantage = leave_one_out, or grpo.divide_by_std = false: reward_to_go has no deviation",
        ),
        (
            grpo.ratio == "token" or grpo.surrogate == "reinforce",
            "grpo.returns",
            f"total, or grpo.ratio = token: with {grpo.ratio} a completion is one action",
        ),
    ]


def _ppo_rules(recipe: Recipe) -> Rules:
    ppo = recipe.ppo
    return [
        (
            ppo.updates_per_batch <= recipe.rollout.pages_per_step,
            "ppo.updates_per_batch",
            "between 1 and rollout.pages_per_step",
        ),
        (
            ppo.n_step >= 1 or ppo.estimator != "n_step",
            "ppo.n_step",
            "at least 1, for ppo.estimator = n_step",
        ),
        (
            ppo.n_step == 0 or ppo.estimator == "n_step",
            "ppo.n_step",
            f"0, or ppo.estimator = n_step: {ppo.estimator} does not use it",
        ),
        (ppo.credit == "sequence" or _has_place(recipe), "ppo.credit", NO_PLACE),
        (
            ppo.credit == "sequence" or not (recipe.reward.permute or recipe.reward.model),
            "ppo.credit",
            "sequence, or no reward.permute and no reward.model: neither has a place in the text",
        ),
        (ppo.beta > 0 or not ppo.kl_target, "ppo.beta", "above 0: ppo.kl_target multiplies it"),
        (
            ppo.kl_in == "reward" or ppo.kl != "k1",
            "ppo.kl",
            "k2 or k3: in the loss the gradient of k1 is 0 on average",
        ),
        (
            recipe.rollout.group_size > 1 or not recipe.reward.permute,
            "reward.permute",
            "false, or rollout.group_size 2 or more: a group of one has nothing to shuffle",
        ),
    ]


def _has_place(recipe: Recipe) -> bool:
    """Whether a part of the reward is an edit distance, which can be divided over tokens."""
    return bool(recipe.reward.weights.get("similarity") or recipe.reward.weights.get("consensus"))


NO_PLACE = "sequence, or weigh similarity or consensus in reward.weights: these alone have a place in the text"


def _preference_rules(recipe: Recipe) -> Rules:
    dpo = recipe.dpo
    return [
        (
            recipe.algorithm != "reward-model" or not recipe.reward.model,
            "reward.model",
            'nothing ("") where algorithm is "reward-model": it learns from the rules',
        ),
        (
            not dpo.label_smoothing or dpo.loss in ("sigmoid", "robust"),
            "dpo.label_smoothing",
            f"0: the loss {dpo.loss} has none",
        ),
        (
            dpo.reference == "live" or bool(recipe.pairs.path),
            "dpo.reference",
            "live, or name a file in pairs.path: fresh pairs are not known before training",
        ),
    ]


def _train_rules(recipe: Recipe) -> Rules:
    train = recipe.train
    return [
        (
            train.eval_every >= 1 or not train.keep_best,
            "train.eval_every",
            f"at least 1: train.keep_best = {train.keep_best} chooses among evaluations",
        ),
        (
            not train.patience or bool(train.eval_every or recipe.budget.evaluations),
            "train.patience",
            "0, or train.eval_every at least 1: it counts evaluations",
        ),
        (
            not train.stop_on_alarm or (train.watch and bool(train.eval_every or recipe.budget.evaluations)),
            "train.stop_on_alarm",
            "false, or train.watch = true and train.eval_every at least 1: an evaluation raises the alarm",
        ),
        (
            train.shard == "none" or not recipe.model.quantize,
            "train.shard",
            'none, or model.quantize = "": weights in 4 bits are not divided',
        ),
        (
            train.shard == "none" or train.optimizer == "adamw",
            "train.shard",
            'none, or train.optimizer = "adamw": state in 8 bits is not divided',
        ),
        (
            train.shard != "none" or not train.offload,
            "train.offload",
            'false, or train.shard = "full": only divided weights can be in the machine\'s memory',
        ),
    ]


def trains_policy(recipe: Recipe) -> bool:
    """Whether its result is a policy rather than a reward model."""
    return recipe.algorithm != "reward-model"


def needs_labels(recipe: Recipe) -> bool:
    """Whether each page of the dataset must have a text or tests.

    The consensus of a page's completions needs neither, nor do functions alone, and pages that are not trained on are
    left out.
    """
    weights, functions = recipe.reward.weights, recipe.reward.functions
    own = {spec.rpartition(":")[2] for spec in functions}
    alone = bool(functions) and not any(weight for part, weight in weights.items() if part not in own)
    return not weights.get("consensus") and not alone and recipe.data.train == "all"


def samples(recipe: Recipe) -> bool:
    """Whether it learns from completions that it samples."""
    return recipe.algorithm != "sft" and not (recipe.pairs.path and "pairs" in OWN_SECTIONS[recipe.algorithm])


def _budget_rules(recipe: Recipe) -> Rules:
    budget = recipe.budget
    return [
        (
            not budget.completions or samples(recipe),
            "budget.completions",
            f"0: {recipe.algorithm} samples none here; give budget.pages or budget.seconds",
        ),
        (
            recipe.train.schedule == "constant" or not (budget.pages or budget.completions or budget.seconds),
            "train.schedule",
            "constant: the others end at train.steps, and the budget may end the run before",
        ),
    ]
