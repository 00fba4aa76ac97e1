"""A folder to read, and Hugging Face datasets without a network."""

import datasets
import huggingface_hub
import pytest

from helpers.dataset_files import LETTER, draw, write_lines


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hugging Face datasets keeps its copies of parquet files to itself, and stays off the network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path):
    """One image and one row; tests write over what they are about."""
    draw(tmp_path / "a.png")
    write_lines(tmp_path / "metadata.jsonl", [LETTER])
    return tmp_path
