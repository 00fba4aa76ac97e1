"""Two ways to send weights to servers (`vllm serve`): a shared folder and NCCL."""

from __future__ import annotations

import shutil
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.vllm.server_client import ServerError, ServerUnreachableError, VllmServer

SHARD_BYTES = 2**30
"""Maximum size of a file of weights, unless one tensor is larger."""


class FolderWeights:
    """Weights as safetensors in a folder that trainer and servers see under the same path, a subfolder per version.

    They are written once for all servers. The folder holds one copy of the weights at a time, and none after `close`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._written: Path | None = None

    def take(self, policy: Policy, version: str) -> None:
        """Write the current weights, LoRA merged. Raises OSError if they cannot be written."""
        self.close()
        self._written = self.folder / version
        tensors = checkpoint_tensors(policy)
        try:
            self._written.mkdir(parents=True)
            for i, shard in enumerate(_shards(tensors)):
                (self._written / f"model-{i:05d}.safetensors").write_bytes(save(shard))
        finally:
            if policy.shards is not None:
                deque(tensors, maxlen=0)  # after an error too: the other processes gather the rest

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
    """Weights from this process's GPU to the servers' over NCCL, by vLLM's own code for trainers. Not yet run on a GPU.

    Each server has separate connections, so that a lost one stops no other; they are served one after another. A
    server that is restarted between an update and the next sync gets the weights after the update. Divided weights are
    copied to the CPU's memory first.
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
        self._copied: list[tuple[str, Tensor]] = []
        """Whole weights of a divided policy."""
        self._senders: dict[str, Any] = {}
        """By the server's URL."""
        self._sending = threading.Lock()

    def take(self, policy: Policy, version: str) -> None:
        self._policy = policy
        if policy.shards is not None:
            self._copied = [(name, tensor.cpu()) for name, tensor in checkpoint_tensors(policy)]

    def send(self, server: VllmServer, timeout: float, restarted: bool) -> None:
        """Raises ServerUnreachableError after `timeout` seconds: a broadcast waits for a lost peer forever."""
        with self._sending:
            self._send(server, timeout, restarted)

    def _send(self, server: VllmServer, timeout: float, restarted: bool) -> None:
        sender = self._senders.pop(server.url, None)  # cannot be used again after a failure
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
            self._senders[server.url] = done.result(timeout)
        except TimeoutError:
            raise ServerUnreachableError(
                f"{server.url} did not take the weights over NCCL in {timeout:g} seconds"
            ) from None
        except RuntimeError as error:  # from NCCL or its rendezvous
            raise ServerError(500, f"the weights cannot be sent to {server.url} over NCCL: {error}") from None

    def close(self) -> None:
        for sender in self._senders.values():
            sender.shutdown()

    def _connected(self, server: VllmServer, timeout: float) -> Any:
        from vllm.distributed.weight_transfer.nccl_engine import (
            NCCLTrainerInitInfo,
            NCCLTrainerWeightTransferEngine,
        )

        workers = int(server.get("/get_world_size")["world_size"])
        start = NCCLTrainerInitInfo(server.own_address(), _free_port(), 1 + workers, rank=0)
        return NCCLTrainerWeightTransferEngine.trainer_init(
            start, client=_SyncRoutes(server, timeout), source=PolicySource(self._tensors)
        )

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        if self._policy.shards is None:
            yield from checkpoint_tensors(self._policy)
        for name, tensor in self._copied:
            yield name, tensor.to(self._policy.device)


class TensorInfo(NamedTuple):
    """A tensor that will be sent."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]


class PolicySource:
    """The policy's current weights, as vLLM's code for trainers reads them (its `WeightSource`)."""

    def __init__(self, tensors: Callable[[], Iterator[tuple[str, Tensor]]]) -> None:
        self._tensors = tensors
        self._metadata: list[TensorInfo] = []

    def metadata(self) -> list[TensorInfo]:
        """The tensors that iteration yields; the same every time."""
        if not self._metadata:
            self._metadata = [TensorInfo(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self]
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return self._tensors()


class _SyncRoutes:
    """The server's weight routes, as vLLM's code for trainers calls them."""

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
