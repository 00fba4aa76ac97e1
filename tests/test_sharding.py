"""Processes with divided weights make the update that one makes, resume bit for bit, and sample the same tokens.

The processes run this file too: see its end.
"""

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch.distributed.device_mesh import init_device_mesh

from helpers.grpo_steps import RUBRIC
from helpers.sharded import make_variant
from helpers.tiny_models import PAD, group, make_page, make_recipe, pages_of_different_sizes
from helpers.updates import CASES, TWICE, made
from ocr_rl import distributed
from ocr_rl.algorithms.grpo import GrpoTrainer
from ocr_rl.algorithms.ppo import PpoTrainer
from ocr_rl.algorithms.sft import SftTrainer
from ocr_rl.config.schema import ModelConfig
from ocr_rl.config.validation import check
from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.divided_tensors import is_divided, own_part
from ocr_rl.models.heads import ScalarHead
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.reward_model import RewardModel
from ocr_rl.models.sharding import mesh_of
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import ReadOnlyRunFolder, RunFolder
from ocr_rl.runs.resume import ResumePoint
from ocr_rl.training.checkpoint import load_checkpoint
from ocr_rl.training.loop import TrainingLoop

FEW = [
    ("grpo with a kl in the loss", "qwen", "recomputed"),
    ("ocd", "lighton", "tied"),
    ("kto", "lighton", "lora frozen recomputed"),
    ("ppo with a separate critic", "qwen", "frozen"),
    ("reward model", "lighton", ""),
    ("grpo with a kl in the loss", "qwen", "offloaded recomputed"),
    ("ppo with a separate critic", "lighton", "offloaded lora frozen"),
]
"""An update, an architecture, a variant."""
VARIANTS = ["recomputed", "frozen", "lora", "lora frozen recomputed", "tied", "tied recomputed", "tied lora"]
MANY = [
    *((name, architecture, "") for name in CASES | TWICE for architecture in ("lighton", "qwen")),
    *(("grpo with a kl in the loss", "lighton", variant) for variant in VARIANTS),
    *(("ppo with a separate critic", "qwen", variant) for variant in VARIANTS),
]
EACH = [("grpo", "qwen", ""), ("sft", "lighton", ""), ("ocd", "lighton", ""), ("dpo", "qwen", "recomputed"), *FEW]
"""Every algorithm."""
PAGES = [make_page(i, text="ab") for i in range(5)]


@cache
def alone(name, architecture, variant):
    """The update of one process, on the whole weights."""
    return made(make_variant(architecture, variant), name)


def divided(architecture="lighton", variant="", mesh=None, seed=0):
    """Only the first process has the right weights and buffers at first."""
    return make_variant(architecture, variant, seed + 100 * distributed.rank(), mesh or mesh_of("full"))


def updates(cases, mesh=None):
    """(changes of the weights, metrics) of each update, as the processes make it together."""
    found = [made(divided(architecture, variant, mesh), name) for name, architecture, variant in cases]
    return {str(i): change for i, (change, _) in enumerate(found)}, [metrics for _, metrics in found]


def check_updates(cases, changes, metrics):
    for i, case in enumerate(cases):
        expected, expected_metrics = alone(*case)
        tolerance = 1e-6 if case[0] in CASES else 1e-5
        room = tolerance * expected.abs().max().item()
        torch.testing.assert_close(changes[str(i)], expected, rtol=0, atol=room, msg=lambda m, c=case: f"{c}: {m}")
        assert metrics[i] == {
            key: pytest.approx(value, rel=10 * tolerance, abs=tolerance) if value is not None else None
            for key, value in expected_metrics.items()
        }, case


