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
    """Sets what the machine has: `machine(cuda=True, vllm="no")`; or "yes", or "a folder" named vllm."""

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
def test_auto_is_vllm_if_it_is_installed_and_there_is_cuda(machine, cuda, vllm, expected):
    machine(cuda=cuda, vllm=vllm)
    assert chosen_engine("auto") == expected
    assert chosen_engine("transformers") == "transformers"


def test_the_error_for_missing_vllm_shows_the_command_that_installs_it(machine):
    machine(cuda=True, vllm="no")
    with pytest.raises(ValueError, match=r"vllm is not installed: pip install 'ocr-rl\[train,vllm\]' for CUDA"):
        chosen_engine("vllm")


def test_a_server_needs_no_vllm_here(machine):
    machine(cuda=False, vllm="no")
    assert chosen_engine("auto", "http://localhost:8000") == chosen_engine("vllm", "http://localhost:8000") == "vllm"
    assert chosen_engine("transformers", "http://localhost:8000") == "transformers"


def test_the_chosen_engine_is_printed():
    said = []
    engine = make_engine(make_policy(), RolloutConfig(engine="transformers", rows=7), say=said.append)
    assert isinstance(engine, TransformersEngine)
    assert engine.rows == 7
    assert said == ["engine: transformers"]


def test_one_step_ahead_needs_an_engine_with_a_copy_of_the_weights():
    with pytest.raises(ValueError, match=r"rollout\.ahead is true, but the transformers engine samples from the weig"):
        make_engine(make_policy(), RolloutConfig(engine="transformers", ahead=True))
