"""A command that only samples keeps one copy of the weights, the worker's, and loads them again when that one dies."""

import os
import shutil
from pathlib import Path

import pytest

from helpers.tiny_models import make_page
from helpers.vllm_models import make_policy
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.loading import EngineOptions

PAGES = [make_page(i) for i in range(6)]
SAMPLING = Sampling(4, 1.0, 40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    make_policy().save(folder)
    return folder


@pytest.fixture(scope="module")
def sampling(folder):
    engine = EngineOptions(model=str(folder), engine="vllm").load(print)
    yield engine
    engine.close()


def bytes_beside_the_worker(engine):
    """Of weights: the policy's own, and what the buffer that workers read from takes in memory."""
    policy = sum(tensor.nbytes for tensor in engine.policy.model.state_dict().values() if tensor.device.type != "meta")
    return policy + sum(os.fstat(file).st_blocks * 512 for file in engine._supervisor._weights.descriptors)


def completions(engine):
    return [[list(c.token_ids) for c in group.completions] for group in engine.generate(PAGES, SAMPLING, seed=0)]


def test_the_first_checked_completion_frees_all_copies_but_the_worker_s(sampling, folder):
    weights = (folder / "model.safetensors").stat().st_size
    assert bytes_beside_the_worker(sampling) > 1.9 * weights
    undisturbed = completions(sampling)
    assert bytes_beside_the_worker(sampling) == 0
    stream = sampling.stream(PAGES, SAMPLING, seed=0)
    rows = [next(stream)]
    sampling._supervisor.worker.process.kill()
    rows += stream
    assert len(rows) == 24
    assert all(list(row.completion.token_ids) == undisturbed[row.page][row.row] for row in rows)
    assert bytes_beside_the_worker(sampling) == 0
    assert completions(sampling) == undisturbed


def test_a_worker_is_not_replaced_by_one_with_other_weights(sampling, folder):
    completions(sampling)
    stream = sampling.stream(PAGES, SAMPLING, seed=0)
    next(stream)
    os.utime(folder / "model.safetensors", (0, 0))
    sampling._supervisor.worker.process.kill()
    with pytest.raises(EngineError, match="its weights have been written since they were loaded; start again"):
        list(stream)


def test_a_model_that_was_damaged_since_is_named(folder, tmp_path):
    copied = Path(shutil.copytree(folder, tmp_path / "copy"))
    engine = EngineOptions(model=str(copied), engine="vllm").load(print)
    try:
        completions(engine)
        stream = engine.stream(PAGES, SAMPLING, seed=0)
        next(stream)
        weights = copied / "model.safetensors"
        written = weights.stat().st_mtime
        weights.write_bytes(b"")
        os.utime(weights, (written, written))
        engine._supervisor.worker.process.kill()
        with pytest.raises(EngineError, match=r"the model cannot be loaded again: .*model.safetensors is broken"):
            list(stream)
    finally:
        engine.close()
