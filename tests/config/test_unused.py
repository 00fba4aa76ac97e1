"""A setting that has no effect in a recipe is named, with the reason."""

import pytest

from ocr_rl.config.loader import load_recipe, recipe_names
from ocr_rl.config.unused import without_effect


@pytest.mark.parametrize("name", recipe_names())
def test_every_setting_of_a_shipped_recipe_has_an_effect(name):
    assert without_effect(load_recipe(name)) == []


@pytest.mark.parametrize(
    ("recipe", "overrides", "line"),
    [
        ("grpo", ["dpo.beta=0.5"], "dpo.beta = 0.5 has no effect: algorithm is grpo"),
        ("orpo", ["dpo.beta=0.5"], "dpo.beta = 0.5 has no effect: algorithm is orpo"),
        ("sft", ["pairs.path=a.jsonl"], "pairs.path = 'a.jsonl' has no effect: algorithm is sft"),
        (
            "sft",
            ["data.evaluate=test", "train.patience=2", "train.eval_every=1", "train.stop_on_alarm=true"],
            "train.stop_on_alarm = True has no effect: data.evaluate is test, and evaluations choose a step by other "
            "pages",
        ),
        ("grpo", ["model.lora_alpha=64"], "model.lora_alpha = 64 has no effect: model.lora_rank is 0"),
        (
            "grpo",
            ["model.lora_targets=language"],
            "model.lora_targets = ['language'] has no effect: model.lora_rank is 0",
        ),
        ("sft", ["rollout.group_size=8"], "rollout.group_size = 8 has no effect: sft samples no completions here"),
        (
            "dpo",
            ["pairs.path=a.jsonl", "reward.permute=true"],
            "reward.permute = True has no effect: dpo samples no completions here",
        ),
        (
            "reward-model",
            ["rollout.correction=none"],
            "rollout.correction = 'none' has no effect: reward-model has no ratio to correct",
        ),
        (
            "grpo",
            ["rollout.correction=none", "rollout.correction_cap=3"],
            "rollout.correction_cap = 3.0 has no effect: rollout.correction is none",
        ),
        (
            "grpo",
            ["rollout.engine=transformers", "vllm.sleep=true"],
            "vllm.sleep = True has no effect: rollout.engine is transformers",
        ),
        (
            "grpo",
            ["rollout.engine=transformers", "vllm.server=http://gpu2:8000"],
            "vllm.server = ['http://gpu2:8000'] has no effect: rollout.engine is transformers",
        ),
        ("grpo", ["vllm.transfer_folder=a"], "vllm.transfer_folder = 'a' has no effect: vllm.server is empty"),
        (
            "grpo",
            ["vllm.server=http://gpu2:8000", "vllm.sleep=true"],
            "vllm.sleep = True has no effect: vllm.server has its own settings",
        ),
        ("grpo", ["reward.model_weight=0.5"], "reward.model_weight = 0.5 has no effect: reward.model is empty"),
        ("reinforce", ["grpo.ratio=sequence"], "grpo.ratio = 'sequence' has no effect: grpo.surrogate is reinforce"),
        (
            "grpo",
            ["grpo.clip_high=0.28"],
            "grpo.clip_high = 0.28 has no effect: with one update per batch the ratio is 1",
        ),
        ("grpo", ["grpo.kl=k1"], "grpo.kl = 'k1' has no effect: grpo.beta is 0"),
        (
            "rloo",
            ["grpo.divide_by_std=false"],
            "grpo.divide_by_std = False has no effect: grpo.advantage is leave_one_out",
        ),
        ("rloo", ["grpo.min_group_std=0.1"], "grpo.min_group_std = 0.1 has no effect: grpo.advantage is leave_one_out"),
        ("ppo", ["ppo.kl=k3"], "ppo.kl = 'k3' has no effect: ppo.beta is 0"),
        (
            "dpo",
            ["pairs.path=a.jsonl", "pairs.margin=0.2"],
            "pairs.margin = 0.2 has no effect: pairs.path has the pairs",
        ),
        ("kto", ["pairs.choose=margin"], "pairs.choose = 'margin' has no effect: kto learns from labels"),
        ("dpo", ["pairs.dead_zone=0.1"], "pairs.dead_zone = 0.1 has no effect: dpo learns from pairs"),
        ("dpo", ["pairs.most=4"], "pairs.most = 4 has no effect: pairs.choose is best-worst"),
        ("kto", ["pairs.threshold=0.7"], "pairs.threshold = 0.7 has no effect: pairs.label is mean"),
        ("grpo", ["train.eval_every=61"], "train.eval_every = 61 has no effect: train.steps is 60"),
        ("grpo", ["train.learning_rate=0"], "train.learning_rate = 0: no weight changes"),
        (
            "grpo",
            ["train.warmup_steps=600"],
            "train.warmup_steps = 600: training ends after step 60, at a learning rate of 1e-05, not 0.0001",
        ),
    ],
)
def test_a_setting_without_effect_is_named_with_the_reason(recipe, overrides, line):
    assert without_effect(load_recipe(recipe, overrides)) == [line]


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("grpo", ["grpo.beta=0.01", "grpo.kl=k1"]),
        ("grpo", ["grpo.inner_epochs=2", "grpo.clip_high=0.28"]),
        ("rloo", ["grpo.refill=2", "grpo.min_group_std=0.1"]),
        ("dpo", ["pairs.choose=margin", "pairs.most=4"]),
        ("kto", ["pairs.label=threshold", "pairs.threshold=0.7"]),
        ("grpo", ["vllm.sleep=true"]),  # engine = auto may take vLLM
        ("sft", ["rollout.pages_per_step=8", "rollout.temperature=0.5"]),
        ("ppo", ["ppo.beta=0.1", "ppo.kl=k3"]),
        ("grpo", ["train.eval_every=60", "train.warmup_steps=60"]),
        ("grpo", ["train.steps=0", "budget.seconds=60", "train.eval_every=10", "train.warmup_steps=5"]),
    ],
)
def test_a_setting_with_an_effect_is_not_named(recipe, overrides):
    assert without_effect(load_recipe(recipe, overrides)) == []
