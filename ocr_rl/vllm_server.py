"""A vLLM server: how it is started, asked over HTTP, checked, and given weights.

The routes are those of vLLM 0.32: /inference/v1/generate takes token ids and an image and returns token ids with their
log probabilities; the routes that pause it, load weights and drop caches exist in its development mode only, and no
key guards them. So the server belongs in a network that only its users reach.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import socket
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import torch
from safetensors.torch import save
from torch import Tensor

from ocr_rl.models.policy import Policy
from ocr_rl.vllm_weights import checkpoint_tensors

VERSION = "0.32"
"""Of vLLM, whose routes are spoken here."""
KEY_VARIABLE = "OCR_RL_SERVER_KEY"
"""Environment variable with the server's --api-key, if it has one."""
CACHES = ("/reset_prefix_cache", "/reset_encoder_cache", "/reset_mm_cache")
"""Routes that drop what the server remembers of pages; loading weights drops none of it."""
SHARD_BYTES = 2**30
"""Of a file of weights, unless one tensor alone is larger."""
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
"""For routes that answer at once."""


class ServerGone(Exception):
    """No connection, a broken one, or silence."""


class ServerError(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{message} (HTTP {status})")
        self.status, self.message = status, message


class Calls:
    """Requests of one stream, which `hang_up` ends wherever they are."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._sockets: set[socket.socket] = set()

    @contextlib.contextmanager
    def holding(self, connection: socket.socket) -> Iterator[None]:
        """Raises ServerGone after `hang_up`."""
        self._sockets.add(connection)
        try:
            if self.ended.is_set():
                raise ServerGone("hung up")
            yield
        finally:
            self._sockets.discard(connection)

    def hang_up(self) -> None:
        self.ended.set()
        for connection in list(self._sockets):
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)


class VllmServer:
    """Speaks to one server, from any thread. Nothing but `url` is ever connected to: no proxy, no redirect.

    Raises:
        ValueError: not an HTTP address.
    """

    def __init__(self, url: str) -> None:
        advice = f'vllm.server is "{url}"; write an address such as "http://gpu1:8000"'
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ValueError(advice) from None
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or parts.query or parts.username:
            raise ValueError(advice)
        self.url = url.rstrip("/")
        self.host, self.prefix = parts.hostname, parts.path.rstrip("/")
        self.port = port or (443 if parts.scheme == "https" else 80)
        self._kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection

    def get(self, path: str, timeout: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        return self._answer("GET", path, None, timeout)

    def post(
        self, path: str, body: Mapping[str, Any] | None = None, timeout: float = ANSWER_TIMEOUT_S
    ) -> dict[str, Any]:
        return self._answer("POST", path, body, timeout)

    def generate(self, body: Mapping[str, Any], timeout: float, calls: Calls) -> Generator[dict[str, Any], None, None]:
        """Pieces of completions as they come; `timeout` is for the time between two of them.

        Raises:
            ServerGone: broken off, or hung up.
            ServerError: refused (status below 500), or failed.
        """
        with self._connected(timeout) as connection, calls.holding(connection.sock):
            response = self._send(connection, "POST", "/inference/v1/generate", {**body, "stream": True})
            for line in response:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    return
                try:
                    piece = json.loads(line[6:])
                except ValueError:
                    break  # a line without its end
                if "error" in piece:
                    raise ServerError(int(piece["error"].get("code", 500)), str(piece["error"].get("message")))
                yield piece
            raise ServerGone(f"{self.url} broke off its answer")

    def own_address(self) -> str:
        """The address of this machine under which the server sees it."""
        with self._connected(ANSWER_TIMEOUT_S) as connection:
            address: str = connection.sock.getsockname()[0]
        return address

    @contextlib.contextmanager
    def _connected(self, timeout: float) -> Iterator[http.client.HTTPConnection]:
        """A connection whose troubles are all ServerGone."""
        connection = self._kind(self.host, self.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
            connection.sock.settimeout(timeout)
            yield connection
        except TimeoutError:
            raise ServerGone(f"{self.url} gives no answer") from None
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(f"{self.url}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: Mapping[str, Any] | None
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, self.prefix + path, None if body is None else json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != 200:
            raise ServerError(response.status, _message(response.read()))
        return response

    def _answer(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> dict[str, Any]:
        with self._connected(timeout) as connection:
            content = self._send(connection, method, path, body).read()
        try:
            answer = json.loads(content or b"{}")
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServerError(200, f"{path} is not answered as vLLM does")
        return answer


def _message(content: bytes) -> str:
    """What an error answer says."""
    text = content.decode(errors="replace")
    with contextlib.suppress(ValueError, TypeError, KeyError):
        found = json.loads(text)["error"]
        return str(found["message"] if isinstance(found, dict) else found)
    return text[:300] or "no reason given"


class Wanted(NamedTuple):
    """What a trainer needs of a server."""

    dtype: torch.dtype
    max_model_len: int
    """At least."""
    transfer: str
    """nccl or folder."""
    tied: bool
    """The model's output head is its embedding."""


def serve_command(model: str, wanted: Wanted, rows: int, port: int) -> str:
    """The shell command that starts a server for a policy; its weights are replaced before the first completion."""
    words = [
        *("vllm", "serve", model, "--port", str(port), "--dtype", _name(wanted.dtype)),
        *("--max-model-len", str(wanted.max_model_len), "--max-num-seqs", str(rows)),
        *("--max-num-batched-tokens", str(max(4096, wanted.max_model_len))),
        *("--logprobs-mode", "processed_logprobs"),
        *("--generation-config", "vllm"),  # nothing from the checkpoint
        *("--limit-mm-per-prompt", '{"image": 1, "video": 0}', "--mm-processor-cache-gb", "0"),
        "--enable-scale-out",  # the route from tokens to tokens
        "--disable-uvicorn-access-log",
    ]
    if wanted.transfer == "nccl":
        words += ["--weight-transfer-config", '{"backend": "nccl"}']
    return f"VLLM_SERVER_DEV_MODE=1 VLLM_USE_V2_MODEL_RUNNER=0 VLLM_NO_USAGE_STATS=1 {shlex.join(words)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def model_name(policy: Policy) -> str:
    """What to serve: the checkpoint that the policy, or its adapter's base model, was loaded from."""
    return getattr(policy.base.config, "_name_or_path", "") or policy.source or "MODEL_FOLDER"


def check(server: VllmServer, wanted: Wanted) -> dict[str, Any]:
    """The server's configuration, if a trainer can use it.

    Raises:
        ServerGone: there is no server, or none that answers.
        ValueError: it runs something else, or otherwise; all of it in one message.
    """
    try:
        version = str(server.get("/version")["version"])
        if not version.startswith(f"{VERSION}."):
            raise ValueError(f"{server.url} runs vLLM {version}; this version of ocr-rl speaks to {VERSION}")
        server.get("/v1/models")
        server.get("/weight_info")
        _check_route(server)
        info: dict[str, Any] = server.get("/server_info?config_format=json")["vllm_config"]
        wrong = _wrong_settings(info, wanted)
    except (ServerError, KeyError) as error:
        raise ValueError(_wrong_start(server, error)) from None
    if wrong:
        raise ValueError(f"the server at {server.url} runs with {', '.join(wrong)}")
    return info


def _wrong_settings(info: Mapping[str, Any], wanted: Wanted) -> list[str]:
    model, load = info["model_config"], info["load_config"]
    backend = (info["weight_transfer_config"] or {}).get("backend")
    rules = [
        (model["dtype"] == str(wanted.dtype), f"--dtype {model['dtype'].removeprefix('torch.')}"),
        (model["max_model_len"] >= wanted.max_model_len, f"--max-model-len {model['max_model_len']}"),
        (model["logprobs_mode"] == "processed_logprobs", f"--logprobs-mode {model['logprobs_mode']}"),
        (model["generation_config"] == "vllm", f"--generation-config {model['generation_config']}"),
        (not model["override_generation_config"], "--override-generation-config"),
        (model["quantization"] is None, f"--quantization {model['quantization']}"),
        (info["speculative_config"] is None, "--speculative-config"),
        (wanted.transfer != "nccl" or backend == "nccl", f"weight transfer backend {backend}"),
        (
            wanted.transfer == "nccl" or load["load_format"] in ("auto", "safetensors"),
            f"--load-format {load['load_format']}",
        ),
        (
            not wanted.tied or info["device_config"]["device"] != "cpu",
            "an output head tied to the embedding on a CPU, where vLLM keeps the old one",
        ),
    ]
    return [found for ok, found in rules if not ok]


def _check_route(server: VllmServer) -> None:
    """An empty request is a bad one (400) where completions can be asked for."""
    try:
        server.post("/inference/v1/generate", {})
    except ServerError as error:
        if error.status not in (400, 422):
            raise


def _wrong_start(server: VllmServer, error: Exception) -> str:
    if isinstance(error, ServerError) and error.status == 401:
        return f"the server at {server.url} asks for a key; put its --api-key into the variable {KEY_VARIABLE}"
    if isinstance(error, ServerError) and error.status == 403:
        return f"the server at {server.url} was started without --enable-scale-out"
    if isinstance(error, ServerError) and error.status == 404:
        return f"the server at {server.url} is no vLLM server, or was started without VLLM_SERVER_DEV_MODE=1"
    return f"the server at {server.url} does not answer as vLLM {VERSION} does: {error}"


class FolderWeights:
    """Weights as safetensors in a folder that trainer and server see under the same path: one subfolder per version.

    It holds one copy of the weights at a time, and none after `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._written: Path | None = None

    def take(self, policy: Policy, version: str) -> None:
        """Write the current weights, LoRA merged. Raises OSError where they cannot be written."""
        self.close()
        self._written = self.folder / version
        self._written.mkdir(parents=True)
        for i, shard in enumerate(_shards(checkpoint_tensors(policy))):
            (self._written / f"model-{i:05d}.safetensors").write_bytes(save(shard))

    def send(self, server: VllmServer, timeout: float, restarted: bool) -> None:
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(self._written)}}
        try:
            server.post("/collective_rpc", body, timeout)
        except ServerError as error:
            message = f"the server cannot load {self._written}, which it must see under the same path: {error.message}"
            raise ServerError(error.status, message) from None

    def close(self) -> None:
        if self._written is not None:
            shutil.rmtree(self._written, ignore_errors=True)


def _shards(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    """Copies on the CPU, in files of about SHARD_BYTES."""
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors:
        if shard and size + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor.detach().to("cpu", copy=True).contiguous()
        size += tensor.nbytes
    yield shard


class NcclWeights:
    """Weights from this process's GPU to the server's, over NCCL, by vLLM's own trainer side. Not yet run on a GPU.

    A server that is restarted between an update and the next sync gets the weights of after the update.
    """

    def __init__(self, policy: Policy) -> None:
        if policy.device.type != "cuda":
            raise ValueError('vllm.transfer is "nccl", but the policy is not on a CUDA GPU; write "folder"')
        try:
            import vllm.distributed.weight_transfer.nccl_engine  # noqa: F401
        except ImportError as error:
            raise ValueError(
                f"vllm.transfer is \"nccl\", which needs vllm here too ({error}): pip install 'ocr-rl[train,vllm]'; "
                'or write "folder"'
            ) from None
        self._policy = policy
        self._sender: Any = None

    def take(self, policy: Policy, version: str) -> None:
        self._policy = policy

    def send(self, server: VllmServer, timeout: float, restarted: bool) -> None:
        """Raises ServerGone where it takes longer than `timeout`: a broadcast waits for a lost peer for ever."""
        sender, self._sender = self._sender, None  # it is of no use after a failure
        done: Future[Any] = Future()

        def work() -> None:
            try:
                with torch.cuda.device(self._policy.device):
                    used = self._connected(server, timeout) if sender is None or restarted else sender
                    used.send_weights()
                done.set_result(used)
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=work, daemon=True, name="ocr-rl-nccl").start()
        try:
            self._sender = done.result(timeout)
        except TimeoutError:
            raise ServerGone(f"{server.url} did not take the weights over NCCL in {timeout:g} seconds") from None
        except RuntimeError as error:  # NCCL's and its rendezvous'
            raise ServerError(500, f"the weights do not get to {server.url} over NCCL: {error}") from None

    def close(self) -> None:
        if self._sender is not None:
            self._sender.shutdown()

    def _connected(self, server: VllmServer, timeout: float) -> Any:
        from vllm.distributed.weight_transfer.nccl_engine import (
            NCCLTrainerInitInfo,
            NCCLTrainerWeightTransferEngine,
        )

        workers = int(server.get("/get_world_size")["world_size"])
        start = NCCLTrainerInitInfo(server.own_address(), _free_port(), 1 + workers, rank=0)
        return NCCLTrainerWeightTransferEngine.trainer_init(
            start, client=_SyncRoutes(server, timeout), source=PolicySource(lambda: self._policy)
        )


class Named(NamedTuple):
    """A tensor to come."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class PolicySource:
    """The policy's current weights, in the form that vLLM's trainer side reads them (its `WeightSource`)."""

    def __init__(self, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self._named: list[Named] = []

    def metadata(self) -> list[Named]:
        """What iteration will give; the same at all times."""
        if not self._named:
            self._named = [Named(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self]
        return self._named

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return checkpoint_tensors(self._policy())


class _SyncRoutes:
    """The server's weight routes, in the form that vLLM's trainer side calls them."""

    def __init__(self, server: VllmServer, timeout: float) -> None:
        self.server, self.timeout = server, timeout

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.server.post("/init_weight_transfer_engine", {"init_info": init_info}, self.timeout)

    def start_weight_update(self) -> None:
        self.server.post("/start_weight_update", None, self.timeout)

    def update_weights(self, update_info: Any) -> None:
        self.server.post("/update_weights", {"update_info": update_info}, self.timeout)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.server.post("/finish_weight_update", {"weight_version": weight_version}, self.timeout)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        port: int = listener.getsockname()[1]
        return port
