"""The engine that samples with vLLM in a process of this machine, from the trainer's current weights.

It samples what `TransformersEngine` samples: the same prompt tokens (compared for every page), the same distribution
(end tokens, suppressed tokens and temperature are the policy's; nothing comes from the checkpoint's generation
settings), and log probabilities of that distribution. After each `sync` both score one completion, so that a cache of
old weights is noticed. If the worker process dies or hangs, another takes its place and samples what is still missing.

CUDA: weights by CUDA IPC, CUDA graphs and sleep mode are written but not yet run on a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import islice
from multiprocessing import Pipe
from typing import NamedTuple

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.logprob_check import CHECK_SAMPLING, LogprobCheck
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.prompts import PromptReader, pages_at_once, prompt_mismatch, sampled_completion
from ocr_rl.rollouts.vllm.protocol import FinishedRow, PageRejected, PromptMismatch, SampleRequest
from ocr_rl.rollouts.vllm.supervisor import WITHOUT_VLLM, Supervisor
from ocr_rl.rollouts.vllm.worker_process import Worker, WorkerDiedError
from ocr_rl.seeds import derive
from ocr_rl.types import Page


def vllm_installed() -> bool:
    spec = find_spec("vllm")
    return spec is not None and spec.origin is not None  # a folder of that name is not a package


@dataclass
class _OpenPage:
    """A page that was requested."""

    page: Page
    rows: set[int]
    """Rows of its group that are still missing."""
    reading: Future[None]
    """The reader's job."""


@dataclass
class _Stream:
    """One call of `stream`."""

    number: int
    sampling: Sampling
    seed: int
    pages: dict[int, _OpenPage] = field(default_factory=dict)
    """By their number in the stream."""
    losses: int = 0
    """Workers that died."""


class _Bug(NamedTuple):
    """An exception in the reader's thread, other than for an unreadable page."""

    stream: int
    error: BaseException


