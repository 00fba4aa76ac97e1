"""Small HTTP servers with the routes of `vllm serve` that a trainer uses. They sample from real policies.

They serve pages without a prompt, one row after another: row i of a request is drawn with its seed + i.
"""

import base64
import contextlib
import io
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import torch
from PIL import Image
from safetensors.torch import load_file

from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Page


class LittleServer:
    """Answers from a thread of this process until `kill`; `start` begins again, with the first weights."""

    def __init__(self, make_policy, max_rows=4, engines=1, model="a-model"):
        """`make_policy` makes the policy that it serves."""
        self.make_policy, self.engines = make_policy, engines
        self.settings = {
            "model_config": {
                "model": model,
                "dtype": "torch.float32",
                "max_model_len": 512,
                "logprobs_mode": "processed_logprobs",
                "generation_config": "vllm",
                "override_generation_config": {},
                "quantization": None,
            },
            "scheduler_config": {"max_num_seqs": max_rows},
            "parallel_config": {
                "data_parallel_size": engines,
                "data_parallel_external_lb": False,
                "data_parallel_hybrid_lb": False,
            },
            "device_config": {"device": "cpu"},
            "load_config": {"load_format": "auto"},
            "weight_transfer_config": None,
            "speculative_config": None,
        }
        self.deaf = set()
        """Engines that keep their old weights."""
        self.may_sample = threading.Event()
        """Rows wait for this."""
        self.may_sample.set()
        self.may_load = threading.Event()
        """Weights wait for this."""
        self.may_load.set()
        self.may_answer = threading.Event()
        """What its engine answers waits for this; it is healthy nevertheless."""
        self.may_answer.set()
        self.dies_after = None
        """It is killed when it has sent so many rows."""
        self.rows = 0
        """That it has sent."""
        self.healthy = True
        """Otherwise it answers /health with 503."""
        self.loads = []
        """Folders that weights came from."""
        self.requests = []
        """The seeds of the pages it was asked for."""
        self._httpd = self._dying = None
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def runs(self):
        return self._httpd is not None

    def start(self):
        if self._dying is not None:
            self._dying.join()
            self._dying = None
        self.policies = [self.make_policy() for _ in range(self.engines)]
        self.version, self._lock, self._open = "default", threading.Lock(), set()
        self._httpd = _Listener(self, self.port)
        self.port = self._httpd.server_port
        threading.Thread(target=self._httpd.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def kill(self):
        """Refuse connections, and reset those that are open."""
        if self._httpd is None:
            return
        self._httpd.shutdown()
        self._httpd.server_close()
        self._httpd = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def get(self, path):
        if path == "/weight_info":
            self.may_answer.wait(100)
        if path == "/server_info":
            return {"vllm_config": self.settings}
        return {
            "/version": {"version": "0.32.0"},
            "/v1/models": {},
            "/health": {},
            "/weight_info": {"weight_version": self.version},
        }[path]

    def post(self, path, body):
        self.may_answer.wait(100)
        if path == "/collective_rpc":
            folder = Path(body["kwargs"]["weights_path"])
            self.loads.append(folder)
            self.may_load.wait(100)
            weights = {name: t for file in sorted(folder.iterdir()) for name, t in load_file(file).items()}
            for i, policy in enumerate(self.policies):
                if i not in self.deaf:
                    with torch.no_grad():
                        for name, tensor in checkpoint_tensors(policy):
                            tensor.copy_(weights[name])
        elif path == "/update_weight_version":
            self.version = body["new_version"]
        return {"success": True}

    def sample(self, body, engine):
        """Pieces of the answer, one for each row."""
        wanted = body["sampling_params"]
        self.requests.append(wanted["seed"])
        png = base64.b64decode(body["content_parts"][0]["url"].partition(",")[2])
        page = Page("asked", lambda: Image.open(io.BytesIO(png)).convert("RGB"))
        policy, version = self.policies[engine], self.version
        sampling = Sampling(1, wanted["temperature"], wanted["max_tokens"])
        for row in range(wanted["n"]):
            self.may_sample.wait(100)
            with self._lock:
                if self.dies_after is not None and self.rows >= self.dies_after:
                    self.dies_after = None
                    self._dying = threading.Thread(target=self.kill)
                    self._dying.start()
                if self._dying is not None:  # also what another thread was about to send
                    raise ConnectionError
                self.rows += 1
                (sampled,) = TransformersEngine(policy).stream([page], sampling, wanted["seed"] + row)
                prompt = policy.prompt_ids(page)
            completion = sampled.completion
            choice = {
                "index": row,
                "token_ids": completion.token_ids,
                "logprobs": {"content": [{"logprob": value} for value in completion.sampling_logprobs]},
                "finish_reason": "stop" if completion.finish_reason == "end" else "length",
                "weight_versions": [{"version": version}],
            }
            yield {"prompt_token_ids": prompt, "choices": [choice]}


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, server, port):
        self.server = server
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request, client_address):
        """Broken connections are what the tests are about."""

    def get_request(self):
        connection, address = super().get_request()
        self.server._open.add(connection)
        return connection, address

    def shutdown_request(self, request):
        self.server._open.discard(request)
        super().shutdown_request(request)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, server = urlsplit(self.path).path, self.server.server
        if path == "/health" and not server.healthy:
            self._answer({"error": "dead"}, 503)
        else:
            self._answer(server.get(path))

    def do_POST(self):
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if path != "/inference/v1/generate":
            self._answer(self.server.server.post(path, body))
        elif not body:
            self._answer({"error": {"message": "no tokens"}}, 400)
        else:
            self.send_response(200)
            self.end_headers()
            for piece in self.server.server.sample(body, int(self.headers.get("X-data-parallel-rank") or 0)):
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")

    def _answer(self, content, status=200):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass
