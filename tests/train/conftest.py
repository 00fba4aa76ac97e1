"""Training tests run on one thread, offline, on models of 50,000 random weights (see tiny_models.py)."""

import pytest
import tiny_models
import torch
from parity import parity, pytest_terminal_summary  # noqa: F401  pytest finds them here


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(params=tiny_models.ARCHITECTURES)
def policy(request):
    """A fresh policy of each architecture: two tests per test."""
    return tiny_models.make_policy(request.param)


@pytest.fixture
def saved(tmp_path):
    """A folder that holds a random LightOnOCR policy as Hugging Face saves it."""
    tiny_models.make_policy("lighton").save(tmp_path / "policy")
    return tmp_path / "policy"
