"""Settings that have no effect in a recipe, so that a run can name them when it starts."""

from __future__ import annotations

from ocr_rl.config.schema import OWN_SECTIONS, Recipe
from ocr_rl.config.validation import samples

Unused = list[tuple[bool, str, str]]
"""Whether keys have no effect, the keys of a section ("grpo.kl kl_in") or the section, and why."""


def without_effect(recipe: Recipe) -> list[str]:
    """A line for each setting that differs from its default although it has no effect, with the reason."""
    lines: dict[str, str] = {}
    for unused, names, reason in _of_algorithms(recipe) + _of_shared_sections(recipe) + _of_own_section(recipe):
        section, _, keys = names.partition(".")
        values, defaults = vars(getattr(recipe, section)), vars(getattr(Recipe(), section))
        for key in keys.split() or values:
            if unused and values[key] != defaults[key]:
                lines.setdefault(f"{section}.{key}", f"{section}.{key} = {values[key]!r} has no effect: {reason}")
    return [*lines.values(), *_idle(recipe)]


def _idle(recipe: Recipe) -> list[str]:
    """What makes training do nothing, or less than it seems."""
    train, lines = recipe.train, []
    if not train.learning_rate:
        lines.append("train.learning_rate = 0: no weight changes")
    if train.steps and train.warmup_steps > train.steps:
        rate = train.learning_rate * train.steps / train.warmup_steps
        lines.append(
            f"train.warmup_steps = {train.warmup_steps}: training ends after step {train.steps}, at a learning rate of "
            f"{rate:.2g}, not {train.learning_rate:g}"
        )
    return lines


def _of_algorithms(recipe: Recipe) -> Unused:
    own = OWN_SECTIONS[recipe.algorithm]
    others = dict.fromkeys(name for names in OWN_SECTIONS.values() for name in names)
    return [(name not in own, name, f"algorithm is {recipe.algorithm}") for name in others]


def _of_shared_sections(recipe: Recipe) -> Unused:
    rollout, vllm, steps, level = recipe.rollout, recipe.vllm, recipe.train.steps, recipe.data.level
    ratios = recipe.algorithm in ("grpo", "ppo")
    sampled = "rollout.group_size correction correction_cap ahead"
    elsewhere = rollout.engine == "vllm" or (rollout.engine == "auto" and bool(vllm.server))
    choosing = recipe.data.evaluate == "test" and recipe.train.chooses
    return [
        (elsewhere, "rollout.readers", "vLLM's own threads read pages"),
        (level == "page", "data.mask deskew padding", "data.level is page"),
        (level == "region", "data.deskew", "regions have no baseline"),
        (not recipe.model.lora_rank, "model.lora_alpha lora_targets", "model.lora_rank is 0"),
        (not samples(recipe), sampled, f"{recipe.algorithm} samples no completions here"),
        (not ratios, "rollout.correction correction_cap", f"{recipe.algorithm} has no ratio to correct"),
        (rollout.correction == "none", "rollout.correction_cap", "rollout.correction is none"),
        (rollout.engine == "transformers", "vllm", "rollout.engine is transformers"),
        (not vllm.server, "vllm.transfer transfer_folder", "vllm.server is empty"),
        (
            bool(vllm.server),
            "vllm.memory_share kv_cache_gib sleep",
            "vllm.server has its own settings",
        ),
        (vllm.transfer != "folder", "vllm.transfer_folder", f"vllm.transfer is {vllm.transfer}"),
        (not recipe.reward.model, "reward.model_weight", "reward.model is empty"),
        (not recipe.reward.weights.get("consensus"), "reward.agreement", "reward.weights has no consensus"),
        (bool(recipe.reward.compat), "reward.unsupported", f"with {recipe.reward.compat}, tests pay in full"),
        (not samples(recipe), "reward.permute", f"{recipe.algorithm} samples no completions here"),
        (choosing, "train.watch stop_on_alarm", "data.evaluate is test, and evaluations choose a step by other pages"),
        (0 < steps < recipe.train.eval_every, "train.eval_every", f"train.steps is {steps}"),
    ]


def _of_own_section(recipe: Recipe) -> Unused:
    grpo, ppo, pairs = recipe.grpo, recipe.ppo, recipe.pairs
    one_update = grpo.updates_per_batch == grpo.inner_epochs == 1
    kto = recipe.algorithm == "kto"
    return [
        (grpo.surrogate == "reinforce", "grpo.clip_low clip_high ratio", "grpo.surrogate is reinforce"),
        (one_update, "grpo.clip_low clip_high", "with one update per batch the ratio is 1"),
        (not grpo.beta, "grpo.kl kl_in", "grpo.beta is 0"),
        (grpo.advantage != "group", "grpo.divide_by_std", f"grpo.advantage is {grpo.advantage}"),
        (
            grpo.advantage not in ("group", "decoupled") and not grpo.refill,
            "grpo.min_group_std",
            f"grpo.advantage is {grpo.advantage}",
        ),
        (
            grpo.credit == "sequence",
            "grpo.credit_lambda credit_cap credit_baseline credit_tests",
            "grpo.credit is sequence",
        ),
        (
            grpo.credit == "alignment" and not recipe.reward.weights.get("pass_rate"),
            "grpo.credit_tests",
            "reward.weights has no pass_rate",
        ),
        (recipe.ocd.learn == "rest", "ocd.choice", "ocd.learn is rest"),
        (not ppo.beta, "ppo.kl kl_in", "ppo.beta is 0"),
        (ppo.estimator != "gae", "ppo.lam", f"ppo.estimator is {ppo.estimator}"),
        (bool(pairs.path), "pairs.choose margin most label threshold dead_zone", "pairs.path has the pairs"),
        (kto, "pairs.choose margin most", "kto learns from labels"),
        (not kto, "pairs.label threshold dead_zone", f"{recipe.algorithm} learns from pairs"),
        (pairs.choose != "margin", "pairs.most", f"pairs.choose is {pairs.choose}"),
        (pairs.label != "threshold", "pairs.threshold", f"pairs.label is {pairs.label}"),
    ]