def trained(folder, algorithm, steps, start=0, policy=None, **changes):
    """Train in `folder` from its checkpoint of step `start`; the policy, and the folder.

    All processes but the first only read it. Every evaluation finds less than at the start.
    """
    policy = policy or make_variant()
    recipe = make_recipe(train_steps=steps, train_checkpoint_every=1, train_keep_checkpoints=9, **changes)
    if distributed.first() and not start:
        RunFolder.create(folder, "")
    distributed.wait()
    run = (RunFolder if distributed.first() else ReadOnlyRunFolder)(folder)
    engine = TransformersEngine(policy)
    scorer = GroupScorer(RewardFunction(RUBRIC, PAGES), 0)
    if algorithm is SftTrainer:
        trainer = SftTrainer(policy, engine, PAGES, recipe)
    else:
        trainer = algorithm(policy, engine, PAGES, scorer, recipe)
    point = ResumePoint(recipe, start, run.checkpoint(start), ()) if start else None
    at_start = {"step": 0, "eval/cer": 0.4} if recipe.train.keep_best else None
    TrainingLoop(trainer, policy, PAGES, recipe, run, lambda step: {"cer": 0.5}, point, at_start).run()
    distributed.wait()
    return policy, run


def same_files(one, other):
    """Every tensor of two checkpoints, bit for bit."""
    files = {path.relative_to(one) for path in one.rglob("*.safetensors")}
    assert files == {path.relative_to(other) for path in other.rglob("*.safetensors")}
    for file in files:
        first, second = load_file(one / file), load_file(other / file)
        assert first.keys() == second.keys()
        assert all(torch.equal(tensor, second[name]) for name, tensor in first.items()), file
    return sorted(map(str, files))


def greedy(policy, pages):
    """The engine's tokens; the processes sample different pages to different lengths."""
    sampling = Sampling(2, 0.0, 6 + 3 * distributed.rank())
    return [
        [list(c.token_ids)[:6] for c in one.completions]
        for one in TransformersEngine(policy).generate(pages, sampling, seed=1)
    ]


def rated(policy):
    """A reward model's ratings of three pages, which processes share unevenly."""
    head = ScalarHead(policy.hidden_size)
    torch.nn.init.ones_(head.output.weight)
    model = RewardModel(policy, head)
    groups = [group(page, "abc", "a", "") for page in pages_of_different_sizes()]
    return distributed.gather([model.rate(one) for one in distributed.mine(groups)])


def adapter_of_one(folder):
    """A saved adapter whose weights are not those of a new one."""
    policy = Policy.load(ModelConfig("tiny", lora_rank=2, freeze_vision=True))
    for name, weight in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    policy.save(folder)
    return policy


def scored(policy):
    """Log probabilities of a completion."""
    reading = PageReader(policy, policy.prompt(make_page()))
    with torch.no_grad():
        return reading.score(torch.arange(20, 28)[None], torch.ones(1, 8, dtype=torch.bool), 1.0).logprobs.tolist()


def everything_else(folder):
    """What one launch shows besides updates."""
    found = {}
    policy = divided("qwen")
    found["held"] = sum(own_part(weight).numel() for weight in policy.model.parameters())
    found["divided"] = all(is_divided(weight) for weight in policy.model.parameters())
    found["greedy"] = distributed.gather(greedy(policy, distributed.mine(pages_of_different_sizes())))
    found["greedy of the first"] = greedy(policy, PAGES[:1]) if distributed.first() else None
    distributed.wait()
    found["ratings"] = rated(divided("lighton"))
    for variant in ("", "lora", "tied"):
        tensors = {name: tensor.clone() for name, tensor in checkpoint_tensors(divided("lighton", variant))}
        save_file(tensors, folder / f"exported {variant}{distributed.rank()}.safetensors")
    policy = divided("lighton", "tied")
    weights = policy.gathered_weights()
    if distributed.first():
        policy.save(folder / "tied", weights)
    policy = divided("lighton", "lora bf16")
    found["types"] = sorted({str(weight.dtype) for weight in policy.model.parameters()})
    found["bf16"] = made(policy, "sft")[1]["loss"]
    found["loaded"] = scored(Policy.load(ModelConfig(path=str(folder / "adapter of one")), mesh=mesh_of("full")))
    policy = divided("qwen", "offloaded")
    found["offloaded"] = distributed.gather(greedy(policy, distributed.mine(pages_of_different_sizes())))
    tensors = {name: tensor.clone() for name, tensor in checkpoint_tensors(divided("lighton", "offloaded lora"))}
    save_file(tensors, folder / f"exported offloaded lora{distributed.rank()}.safetensors")
    with pytest.raises(ValueError, match="hybrid") as error:
        mesh_of("hybrid")
    found["refused"] = str(error.value)
    return found


