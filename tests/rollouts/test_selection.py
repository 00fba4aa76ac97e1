"""Which engine a recipe gets on this machine."""

import importlib.util
from types import SimpleNamespace

import pytest
import torch

from helpers.tiny_models import make_policy
from ocr_rl.config.schema import RolloutConfig
from ocr_rl.rollouts.selection import chosen_engine, make_engine
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.rollouts.vllm import engine as vllm_engine


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine has: `machine(cuda=True, vllm="no")`, "yes", or "a folder" of that name."""

    def has(*, cuda, vllm):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        real = importlib.util.find_spec
        found = SimpleNamespace(origin="vllm/__init__.py" if vllm == "yes" else None) if vllm != "no" else None
        monkeypatch.setattr(vllm_engine, "find_spec", lambda name: found if name == "vllm" else real(name))

    return has


@pytest.mark.parametrize(
    ("cuda", "vllm", "expected"),
    [
        (True, "yes", "vllm"),
        (True, "no", "transformers"),
        (True, "a folder", "transformers"),
        (False, "yes", "transformers"),
    ],
)
def test_auto_is_vllm_where_it_is_installed_beside_cuda(machine, cuda, vllm, expected):
    machine(cuda=cuda, vllm=vllm)
    assert chosen_engine("auto") == expected
    assert chosen_engine("transformers") == "transformers"


def test_vllm_that_is_not_installed_is_named_with_the_command_that_installs_it(machine):
    machine(cuda=True, vllm="no")
    with pytest.raises(ValueError, match=r"vllm is not installed: pip install 'ocr-rl\[train,vllm\]' for CUDA"):
        chosen_engine("vllm")


def test_a_server_needs_no_vllm_here(machine):
    machine(cuda=False, vllm="no")
    assert chosen_engine("auto", "http://localhost:8000") == chosen_engine("vllm", "http://localhost:8000") == "vllm"
    assert chosen_engine("transformers", "http://localhost:8000") == "transformers"


def test_the_engine_says_which_one_it_is():
    said = []
    engine = make_engine(make_policy(), RolloutConfig(engine="transformers", rows=7), say=said.append)
    assert isinstance(engine, TransformersEngine)
    assert engine.rows == 7
    assert said == ["engine: transformers"]


def test_one_step_ahead_needs_an_engine_with_weights_of_its_own():
    with pytest.raises(ValueError, match=r"rollout\.ahead is true, but the transformers engine samples with the very"):
        make_engine(make_policy(), RolloutConfig(engine="transformers", ahead=True))
