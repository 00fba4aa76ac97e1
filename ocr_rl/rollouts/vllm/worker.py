"""The process that runs vLLM, `python -m ocr_rl.rollouts.vllm.worker`.

`supervisor` starts it; `protocol` lists the messages. vLLM's engine core runs inside this process, and a thread
receives pages and preprocesses them while the engine works on others. The process ends when its parent does.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor

from ocr_rl.rollouts.vllm.protocol import (
    EngineSetup,
    FinishedRow,
    Heartbeat,
    PageRejected,
    PromptMismatch,
    SampleRequest,
)
from ocr_rl.rollouts.vllm.weights import Piece, mapped

BEAT_SECONDS = 1.0
"""A worker that is alive sends something at least this often, unless one step takes longer."""


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    weights = mapped(int(sys.argv[2])) if len(sys.argv) > 2 else None
    try:
        VllmWorker(connection, connection.recv(), weights).run()
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # immediately: vLLM's threads would keep the process alive


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class VllmWorker:
    """An engine and its messages. `weights` is the buffer that weights come through, None if CUDA IPC brings one."""

    def __init__(self, connection: Connection, setup: EngineSetup, weights: Tensor | None) -> None:
        self.connection, self.setup, self.weights = connection, setup, weights
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.engine = make_engine(setup)
        self.requests: dict[str, tuple[int, int, int]] = {}
        """Unfinished requests: stream, page, row."""
        self.open = False
        """The trainer is waiting for rows."""
        self.last_sent = time.monotonic()
        threading.Thread(target=self._receive, daemon=True).start()

    def run(self) -> None:
        self._send("ready")
        while True:
            while self._take(wait=not self.requests):
                pass
            if self.requests:
                self._step()
            if self.open and time.monotonic() - self.last_sent > BEAT_SECONDS:
                self._send(Heartbeat())

    def _send(self, message: object) -> None:
        self.connection.send(message)
        self.last_sent = time.monotonic()

    def _receive(self) -> None:
        """Move messages into the inbox and preprocess pages; runs in its own thread."""
        while True:
            try:
                message = self.connection.recv()
            except (EOFError, OSError):
                os._exit(0)  # the trainer has ended
            try:
                self.inbox.put((message, self._render(message)) if isinstance(message, SampleRequest) else message)
            except BaseException as error:  # raised where the engine runs
                self.inbox.put(error)

    def _render(self, request: SampleRequest) -> Any:
        """vLLM's own preprocessing, once for all rows of the page; a string says why vLLM rejects the page."""
        from PIL import Image
        from vllm.renderers.inputs.preprocess import parse_model_prompt

        image = Image.frombytes("RGB", request.size, request.image)
        prompt = {"prompt_token_ids": list(request.prompt_ids), "multi_modal_data": {"image": image}}
        try:
            (rendered,) = self.engine.renderer.render_cmpl([parse_model_prompt(self.engine.model_config, prompt)])
        except ValueError as error:
            return str(error)
        return rendered

    def _take(self, wait: bool) -> bool:
        """Handle one message, if there is one; `wait` for it at most BEAT_SECONDS / 2."""
        try:
            message = self.inbox.get(timeout=BEAT_SECONDS / 2) if wait else self.inbox.get_nowait()
        except queue.Empty:
            return False
        match message:
            case (SampleRequest() as request, rendered):
                self._add(request, rendered)
            case ("load", weights):
                self._load(weights)
            case "begin":
                self.open = True
            case ("end", stream):
                self.engine.abort_request(list(self.requests))
                self.requests.clear()
                self.open = False
                self._send(("ended", stream))
            case "sleep":
                self.engine.sleep(level=2)
                self._send("asleep")
            case BaseException() as error:
                raise error
            case _:
                raise AssertionError(f"unknown message {message!r}")
        return True

    def _add(self, request: SampleRequest, rendered: Any) -> None:
        from vllm import SamplingParams
        from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind

        if isinstance(rendered, str):
            self._send(PageRejected(request.stream, request.page, rendered))
            return
        if list(rendered["prompt_token_ids"]) != list(request.expanded_ids):
            lengths = len(rendered["prompt_token_ids"]), len(request.expanded_ids)
            self._send(PromptMismatch(request.stream, request.page, *lengths))
            return
        loops = request.stop_repetition
        for row, seed in request.rows:
            name = f"{request.stream}:{request.page}:{row}"
            params = SamplingParams(
                temperature=request.temperature,
                max_tokens=request.max_tokens,
                seed=seed,
                stop_token_ids=list(request.end_ids),
                ignore_eos=True,  # the policy's end tokens, and no others
                logit_bias=dict.fromkeys(request.suppressed_ids, float("-inf")) or None,
                logprobs=0,
                flat_logprobs=True,
                detokenize=False,
                output_kind=RequestOutputKind.FINAL_ONLY,
                repetition_detection=RepetitionDetectionParams(loops[0], 1, loops[1]) if loops else None,
            )
            try:
                self.engine.add_request(name, rendered, params)
            except ValueError as error:
                self._send(PageRejected(request.stream, request.page, str(error)))
                return
            self.requests[name] = (request.stream, request.page, row)

    def _step(self) -> None:
        for output in self.engine.step():
            if not output.finished:
                continue
            stream, page, row = self.requests.pop(output.request_id)
            completion = output.outputs[0]
            self._send(
                FinishedRow(
                    stream,
                    page,
                    row,
                    list(completion.token_ids),
                    list(completion.logprobs.logprobs),
                    completion.finish_reason,
                )
            )

    def _load(self, weights: Tensor | None) -> None:
        """Load new weights, then reset the caches that the trainer names."""
        assert not self.requests
        if self.setup.sleep:
            self.engine.wake_up(tags=["weights"])
        buffer = self.weights if weights is None else weights
        assert buffer is not None
        caches: list[str] = []
        self.engine.collective_rpc("reload_weights", kwargs={"weights_iterator": self._incoming(buffer, caches)})
        del weights, buffer
        self._pack_tied_head()
        if self.setup.sleep:
            self.engine.wake_up(tags=["kv_cache"])
        if "prefix" in caches and not self.engine.reset_prefix_cache():
            raise RuntimeError("vLLM did not reset its prefix cache: a request is still running")
        if "encoder" in caches:
            self.engine.reset_encoder_cache()
        if "multimodal" in caches:
            self.engine.reset_mm_cache()
        self._send("loaded")

    def _incoming(self, buffer: Tensor, caches: list[str]) -> Iterator[tuple[str, Tensor]]:
        """Tensors as they come through the buffer; copied, because vLLM keeps them until a layer is complete."""
        while True:
            message = self.inbox.get()
            if isinstance(message, BaseException):
                raise message
            kind, content = message
            if kind == "loaded":
                caches += content
                return
            pieces: list[Piece] = content
            for piece in pieces:
                yield piece.name, piece.of(buffer).clone()
            if buffer.is_cuda:
                torch.cuda.synchronize()
            self._send("taken")

    def _pack_tied_head(self) -> None:
        """On a CPU vLLM packs the head's weights once; a reload does not repack them if they are the embedding's."""
        if self.setup.device != "cpu":
            return
        from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm
        from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

        for module in self.engine.model_executor.driver_worker.model_runner.model.modules():
            if isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear"):
                dispatch_cpu_unquantized_gemm(module, remove_weight=False)