def runs(folder):
    """Runs of several processes: whole, in two parts, and from where one process stopped."""
    settings = {"rollout_pages_per_step": 3, "grpo_beta": 0.1, "grpo_reference_every": 1, "rollout_max_tokens": 6}
    trained(folder / "whole", GrpoTrainer, 2, policy=divided(), **settings)
    trained(folder / "parts", GrpoTrainer, 1, policy=divided(), **settings)
    trained(folder / "parts", GrpoTrainer, 2, start=1, policy=divided(seed=0), **settings)
    trained(folder / "offloaded", GrpoTrainer, 1, policy=divided(variant="offloaded"), **settings)
    trained(folder / "offloaded", GrpoTrainer, 2, start=1, policy=divided(variant="offloaded", seed=3), **settings)
    trained(folder / "critic", PpoTrainer, 1, policy=divided(), ppo_critic="separate")
    trained(folder / "adapter", SftTrainer, 1, policy=divided("lighton", "lora"))
    trained(folder / "adapter", SftTrainer, 2, start=1, policy=divided("lighton", "lora"))
    trained(folder / "sft", SftTrainer, 4, start=2, policy=divided())
    trained(folder / "kept", SftTrainer, 1, policy=divided(), train_keep_best="cer", train_eval_every=1)


def launch(processes, *arguments):
    """Processes that run this file: (exit code, stderr)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    run = subprocess.run(
        [*command, __file__, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return run.returncode, run.stderr


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """The folder in which two processes did everything. One process has trained two steps in it before them."""
    folder = tmp_path_factory.mktemp("two")
    trained(folder / "sft", SftTrainer, 2)
    adapter_of_one(folder / "adapter of one")
    code, err = launch(2, "few", folder)
    assert code == 0, err
    return folder


def results(folder, rank=0):
    return json.loads((folder / f"results{rank}.json").read_text())


def test_two_processes_make_the_update_of_one(of_two):
    """Weights to 1e-6 of the largest change, for tied, frozen, adapted and recomputed models, and both the same."""
    changes = [load_file(of_two / f"changes{rank}.safetensors") for rank in range(2)]
    check_updates(FEW, changes[0], results(of_two)["metrics"])
    for i, change in changes[0].items():
        assert torch.equal(change, changes[1][i])


def test_each_process_holds_half_of_the_weights(of_two):
    total = sum(weight.numel() for weight in make_variant("qwen").model.parameters())
    held = [results(of_two, rank)["held"] for rank in range(2)]
    assert sum(held) == total
    assert max(held) < 0.52 * total
    assert results(of_two)["divided"]


def test_they_sample_and_rate_as_one_process_does(of_two):
    """Each its share of the pages, which differ in number and length; and one while the other waits."""
    assert results(of_two)["greedy"] == greedy(make_variant("qwen"), pages_of_different_sizes())
    assert results(of_two)["greedy of the first"] == greedy(make_variant("qwen"), PAGES[:1])
    torch.testing.assert_close(torch.tensor(results(of_two)["ratings"]), torch.tensor(rated(make_variant())))


@pytest.mark.parametrize("variant", ["", "lora", "tied", "offloaded lora"])
def test_engines_get_the_whole_weights_under_the_checkpoints_names(of_two, variant):
    expected = dict(checkpoint_tensors(make_variant("lighton", variant)))
    for rank in range(2):
        exported = load_file(of_two / f"exported {variant}{rank}.safetensors")
        assert exported.keys() == expected.keys()
        for name, tensor in exported.items():
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=1e-6)


def test_a_tied_output_layer_is_saved_once(of_two, tmp_path):
    make_variant("lighton", "tied").save(tmp_path)
    saved, expected = (load_file(folder / "model.safetensors") for folder in (of_two / "tied", tmp_path))
    assert saved.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in saved.items())


def test_only_the_first_process_reads_a_model_and_its_adapter(of_two):
    """The others get weights and buffers from it."""
    alone = scored(Policy.load(ModelConfig(path=str(of_two / "adapter of one"))))
    for rank in range(2):
        torch.testing.assert_close(torch.tensor(results(of_two, rank)["loaded"]), torch.tensor(alone))


def test_frozen_weights_may_be_bfloat16_and_adapters_float32(of_two):
    """The loss is that of one process up to bfloat16's rounding."""
    found = results(of_two)
    assert found["types"] == ["torch.bfloat16", "torch.float32"]
    assert found["bf16"] == pytest.approx(alone("sft", "lighton", "lora bf16")[1]["loss"], rel=0.02)


