"""Tests of what leaves the project."""

import pytest

from helpers.checkpoints import train


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Commands never ask the hub, and write into an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def run(place):
    return train(place, "run")