def make_engine(setup: EngineSetup) -> Any:
    """vLLM's engine with random weights, which the trainer's replace."""
    from vllm import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine

    arguments: dict[str, Any] = {
        "model": setup.folder,
        "load_format": "dummy",
        "dtype": setup.dtype,
        "seed": 0,
        "max_model_len": setup.max_model_len,
        "max_num_seqs": setup.rows,
        "max_num_batched_tokens": max(4096, setup.max_model_len),
        "enable_chunked_prefill": False,  # part of a prompt would rewind its row's generator, which a CPU's cannot
        "limit_mm_per_prompt": {"image": 1, "video": 0},
        "mm_processor_cache_gb": 0,  # each page is sent once
        "mm_device_do_normalize": False,  # its constants would be random too: no checkpoint has them
        "logprobs_mode": "processed_logprobs",
        "generation_config": "vllm",  # nothing from the checkpoint
        "enforce_eager": setup.eager,
        "enable_sleep_mode": setup.sleep,
        "gpu_memory_utilization": setup.memory_share,
        "disable_log_stats": True,
    }
    if setup.kv_cache_gib:
        arguments["kv_cache_memory_bytes"] = int(setup.kv_cache_gib * 2**30)
    return LLMEngine.from_engine_args(EngineArgs(**arguments))


if __name__ == "__main__":
    main()