def test_a_resumed_run_is_the_whole_one_bit_for_bit(of_two):
    """With a reference that is renewed, so that it is in the checkpoint too."""
    one, other = (RunFolder(of_two / name) for name in ("whole", "parts"))
    assert same_files(one.checkpoint(2), other.checkpoint(2)) == [
        "model.safetensors",
        "trainer/modules.safetensors",
        "trainer/optimizer/shard-00001-model-00001-of-00001.safetensors",
        "trainer/optimizer/shard-00002-model-00001-of-00001.safetensors",
    ]
    assert one.damage(one.checkpoint(2)) is None
    assert one.read_rollouts(2) == other.read_rollouts(2)


def test_a_start_that_is_the_best_step_is_saved_whole(of_two):
    """The optimiser has no state yet that could be divided."""
    run = RunFolder(of_two / "kept")
    assert run.best() == {"step": 0, "metric": "cer", "value": 0.4}
    policy = make_variant(seed=3)
    optimizer = torch.optim.AdamW(policy.model.parameters())
    load_checkpoint(run.checkpoint(0), policy, optimizer, PAGES, 0)
    assert optimizer.state_dict()["state"] == {}
    start = make_variant().model
    assert all(torch.equal(weight, start.get_parameter(name)) for name, weight in policy.model.named_parameters())


def test_a_run_in_the_machines_memory_is_resumed_to_the_same_end(of_two):
    """Reference, checkpoints and optimiser included. Here, without a GPU, nothing moves."""
    assert same_files(*(RunFolder(of_two / name).checkpoint(2) for name in ("whole", "offloaded")))


def test_offloaded_weights_sample_as_others_do(of_two):
    assert results(of_two)["offloaded"] == greedy(make_variant("qwen"), pages_of_different_sizes())


def test_inputs_go_where_the_policy_computes_and_not_where_its_weights_are():
    """As with offloaded weights on a GPU, of which the meta device takes the place here."""
    policy, received = make_variant(), []
    state = policy.read(policy.prompt(make_page()))
    policy.shards = SimpleNamespace(device=torch.device("meta"))
    assert policy.device.type == "meta"
    assert not policy.dropped

    def run(function, *args, **kwargs):
        received.extend(value.device.type for value in [*args, *kwargs.values()] if isinstance(value, torch.Tensor))
        raise InterruptedError

    policy.run = run
    ids, mask = torch.arange(20, 24)[None], torch.ones(1, 4, dtype=torch.bool)
    hidden = torch.zeros(1, 5, policy.hidden_size, device="meta")
    for call in (
        lambda: policy.read(policy.prompt(make_page())),
        lambda: policy.hidden(state, ids),
        lambda: policy.score_hidden(hidden, ids, mask, 1.0),
    ):
        received.clear()
        with pytest.raises(InterruptedError):
            call()
        assert set(received) == {"meta"}


def test_weights_are_offloaded_only_where_they_are_divided():
    check(make_recipe(train_shard="full", train_offload=True))
    want = 'false, or train.shard = "full": only divided weights can be in the machine\'s memory'
    with pytest.raises(ValueError, match=re.escape(f"train.offload is True; write {want}")):
        check(make_recipe(train_offload=True))


def test_a_checkpoint_holds_no_pickle(of_two):
    """torch.distributed.checkpoint's own format has one."""
    endings = {path.suffix for path in (of_two / "whole" / "checkpoints").rglob("*") if path.is_file()}
    assert endings == {".safetensors", ".json", ".toml", ".jinja"}


