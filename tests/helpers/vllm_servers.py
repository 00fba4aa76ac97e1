"""Processes of `vllm serve` on a small CPU, with the command that the engine prints."""

import ctypes
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import torch

from helpers.vllm_models import make_policy
from ocr_rl.rollouts.vllm import server_client
from ocr_rl.rollouts.vllm.server_client import VllmServer
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements, serve_command

KEY = "a-key-for-tests"
CPU = {
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "HF_HUB_OFFLINE": "1",
    "TORCHDYNAMO_DISABLE": "1",
}
"""What a server on a small CPU needs in addition to the command."""


def end_with_parent():
    """Linux: the server gets SIGTERM when the thread that starts it ends, even by SIGKILL."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Server:
    """The process of a `vllm serve`, which can be killed and started again at the same address."""

    def __init__(self, folder, *options, model=None, max_model_len=512, rows=32):
        """`model`: the folder to serve, by default a random policy of other weights than the tests'."""
        folder.mkdir(exist_ok=True)
        if model is None:
            model = folder / "model"
            make_policy(seed=9).save(model)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        words = shlex.split(
            serve_command(str(model), ServerRequirements(torch.float32, max_model_len, "nccl", False), rows, self.port)
        )
        start = words.index("vllm")
        self.environment = os.environ | dict(word.split("=") for word in words[:start]) | CPU | {"TMPDIR": str(folder)}
        assert words[start + 1] == "serve"  # vllm-cpu does not find its version for it; this is what it runs
        self.command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", *words[start + 2 :]]
        self.command += ["--host", "127.0.0.1", "--api-key", KEY, "--enforce-eager", *options]
        self.process = None

    def start(self):
        self.launch()
        self.wait_until_ready()

    def launch(self):
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(
                self.command,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def wait_until_ready(self):
        end = time.monotonic() + 400
        while time.monotonic() < end and self.process.poll() is None:
            try:
                VllmServer(self.url).get("/health")
                return
            except server_client.ServerUnreachableError:
                time.sleep(0.2)
        raise AssertionError(self.log.read_text()[-3000:])

    def send(self, number):
        """To all of its processes."""
        os.killpg(self.process.pid, number)

    def kill(self):
        if self.process is not None:
            self.send(signal.SIGKILL)
            self.process.wait()
            self.process = None
