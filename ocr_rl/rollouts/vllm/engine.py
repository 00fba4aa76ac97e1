"""The engine that samples with vLLM, in a process of its own (`worker`), from the trainer's current weights.

What it samples is what `TransformersEngine` samples: the same prompt tokens (compared for every page), the same
distribution (end tokens, suppressed tokens and temperature are the policy's; nothing comes from the checkpoint's
generation settings), and log probabilities of that distribution. After each `sync` both score one completion, so that
a cache of old weights does not go unnoticed. A worker that dies or hangs is replaced and asked again for what it owes.

CUDA: weights by CUDA IPC, CUDA graphs and sleep mode are written but not yet run on a GPU.
"""

from __future__ import annotations

import copy
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.util import find_spec
from multiprocessing import Pipe
from pathlib import Path

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.logprob_check import PROBE, TOLERANCES, logprob_mismatch
from ocr_rl.rollouts.vllm.protocol import EngineSetup, FinishedRow, PageRejected, PromptMismatch, SampleRequest
from ocr_rl.rollouts.vllm.weights import CudaWeights, SharedWeights
from ocr_rl.rollouts.vllm.worker_process import Worker, WorkerDiedError, last_lines
from ocr_rl.types import Completion, FinishReason, Page

CACHES = ("prefix", "encoder", "multimodal")
"""What vLLM remembers of pages that it has read, and must forget with the weights."""
READ_AHEAD = 8
"""Pages that are preprocessed before there is room for their rows."""
RESTARTS = 3
"""Of the worker within one call, before the engine gives up."""
OTHERWISE = 'With rollout.engine = "transformers" the run goes on without vLLM'
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which is killed, timed and restarted as one
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the runner that the tests run on
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}


def vllm_installed() -> bool:
    spec = find_spec("vllm")
    return spec is not None and spec.origin is not None  # a folder of that name is no package


@dataclass
class _Asked:
    """A page that was asked for, and the rows of it that have not come."""

    page: Page
    rows: set[int]