class VllmEngine(Engine):
    """Samples with vLLM. The worker process ends with `close`, with the engine object, or with the trainer.

    Raises:
        ValueError: the options do not suit the machine.
        EngineError: vLLM does not start.
    """

    def __init__(self, policy: Policy, options: VllmOptions, reload: Callable[[], Policy] | None = None) -> None:
        """For a policy that does not change, `reload` loads it again.

        The worker's copy of the weights is then the only one, once the first completion is checked: the policy's own
        are dropped, and `reload` is called if the worker has to be replaced.
        """
        assert vllm_installed()
        if options.sleep and policy.device.type != "cuda":
            raise ValueError("sleep is on, but only the memory of a CUDA GPU can be given back; switch it off")
        self.policy, self.options, self.prompt_format = policy, options, policy.prompt_format
        self._reload = reload
        self._supervisor = Supervisor(policy, options)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ocr-rl-pages")
        self._closing = weakref.finalize(self, _close, self._reader, self._supervisor)
        self._prompts = PromptReader(policy, self._supervisor.setup.max_model_len, "raise max_model_len")
        """For the reader's thread."""
        self._decoding = policy.with_own_processor()
        """For the thread that streams, which may not be the trainer's."""
        self._check = LogprobCheck(policy, options.tolerance, f". {WITHOUT_VLLM}")
        self._notices, self._notify = Pipe(duplex=False)
        """From the reader: PageRejected or _Bug."""
        self._streams = 0
        self._streaming = False
        try:
            self._supervisor.start()
        except BaseException:
            self.close()
            raise

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        self._supervisor.wake()
        yield from self._rows(pages, sampling, seed)
        if self.options.sleep:
            self._supervisor.sleep()

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, drop every cache that depends on the old ones, and check.

        Raises:
            EngineError: no worker stays alive, or it does not sample from the policy's distribution.
        """
        assert not self._streaming, "sync while a stream is open"
        assert self._reload is None, "the policy does not change"
        self.policy = policy
        self._check.restart(policy)
        self._supervisor.sync(policy)
        if self._check.known_page is not None:
            for _ in self._rows([self._check.known_page], CHECK_SAMPLING, seed=0):
                pass

    def close(self) -> None:
        self._closing()

    def _rows(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        """`stream` with a worker that is ready."""
        assert not self._streaming, "a stream is already open"
        self._streaming = True
        self._streams += 1
        stream = _Stream(self._streams, sampling, seed)
        room = pages_at_once(self.options.rows, sampling.group_size)
        waiting = enumerate(pages)
        try:
            self._supervisor.worker.send("begin")
            while True:
                for number, page in islice(waiting, room - len(stream.pages)):
                    self._request(stream, number, page, set(range(sampling.group_size)))
                if not stream.pages:
                    return
                event = self._next_event(stream)
                if event is not None:
                    yield event
        finally:
            self._streaming = False
            self._end(stream)

    def _request(self, stream: _Stream, number: int, page: Page, rows: set[int]) -> None:
        """Have the reader send a page to the worker, for these rows of its group."""
        reading = self._reader.submit(self._read_and_send, self._supervisor.worker, stream, number, page, sorted(rows))
        stream.pages[number] = _OpenPage(page, rows, reading)

    def _next_event(self, stream: _Stream) -> Sampled | Refused | None:
        """Handle one message of the worker or the reader; None if it is not an event of the stream."""
        try:
            message = self._supervisor.worker.receive(self.options.timeout_s, self._notices) or self._notices.recv()
        except WorkerDiedError as lost:
            self._restart(stream, lost)
            return None
        match message:
            case FinishedRow(stream=stream.number, page=number, row=row) if number in stream.pages:
                return self._finished(stream, message) if row in stream.pages[number].rows else None
            case PageRejected(stream=stream.number, page=number, why=why) if number in stream.pages:
                del stream.pages[number]
                return Refused(number, why)
            case PromptMismatch(stream=stream.number, page=number):
                page = stream.pages[number].page
                mismatch = prompt_mismatch(page, message.engine_tokens, message.trainer_tokens)
                raise EngineError(f"{mismatch}. {WITHOUT_VLLM}")
            case _Bug(stream=stream.number, error=error):
                raise error
        return None

    def _finished(self, stream: _Stream, row: FinishedRow) -> Sampled:
        opened = stream.pages[row.page]
        opened.rows.remove(row.row)
        if not opened.rows:
            del stream.pages[row.page]
        completion = sampled_completion(row.token_ids, row.logprobs, row.reason, self.policy.end_ids)
        self._check.see(opened.page, completion, stream.sampling.temperature)
        if self._reload is not None and not self.policy.dropped:
            self._supervisor.release_weights(self._reload)
            self.policy.drop_weights()
        return Sampled(row.page, row.row, replace(completion, text=self._decoding.text(row.token_ids)))

    def _restart(self, stream: _Stream, lost: WorkerDiedError) -> None:
        """Replace the worker and request the missing rows again."""
        _cancel(stream)
        stream.losses = self._supervisor.replace(lost, stream.losses + 1)
        self._supervisor.worker.send("begin")
        for number, opened in list(stream.pages.items()):
            self._request(stream, number, opened.page, opened.rows)

    def _end(self, stream: _Stream) -> None:
        """Cancel the stream's remaining work."""
        try:
            if not _cancel(stream, self.options.timeout_s):
                raise WorkerDiedError("the engine does not take pages")
            if self._supervisor.running:
                self._supervisor.worker.send(("end", stream.number))
                self._supervisor.worker.expect(("ended", stream.number), self.options.timeout_s)
        except WorkerDiedError:
            self._supervisor.kill()

    def _read_and_send(self, worker: Worker, stream: _Stream, number: int, page: Page, rows: list[int]) -> None:
        """Runs in the reader's thread."""
        try:
            request = self._sample_request(stream, number, page, rows)
        except (OSError, ValueError) as error:  # what opening an image raises
            self._notify.send(PageRejected(stream.number, number, str(error) or type(error).__name__))
        except BaseException as bug:
            self._notify.send(_Bug(stream.number, bug))
        else:
            worker.send(request)

    def _sample_request(self, stream: _Stream, number: int, page: Page, rows: list[int]) -> SampleRequest:
        """Raises as `PromptReader.read` does."""
        prompt = self._prompts.read(page, stream.sampling.max_tokens)
        return SampleRequest(
            stream=stream.number,
            page=number,
            image=prompt.image.tobytes(),
            size=prompt.image.size,
            prompt_ids=prompt.prompt_ids,
            expanded_ids=prompt.expanded_ids,
            rows=[(row, derive(stream.seed, "page", number, "row", row)) for row in rows],
            temperature=stream.sampling.temperature,
            max_tokens=stream.sampling.max_tokens,
            end_ids=self.policy.end_ids,
            suppressed_ids=self.policy.suppressed_ids,
            stop_repetition=self.options.stop_repetition,
        )


def _cancel(stream: _Stream, timeout: float | None = None) -> bool:
    """Cancel the reader's jobs and wait for the one that is running. False if that takes longer than `timeout`."""
    running = [page.reading for page in stream.pages.values() if not page.reading.cancel()]
    return not wait_for_futures(running, timeout).not_done


def _close(reader: ThreadPoolExecutor, supervisor: Supervisor) -> None:
    reader.shutdown(wait=False, cancel_futures=True)
    supervisor.close()
