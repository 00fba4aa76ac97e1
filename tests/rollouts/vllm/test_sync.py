"""After every update the engine samples from the trainer's weights, or raises an error."""

import pytest
import torch
from transformers.utils import is_torchvision_available

from helpers.families import save
from helpers.families.checks import load, page, sampled_as_scored
from helpers.tiny_models import make_page, weights
from helpers.vllm_models import make_policy
from helpers.vllm_scored import completions, worst_difference
from ocr_rl.config.schema import ModelConfig
from ocr_rl.errors import EngineError
from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.vllm import supervisor
from ocr_rl.rollouts.vllm.engine import VllmEngine
from ocr_rl.rollouts.vllm.options import VllmOptions

SAMPLING = Sampling(4, 1.0, 8)
PAGES = [make_page(i, (64, 64), prompt="abc" * 60) for i in range(4)]
"""Prompts of 197 tokens: longer than a block of vLLM's prefix cache, which on a CPU has 128."""


def update(policy, rate=3e-3):
    """One optimiser step on random tokens; the vision tower trains too."""
    optimizer = torch.optim.SGD(policy.trainable_parameters(), rate)
    ids = torch.randint(9, 22, (2, 6))
    state = policy.read(policy.prompt(PAGES[0]), grad=True)
    scores = policy.score(state, ids, torch.ones_like(ids, dtype=torch.bool), 1.0)
    scores.logprobs.mean().neg().backward()
    state.backward()
    torch.nn.utils.clip_grad_norm_(policy.trainable_parameters(), 10.0)
    optimizer.step()


def test_over_twenty_updates_of_tower_and_language_model_the_log_probabilities_are_the_trainer_s(engine, policy):
    before = weights(policy)
    seen = set()
    for _ in range(20):
        groups = engine.generate(PAGES, SAMPLING, seed=0)
        assert worst_difference(policy, groups) <= 1e-5
        seen.add(tuple(x for c in completions(groups) for x in c.sampling_logprobs))
        update(policy)
        engine.sync(policy)
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
    assert len(seen) == 20, "an update changed nothing"
    for part in ("vision_encoder", "vision_projection", "language_model", "lm_head"):
        moved = [
            name for name, old in before.items() if part in name and not old.equal(policy.model.state_dict()[name])
        ]
        assert moved, f"{part} did not train"


@pytest.mark.skipif(not is_torchvision_available(), reason="vLLM's Qwen2.5-VL needs torchvision")
def test_constants_that_no_checkpoint_holds_are_not_random(tmp_path):
    """For some families vLLM can normalise pixels itself, with a mean and deviation that are random without weights."""
    policy = load(save("qwen2_5_vl", tmp_path / "model"))
    engine = VllmEngine(policy, VllmOptions(rows=8, max_model_len=2048, kv_cache_gib=0.05, log=tmp_path / "vllm.log"))
    try:
        assert sampled_as_scored(policy, engine.generate([page()], SAMPLING, seed=0)) <= 1e-5
    finally:
        engine.close()


def test_log_probabilities_of_the_old_weights_differ(engine, policy):
    """So the test above can fail: without a sync they differ by far more than 1e-5."""
    groups = engine.generate(PAGES, SAMPLING, seed=0)
    update(policy)
    assert worst_difference(policy, groups) > 1e-3


def test_a_prefix_cache_that_was_not_reset_is_found_at_once(engine, policy, monkeypatch):
    engine.generate(PAGES, SAMPLING, seed=0)
    monkeypatch.setattr(supervisor, "CACHES", ("encoder", "multimodal"))
    for _ in range(3):
        update(policy, rate=0.1)
    with pytest.raises(EngineError, match=r"log probabilities differ from the trainer's by .*prefix cache"):
        engine.sync(policy)


def test_with_an_encoder_cache_that_was_not_reset_no_row_comes_from_old_weights(engine, policy, monkeypatch):
    """vLLM drops half of that cache and dies when it gets the page again: in the sync, not in a stream."""
    engine.generate(PAGES, SAMPLING, seed=0)
    worker = engine._supervisor.worker
    monkeypatch.setattr(supervisor, "CACHES", ("prefix", "multimodal"))
    update(policy, rate=0.1)
    engine.sync(policy)
    assert worker.process.poll() is not None
    assert "Encoder cache miss" in engine._supervisor._log.read_text()
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5


def test_weights_that_never_arrive_are_found_at_once(engine, policy, monkeypatch):
    engine.generate(PAGES, SAMPLING, seed=0)
    monkeypatch.setattr(engine._supervisor._weights, "take", lambda policy: None)
    update(policy, rate=0.1)
    with pytest.raises(EngineError, match=r"more than 0\.001"):
        engine.sync(policy)


def test_before_any_page_is_known_the_first_row_is_compared(engine, monkeypatch):
    engine._check.known_page = None
    monkeypatch.setattr(engine._supervisor._weights, "take", lambda policy: None)
    engine.sync(make_policy(seed=1))
    with pytest.raises(EngineError, match=r"page\d: the engine's log probabilities differ from the trainer's"):
        next(engine.stream(PAGES, SAMPLING, seed=0))


@pytest.mark.parametrize("targets", ["all-linear", "language", "vision", ["q_proj", "linear_1"]])
def test_adapters_are_merged_into_the_weights_that_the_engine_gets(engine, tmp_path, targets):
    make_policy().save(tmp_path / "base")
    path = str(tmp_path / "base")
    policy = Policy.load(ModelConfig(path=path, lora_rank=2, lora_alpha=8, lora_targets=targets))
    for name, parameter in policy.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    engine.sync(policy)
    assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
    with policy.model.disable_adapter():
        assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) > 1e-2


@pytest.mark.parametrize("path", ["saved", "tiny"])
def test_the_engine_s_weights_have_the_names_of_the_checkpoint(tmp_path, path):
    from safetensors.torch import load_file

    if path == "saved":
        make_policy().save(tmp_path)
        policy, file = Policy.load(ModelConfig(path=str(tmp_path))), tmp_path / "model.safetensors"
    else:
        policy = Policy.load(ModelConfig("tiny"))
        policy.save(tmp_path)
        file = tmp_path / "model.safetensors"
    saved, ours = load_file(file), dict(checkpoint_tensors(policy))
    assert ours.keys() == saved.keys()
    assert all(ours[name].equal(tensor) for name, tensor in saved.items())


def test_a_head_tied_to_the_embedding_follows_every_update(tmp_path, monkeypatch):
    """vLLM packs it once on a CPU; a stale one would be off by tenths. A closed engine leaves no files."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    policy = make_policy(tied=True)
    assert policy.head.weight is policy.base.get_input_embeddings().weight
    engine = VllmEngine(policy, VllmOptions(rows=8, kv_cache_gib=0.05))
    process = engine._supervisor.worker.process
    try:
        for _ in range(3):
            assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
            update(policy, rate=0.1)
            engine.sync(policy)
        assert worst_difference(policy, engine.generate(PAGES, SAMPLING, seed=0)) <= 1e-5
        assert engine._supervisor.worker.process is process
        assert any(tmp_path.iterdir())
    finally:
        engine.close()
    engine.close()
    assert process.returncode is not None
    assert not any(tmp_path.iterdir())