class VllmEngine(Engine):
    """Samples with vLLM. The worker process ends with `close`, with the engine object, or with the trainer.

    Raises:
        ValueError: it cannot do what is asked for.
        EngineFailed: it does not start.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        rows: int = 256,
        max_model_len: int = 8192,
        kv_cache_gib: float = 0.0,
        memory_share: float = 0.45,
        eager: bool | None = None,
        sleep: bool = False,
        stop_repetition: tuple[int, int] | None = None,
        timeout_s: float = 300.0,
        startup_timeout_s: float = 1200.0,
        tolerance: float | None = None,
        log: Path | None = None,
    ) -> None:
        """
        Args:
            rows: completions decoded at a time.
            max_model_len: tokens of a prompt and its completion; pages that need more are refused.
            kv_cache_gib: memory for keys and values; 0: 2 GiB on a CPU, what `memory_share` leaves on a GPU.
            memory_share: of the GPU's memory that the engine may take for weights, keys and values.
            eager: no CUDA graphs, hence a faster start; None: on a CPU only.
            sleep: give the GPU's memory back between calls of `stream`; needs CUDA.
            stop_repetition: (length, count): a row ends when its last tokens are `count` times the same pattern of at
                most `length` tokens.
            timeout_s: a worker that is silent for so long is replaced. One step of the model has to fit in.
            startup_timeout_s: the same while it starts, or takes weights over.
            tolerance: mean absolute difference of log probabilities that the check after a sync lets pass; None: by
                dtype, see engine_probe.TOLERANCES.
            log: a file for what vLLM prints; None: a temporary one.
        """
        assert vllm_installed()
        cuda = policy.device.type == "cuda"
        if sleep and not cuda:
            raise ValueError("sleep is on, but only the memory of a CUDA GPU can be given back; switch it off")
        self.policy, self.rows, self.stop_repetition = policy, rows, stop_repetition
        self.timeout_s, self.startup_timeout_s = timeout_s, startup_timeout_s
        self.tolerance = TOLERANCES[policy.compute_dtype] if tolerance is None else tolerance
        scratch = Path(tempfile.mkdtemp(prefix="ocr-rl-vllm-"))
        self._log = log if log is not None else scratch / "vllm.log"
        positions = getattr(policy.base.config.get_text_config(), "max_position_embeddings", max_model_len)
        self._setup = EngineSetup(
            folder=str(scratch / "model"),
            dtype=str(policy.compute_dtype).removeprefix("torch."),
            device=policy.device.type,
            max_model_len=min(max_model_len, positions),
            rows=rows,
            kv_cache_gib=kv_cache_gib or (0.0 if cuda else 2.0),
            memory_share=memory_share,
            eager=not cuda if eager is None else eager,
            sleep=sleep,
        )
        _write_model_folder(policy, Path(self._setup.folder))
        self._environment = ENVIRONMENT | {"TMPDIR": str(scratch)}
        if self._setup.eager:
            self._environment["TORCHDYNAMO_DISABLE"] = "1"
        self._weights = CudaWeights(policy) if cuda else SharedWeights(policy)
        self._weights.take(policy)
        self._workers: list[Worker] = []
        """The running one, if any."""
        self._known: Page | None = None
        """A page that the engine has read: what it remembers of this page must not outlive a sync."""
        self._proven = False
        """Whether the engine's log probabilities were compared with the trainer's since the last sync."""
        self._asleep = False
        self._streams = 0
        self._streaming = False
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ocr-rl-pages")
        self._reading = policy.with_own_processor()
        """For the reader."""
        self._decoding = policy.with_own_processor()
        """For whoever streams, which may be another thread than the trainer's."""
        self._notices, self._notify = Pipe(duplex=False)
        """From the reader: (stream, page, why it cannot be read or the exception that is a bug)."""
        self._closing = weakref.finalize(self, _clean_up, scratch, self._reader, self._weights, self._workers)
        try:
            self._start()
        except WorkerDiedError as lost:
            error = self._failed(str(lost))
            self.close()
            raise error from None
        except BaseException:
            self.close()
            raise

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        if not self._workers or self._asleep:
            self._ready()
        yield from self._rows(pages, sampling, seed)
        if self._setup.sleep:
            self._sleep()

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, drop every cache that depends on the old ones, and check.

        Raises:
            EngineFailed: the engine cannot be revived, or does not sample from the policy's distribution.
        """
        assert not self._streaming, "sync while a stream is open"
        self.policy = policy
        self._weights.take(policy)
        self._proven = False
        self._ready()
        if self._known is not None:
            for _ in self._rows([self._known], PROBE, seed=0):
                pass

    def close(self) -> None:
        self._closing()

    def _ready(self) -> None:
        """A worker that is awake and has the weights of the last sync."""
        try:
            if self._workers:
                self._load(self._workers[0])
            else:
                self._start()
        except WorkerDiedError as lost:
            self._revive(lost, 1)

    def _start(self) -> None:
        """A new worker with the weights of the last sync."""
        self._kill()
        worker = Worker(self._log, self._weights.descriptors, self._environment)
        self._workers.append(worker)
        worker.send(self._setup)
        worker.expect("ready", self.startup_timeout_s)
        self._load(worker)

    def _kill(self) -> None:
        while self._workers:
            self._workers.pop().kill()

    def _revive(self, lost: WorkerDiedError, losses: int) -> int:
        """Replace the lost worker; how often one was lost by then in this call.

        Raises:
            EngineFailed: more than RESTARTS times.
        """
        while losses <= RESTARTS:
            try:
                self._start()
                return losses
            except WorkerDiedError as again:
                lost, losses = again, losses + 1
        self._kill()
        raise self._failed(f"{lost}; {losses} times in one call")

    def _load(self, worker: Worker) -> None:
        """Give the worker the weights."""
        worker.send(("load", self._weights.open()))  # a tensor on a GPU travels as its IPC handle
        for pieces in self._weights.pieces():
            worker.send(("pieces", pieces))
            worker.expect("taken", self.startup_timeout_s)
        worker.send(("loaded", CACHES))
        worker.expect("loaded", self.startup_timeout_s)
        self._asleep = False

    def _sleep(self) -> None:
        try:
            worker = self._workers[0]
            worker.send("sleep")
            worker.expect("asleep", self.timeout_s)
            self._asleep = True
        except WorkerDiedError:
            self._kill()  # the next call starts another

    def _rows(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        """`stream` with an engine that is ready."""
        assert not self._streaming, "a stream is open already"
        self._streaming = True
        self._streams += 1
        stream, losses, whole = self._streams, 0, set(range(sampling.group_size))
        room = -(-self.rows // sampling.group_size) + READ_AHEAD
        asked: dict[int, _Asked] = {}
        jobs: dict[int, Future[None]] = {}

        def ask(number: int) -> None:
            seeds = [(row, _row_seed(seed, number, row)) for row in sorted(asked[number].rows)]
            request = (stream, number, asked[number].page, seeds, sampling)
            jobs[number] = self._reader.submit(self._ask, self._workers[0], *request)

        try:
            self._workers[0].send("begin")
            waiting = enumerate(pages)
            while True:
                while len(asked) < room and (new := next(waiting, None)) is not None:
                    asked[new[0]] = _Asked(new[1], set(whole))
                    ask(new[0])
                if not asked:
                    return
                try:
                    event = self._workers[0].receive(self.timeout_s, self._notices) or self._notices.recv()
                except WorkerDiedError as lost:
                    _cancel(jobs)
                    losses = self._revive(lost, losses + 1)
                    self._workers[0].send("begin")
                    for number in asked:
                        ask(number)
                    continue
                match event:
                    case FinishedRow(stream=of, page=number, row=row) if of == stream and number in asked:
                        owed = asked[number]
                        if row in owed.rows:
                            owed.rows.remove(row)
                            if not owed.rows:
                                del asked[number], jobs[number]
                            self._known = owed.page
                            completion = self._completion(event)
                            if not self._proven:
                                self._compare(owed.page, completion, sampling.temperature)
                            yield Sampled(number, row, completion)
                    case PromptMismatch():
                        raise EngineError(
                            f"{asked[event.page].page.id}: the engine's prompt has {event.engine} tokens, the "
                            f"trainer's {event.trainer}, or as many others: vLLM prepares this model's pages "
                            f"differently. {OTHERWISE}"
                        )
                    case PageRejected(stream=of, page=number, why=why) | (int(of), int(number), str(why)):
                        if of == stream and number in asked:
                            del asked[number], jobs[number]
                            yield Refused(number, why)
                    case (int(of), int(), BaseException() as bug) if of == stream:
                        raise bug
        finally:
            self._streaming = False
            self._end(stream, jobs)

    def _end(self, stream: int, jobs: dict[int, Future[None]]) -> None:
        """Leave the worker without work of this stream."""
        try:
            if not _cancel(jobs, self.timeout_s):
                raise WorkerDiedError("the engine does not take pages")
            if self._workers:
                self._workers[0].send(("end", stream))
                self._workers[0].expect(("ended", stream), self.timeout_s)
        except WorkerDiedError:
            self._kill()

    def _ask(
        self,
        worker: Worker,
        stream: int,
        number: int,
        page: Page,
        seeds: list[tuple[int, int]],
        sampling: Sampling,
    ) -> None:
        """Read a page and send it; runs in the reader's thread."""
        try:
            ask = self._read(stream, number, page, seeds, sampling)
        except (OSError, ValueError) as error:  # what opening an image raises
            self._notify.send((stream, number, str(error) or type(error).__name__))
        except BaseException as bug:
            self._notify.send((stream, number, bug))
        else:
            worker.send(ask)

    def _read(
        self, stream: int, number: int, page: Page, seeds: list[tuple[int, int]], sampling: Sampling
    ) -> SampleRequest:
        """Raises ValueError or OSError where the page cannot be read or is too long."""
        image = self._reading.budget.fit(page.image)
        fitted = replace(page, open_image=lambda: image)
        prompt_ids, expanded_ids = self._reading.unexpanded_ids(fitted), self._reading.prompt(fitted).token_ids
        if len(expanded_ids) + sampling.max_tokens > self._setup.max_model_len:
            raise ValueError(
                f"its prompt of {len(expanded_ids)} tokens and a completion of {sampling.max_tokens} are more than "
                f"the engine's {self._setup.max_model_len}; raise max_model_len or lower model.max_pixels"
            )
        return SampleRequest(
            stream,
            number,
            image.tobytes(),
            image.size,
            prompt_ids,
            expanded_ids,
            seeds,
            sampling.temperature,
            sampling.max_tokens,
            self.policy.end_ids,
            self.policy.suppressed_ids,
            self.stop_repetition,
        )

    def _completion(self, row: FinishedRow) -> Completion:
        ended = row.token_ids[-1] in self.policy.end_ids
        reasons: dict[str, FinishReason] = {"length": "length", "repetition": "repetition"}
        return Completion(
            token_ids=row.token_ids,
            text=self._decoding.text(row.token_ids),
            finish_reason="end" if ended else reasons[row.reason],
            sampling_logprobs=row.logprobs,
        )

    def _compare(self, page: Page, completion: Completion, temperature: float) -> None:
        """Raises EngineFailed where the policy's log probabilities are others than rounding explains."""
        trouble = logprob_mismatch(self.policy, page, completion, temperature, self.tolerance)
        if trouble is not None:
            raise EngineError(f"{trouble}. {OTHERWISE}")
        self._proven = True

    def _failed(self, what: str) -> EngineError:
        """When the worker is gone for good."""
        said = f"\nvLLM's last lines:\n{lines}" if (lines := last_lines(self._log)) else ""
        return EngineError(f"{what}{said}\nIf memory is short, lower rollout.rows or max_model_len. {OTHERWISE}")


def _write_model_folder(policy: Policy, folder: Path) -> None:
    """Config, tokenizer and processor, as in a checkpoint: all that vLLM needs to build the model."""
    config = copy.deepcopy(policy.base.config)
    config.architectures = [type(policy.base).__name__]
    config.save_pretrained(folder)
    policy.processor.save_pretrained(folder)


def _row_seed(seed: int, page: int, row: int) -> int:
    """Depends on nothing but these, so that a row asked again is drawn again."""
    return int.from_bytes(blake2b(f"{seed}:{page}:{row}".encode(), digest_size=7).digest(), "big")


def _cancel(jobs: dict[int, Future[None]], timeout: float | None = None) -> bool:
    """Those not begun never begin; one that is running is waited for. False if that takes too long."""
    return not wait_for_futures([job for job in jobs.values() if not job.cancel()], timeout).not_done


def _clean_up(
    scratch: Path, reader: ThreadPoolExecutor, weights: SharedWeights | CudaWeights, workers: list[Worker]
) -> None:
    while workers:
        workers.pop().kill()
    reader.shutdown(wait=False, cancel_futures=True)
    weights.close()
    shutil.rmtree(scratch, ignore_errors=True)
