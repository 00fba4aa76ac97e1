"""The dry run's plan: each part by worked numbers, what fits where, and what to change."""

from dataclasses import replace

import pytest
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from helpers.tiny_models import make_page, make_recipe
from ocr_rl.config.schema import ModelConfig, PpoConfig
from ocr_rl.models.footprint import OUTSIDE, Footprint, Weights, gathered_weights
from ocr_rl.pipeline import memory_plan as module
from ocr_rl.pipeline.memory_plan import Machine, memory_plan, micro_batch, plan_memory, say_plan
from ocr_rl.training.resources import resident_memory

FOUND = Footprint(
    prompt_tokens=100,
    read={"layer": 1000, OUTSIDE: 10},
    row={"layer": 200, OUTSIDE: 2},
    once={"layer": 50, OUTSIDE: 0},
    layers={"layer": 10, OUTSIDE: 1},
    width=8,
    cache_token=7,
    vocabulary=1000,
)
WEIGHTS = Weights(parameters=1000, trained=100, weights=4000)
ALONE = Machine(processes=1, memory=None, gpu=False, base=5)


def test_each_part_by_hand():
    """Two texts of 50 tokens: 10 x (1000 + 50 + 2 x 200) + 10 + 2 x 2, or 10 x (100 + 2 x 50) x 8 and one layer."""
    recipe = make_recipe(rollout_group_size=2, rollout_max_tokens=50, rollout_pages_per_step=3, rollout_rows=4)
    plan = memory_plan(recipe, WEIGHTS, FOUND, ALONE)
    assert (plan.weights, plan.gradients, plan.optimizer, plan.reference) == (4000, 400, 800, 0)
    assert plan.activations == 14_500 + 14
    assert plan.logits == 5 * 4 * 1000 * 100
    assert plan.cache == 4 * 150 * 7 + 4 * 4 * 1000 * 4  # four rows at a time, of two pages
    assert plan.learning == 5 + 4000 + 800 + 400 + plan.activations + plan.logits
    assert plan.total == plan.learning
    recomputed = replace(recipe, model=ModelConfig(gradient_checkpointing=True))
    assert memory_plan(recomputed, WEIGHTS, FOUND, ALONE).activations == 14 + 16_000 + 1450


def test_vllm_has_its_share_of_a_gpu_or_sleeps():
    recipe = make_recipe(rollout_group_size=2, rollout_max_tokens=50, rollout_engine="vllm")
    machine = Machine(1, 10**8, True, 5)
    plan = memory_plan(recipe, WEIGHTS, FOUND, machine)
    assert plan.vllm == 45_000_000
    assert plan.cache == 0
    assert plan.total == plan.learning + plan.vllm
    asleep = replace(recipe, vllm=replace(recipe.vllm, sleep=True))
    assert memory_plan(asleep, WEIGHTS, FOUND, machine).total == 5 + 4000 + 800 + 45_000_000
    elsewhere = replace(recipe, vllm=replace(recipe.vllm, server="http://gpu2:8000"))
    assert memory_plan(elsewhere, WEIGHTS, FOUND, machine).vllm == 0


def test_divided_weights_are_an_eighth_on_each_of_eight():
    recipe = make_recipe(rollout_group_size=2, rollout_max_tokens=50, train_shard="full")
    plan = memory_plan(recipe, WEIGHTS, FOUND, ALONE._replace(processes=8))
    assert (plan.weights, plan.gradients, plan.optimizer) == (500, 48, 96)
    assert plan.activations == memory_plan(recipe, WEIGHTS, FOUND, ALONE).activations


def test_offloaded_weights_leave_the_gpu_but_for_what_is_gathered():
    """Of eight processes each: 4000 / 8 of weights, 12 trained of 4 + 8 bytes, and a reference of 400 / 8."""
    whole = replace(WEIGHTS, gathered=70, whole=2000)
    options = {"rollout_group_size": 2, "rollout_max_tokens": 50, "rollout_engine": "transformers"}
    eight = Machine(8, None, True, 5)

    def planned(machine=eight, **changes):
        return memory_plan(make_recipe(**options, grpo_beta=0.1, **changes), whole, FOUND, machine)

    plan, held = planned(train_shard="full", train_offload=True), planned(train_shard="full")
    assert (plan.weights, plan.gradients, plan.optimizer, plan.reference, plan.reward_model) == (0, 0, 0, 0, 0)
    assert plan.offloaded == 500 + 48 + 96 + 50
    assert plan.learning == 5 + 70 + plan.activations + plan.logits == held.learning - plan.offloaded
    assert plan.cache == held.cache == planned().cache + 2000
    assert list(plan.lines())[-1] == (
        "  and 0 MiB of the machine's memory for each: weights, gradients, optimiser state"
    )
    cpu = eight._replace(gpu=False)
    assert planned(cpu, train_shard="full", train_offload=True) == planned(cpu, train_shard="full")
    one = eight._replace(processes=1)
    assert planned(one, train_shard="full", train_offload=True) == planned(one)


def test_what_is_gathered_is_counted_by_hand():
    """2 x 3 outside; layers of 2 x 2 and 5 x 5. In bfloat16 two copies of one, and gradients of 2 + 4 bytes."""

    class Layer(GradientCheckpointingLayer):
        def __init__(self, size):
            super().__init__()
            self.linear = torch.nn.Linear(size, size, bias=False)

    model = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), Layer(2), Layer(5))
    assert gathered_weights(model, 2) == 6 * (2 + 6) + 25 * (2 * 2 + 6)
    assert gathered_weights(model, 4) == 6 * (4 + 4) + 25 * (2 * 4 + 4)
    model[2].requires_grad_(False)
    assert gathered_weights(model, 2) == 6 * (2 + 6) + 25 * 2 * 2


