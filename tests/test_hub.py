"""The first look at the Hugging Face hub: a hub that does not answer costs seconds, not retries."""

import os
import shutil
import socket
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import datasets
import huggingface_hub
import pytest
import torch
from safetensors.torch import save_file

import ocr_rl.models
from ocr_rl import hub
from ocr_rl.config.schema import ModelConfig
from ocr_rl.data.loading import load_pages
from ocr_rl.models.policy import Policy

NO_ANSWER = r"the hub \(http://127.0.0.1:\d+\) does not answer"


@pytest.fixture(autouse=True)
def first_look(tmp_path, monkeypatch):
    """The next look is the first one, with an empty cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    hub._is_silent.cache_clear()
    yield
    hub._is_silent.cache_clear()


@pytest.fixture
def no_hub(monkeypatch):
    """An address where nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")


class Answers(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_any_answer_of_the_hub_will_do(monkeypatch):
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        Thread(target=server.handle_request, daemon=True).start()
        assert hub.hub_silence() == ""
    assert not huggingface_hub.constants.HF_HUB_OFFLINE
    hub.check_hub_model("owner/name")  # what the hub has, loading finds out


def test_without_a_network_a_model_is_refused_at_once(no_hub):
    with pytest.raises(ValueError, match=f'^no model "owner/name": it is no folder, {NO_ANSWER}, and there is no'):
        hub.check_hub_model("owner/name")
    assert os.environ["HF_HUB_OFFLINE"] == "1"  # for the processes that are started
    assert huggingface_hub.constants.HF_HUB_OFFLINE
    assert datasets.config.HF_HUB_OFFLINE


def test_a_hub_that_takes_connections_and_says_nothing_is_silent_too(monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{port}")
        began = time.monotonic()
        assert hub.hub_silence()
        assert time.monotonic() - began < hub.LOOK_SECONDS + 10  # a busy machine


def test_without_a_network_a_dataset_is_refused_at_once(no_hub):
    with pytest.raises(ValueError, match=f"^owner/name: no such file or folder, .*: {NO_ANSWER}, and there is no"):
        load_pages("owner/name")


def test_offline_by_request_the_hub_is_not_asked(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "not an address")
    with pytest.raises(ValueError, match="it is no folder, HF_HUB_OFFLINE is set, and there is no copy in "):
        hub.check_hub_model("owner/name")


def test_without_a_network_a_model_in_the_cache_is_used(no_hub, tmp_path):
    folder = tmp_path / "hub/models--owner--name"
    shutil.copytree(Path(ocr_rl.models.__file__).parent / "tiny", folder / "snapshots/abc")
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text("abc")
    hub.check_hub_model("owner/name")
    assert Policy.load(ModelConfig(path="owner/name")).end_ids


def test_without_a_network_an_adapter_names_its_missing_base(no_hub, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/name", "r": 4, "lora_alpha": 8}')
    save_file({"a": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    with pytest.raises(ValueError, match=r'is an adapter, and its base is missing: no model "owner/name"'):
        Policy.load(ModelConfig(path=str(tmp_path)))