@pytest.mark.parametrize("name", ["critic", "adapter"])
def test_critics_and_adapters_are_saved_whole(of_two, name):
    """As one process writes them: it can load them."""
    folder = RunFolder(of_two / name).checkpoint(1 if name == "critic" else 2)
    if name == "critic":
        names = set(load_file(folder / "trainer" / "modules.safetensors"))
        trunk = {f"critic_trunk.{key}" for key, _ in make_variant().backbone.named_parameters()}
        assert names == trunk | {"critic.output.weight", "critic.output.bias"}
    else:
        policy = make_variant("lighton", "lora", seed=3)
        policy.load_weights(folder)
        adapter = get_peft_model_state_dict(policy.model, save_embedding_layers=False)
        saved = load_file(folder / "adapter_model.safetensors")
        assert all(torch.equal(saved[key], tensor) for key, tensor in adapter.items())


def test_a_run_goes_from_one_process_to_two_and_back(of_two, tmp_path):
    """Two steps each. The texts that are learned do not depend on the number of processes."""
    policy, _ = trained(of_two / "sft", SftTrainer, 6, start=4, policy=make_variant())
    straight, _ = trained(tmp_path / "straight", SftTrainer, 6)
    start = make_variant()
    for name, weight in straight.model.named_parameters():
        moved = (weight - start.model.get_parameter(name)).abs().max().item()
        assert (policy.model.get_parameter(name) - weight).abs().max().item() <= 1e-4 * moved + 1e-7, name
    state = load_file(of_two / "sft" / "checkpoints" / "step_000006" / "trainer" / "optimizer.safetensors")
    assert {float(value) for name, value in state.items() if name.startswith("step/")} == {6.0}


@pytest.mark.parametrize(
    ("setting", "value", "want"),
    [
        ("model_quantize", "nf4", 'model.quantize = "": weights in 4 bits'),
        ("train_optimizer", "adamw_8bit", 'train.optimizer = "adamw": state in 8 bits'),
    ],
)
def test_what_cannot_be_divided_is_refused(setting, value, want):
    recipe = make_recipe(train_shard="full", rollout_engine="transformers", **{setting: value})
    with pytest.raises(ValueError, match=f"train.shard is 'full'; write none, or {want}"):
        check(recipe)


def test_hybrid_needs_several_machines(of_two):
    assert results(of_two)["refused"] == (
        'train.shard is "hybrid", but 2 of 2 processes are on this machine; write "full", or start as many processes '
        "on each of several machines"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("role", "processes", "cases"), [("many", 2, MANY), ("each", 4, EACH), ("hybrid", 4, EACH)])
def test_every_update_is_that_of_one_process(tmp_path, role, processes, cases):
    """Four processes also in two groups of two, as on two machines."""
    code, err = launch(processes, role, tmp_path)
    assert code == 0, err
    check_updates(cases, load_file(tmp_path / "changes0.safetensors"), results(tmp_path)["metrics"])


@pytest.mark.slow
def test_a_process_that_fails_in_the_middle_of_a_pass_ends_all(tmp_path):
    code, err = launch(2, "failing", tmp_path)
    assert code != 0
    assert "this loss has a bug" in err


def in_processes(role, folder):
    torch.set_num_threads(1)
    with distributed.together():
        if role == "failing":
            broken(divided())
        mesh = None
        if role == "hybrid":
            mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
        changes, metrics = updates({"few": FEW, "many": MANY}.get(role, EACH), mesh)
        rank = distributed.rank()
        save_file(changes, folder / f"changes{rank}.safetensors")
        found = {"metrics": metrics} | (everything_else(folder) if role == "few" else {})
        (folder / f"results{rank}.json").write_text(json.dumps(found))
        if role == "few":
            runs(folder)


def broken(policy):
    """The second process fails between a forward and a backward pass."""
    reading = PageReader(policy, policy.prompt(make_page()), grad=True)
    ids = torch.full((1, 3), PAD)
    scores = reading.score(ids, torch.ones(1, 3, dtype=torch.bool), 1.0)
    if distributed.rank() == 1:
        raise RuntimeError("this loss has a bug")
    scores.logprobs.sum().backward()
    reading.backward()


if __name__ == "__main__":
    in_processes(sys.argv[1], Path(sys.argv[2]))