def test_offloading_is_advised_where_weights_can_be_divided():
    recipe = make_recipe(rollout_group_size=8, rollout_max_tokens=64, rollout_engine="transformers", train_shard="full")
    recipe, said = replace(recipe, model=ModelConfig(path="tiny")), []
    assert not say_plan(recipe, [make_page(0, (200, 100))], Machine(2, 1000, True, 0), said.append)
    assert any(line.startswith("  --set train.offload=true leaves") for line in said[-1].splitlines())
    assert any(line.startswith("  gathered") for line in said)


def test_hybrid_divides_among_the_processes_of_a_machine_alone():
    machine = module.planned_machine(processes=16, on_this_machine=8)._replace(base=5)
    full, hybrid = (
        memory_plan(make_recipe(train_shard=shard), WEIGHTS, FOUND, machine) for shard in ("full", "hybrid")
    )
    assert (full.weights, full.gradients, full.optimizer) == (250, 24, 48)
    assert (hybrid.weights, hybrid.gradients, hybrid.optimizer) == (500, 48, 96)
    assert hybrid.cache == full.cache
    alone = module.planned_machine(8, 80.0, processes=16, on_this_machine=8)
    assert memory_plan(make_recipe(train_shard="hybrid"), WEIGHTS, FOUND, alone).weights == 500


def test_a_separate_critic_is_a_second_model_and_a_reward_model_has_weights_alone():
    recipe = replace(make_recipe(), algorithm="ppo", ppo=PpoConfig(critic="separate", beta=0.1))
    plan = memory_plan(recipe, WEIGHTS, FOUND, ALONE, reward_model=3000)
    assert (plan.weights, plan.gradients, plan.optimizer) == (8000, 800, 1600)
    assert (plan.reference, plan.reward_model) == (400, 3000)
    assert any(line.split()[:2] == ["reward", "model"] for line in plan.lines())


def test_a_micro_batch_is_what_the_learner_holds():
    recipe = make_recipe(rollout_group_size=8, rollout_max_tokens=100, train_micro_batch_tokens=350)
    assert micro_batch(recipe) == 3
    assert micro_batch(replace(recipe, algorithm="sft")) == 1
    assert micro_batch(make_recipe(rollout_group_size=8, rollout_max_tokens=100, train_micro_batch_tokens=99)) == 1


def test_what_does_not_fit_says_what_to_change_until_it_does():
    recipe = make_recipe(rollout_group_size=8, rollout_max_tokens=64, rollout_engine="transformers")
    recipe = replace(recipe, model=ModelConfig(path="tiny"))
    pages, said = [make_page(i, (200, 100)) for i in range(3)], []
    needed = plan_memory(recipe, pages, Machine(1, None, False, 0)).total
    assert say_plan(recipe, pages, Machine(2, needed, True, 0), said.append)
    assert said[0].startswith("memory plan, each of 2 GPUs: ")
    assert "which does not fit" not in said[0]
    said.clear()
    assert not say_plan(recipe, pages, Machine(1, int(0.75 * needed), True, 0), said.append)
    assert said[0].endswith(", which does not fit")
    assert any(line.startswith("  activations") for line in said)
    assert said[-1].startswith("  --set model.gradient_checkpointing=true leaves ")
    said.clear()
    assert not say_plan(recipe, pages, Machine(1, 1000, True, 0), said.append)
    assert said[-1].splitlines()[-1].startswith("  it still does not fit; take a smaller model")


def test_advice_builds_a_model_once_for_all_changes_that_keep_it(monkeypatch):
    built = []
    build = module.build
    monkeypatch.setattr(module, "build", lambda recipe, *rest: built.append(recipe.model) or build(recipe, *rest))
    recipe = make_recipe(rollout_group_size=8, rollout_max_tokens=64, rollout_engine="transformers")
    recipe, said = replace(recipe, model=ModelConfig(path="tiny")), []
    assert not say_plan(recipe, [make_page(0, (200, 100))], Machine(1, 1000, True, 0), said.append)
    assert len(said[-1].splitlines()) > len(built)
    assert [(model.lora_rank, model.quantize) for model in built] == [(0, ""), (16, ""), (16, "nf4")]


def test_without_a_gpu_a_process_takes_what_this_one_does_after_computing():
    recipe = replace(make_recipe(), model=ModelConfig(path="tiny"))
    plan = plan_memory(recipe, [make_page(0, (200, 100))], Machine(1, None, False, None))
    assert plan.base == pytest.approx(resident_memory(), rel=0.2)


def test_a_planned_machine_is_what_the_options_say():
    assert module.planned_machine(8, 80.0) == Machine(8, 80 * 10**9, True, module.CUDA_CONTEXT)
    assert module.planned_machine(None, 24.0).processes == 1


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "grpo", "ppo", "ocd", "reward-model", "kto", "orpo"])
def test_every_algorithm_has_a_plan(algorithm):
    plan = memory_plan(replace(make_recipe(), algorithm=algorithm), WEIGHTS, FOUND, ALONE)
    assert plan.total > WEIGHTS.weights
