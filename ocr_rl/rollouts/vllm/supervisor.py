"""Keeps a vLLM process running with the policy's weights: starts it, loads weights, replaces it when it dies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.prompts import model_length
from ocr_rl.rollouts.vllm.protocol import EngineSetup
from ocr_rl.rollouts.vllm.weights import CudaWeights, SharedWeights
from ocr_rl.rollouts.vllm.worker_process import Worker, WorkerDiedError, last_lines
from ocr_rl.runs.scratch import Scratch

CACHES = ("prefix", "encoder", "multimodal")
"""vLLM's caches of pages that it has read; all depend on the weights."""
RESTARTS = 3
"""Of the worker within one call, before the engine gives up."""
WITHOUT_VLLM = 'Write rollout.engine = "transformers" to run without vLLM'
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # one process, which is killed, timed and restarted as one
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the runner that the tests run on
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "TOKENIZERS_PARALLELISM": "false",
}


class Supervisor:
    """A worker process with the weights of the last `sync`; `start` it first.

    Attributes:
        setup: what the worker was started with.
    """

    def __init__(self, policy: Policy, options: VllmOptions) -> None:
        self._options = options
        self._reload: Callable[[], Policy] | None = None
        self._scratch = Scratch("vllm")
        self._log = options.log or self._scratch.path / "vllm.log"
        self.setup = _engine_setup(policy, options, self._scratch.path / "model")
        _write_model_folder(policy, Path(self.setup.folder))
        self._environment = ENVIRONMENT | {"TMPDIR": str(self._scratch.path)}
        if self.setup.eager:
            self._environment["TORCHDYNAMO_DISABLE"] = "1"
        # a worker that is replaced cannot wait until all processes gather divided weights for it
        here = policy.device.type == "cuda" and policy.shards is None
        self._weights = CudaWeights(policy) if here else SharedWeights(policy)
        self._weights.take(policy)
        self._worker: Worker | None = None
        self._asleep = False

    @property
    def worker(self) -> Worker:
        """Only while `running`."""
        assert self._worker is not None
        return self._worker

    @property
    def running(self) -> bool:
        return self._worker is not None

    def start(self) -> None:
        """Raises EngineError if the worker does not start; this is not tried again."""
        try:
            self._start()
        except WorkerDiedError as lost:
            raise self._failed(str(lost)) from None

    def sync(self, policy: Policy) -> None:
        """Load the policy's current weights, and drop every cache that depends on the old ones.

        Raises:
            EngineError: see `replace`.
        """
        assert self._reload is None
        self._weights.take(policy)
        self._load_or_start()

    def release_weights(self, reload: Callable[[], Policy]) -> None:
        """Keep no copy of the weights beside the worker's; a worker that takes its place gets those of `reload`."""
        self._weights.release()
        self._reload = reload

    def wake(self) -> None:
        """Start a worker if there is none, and load the weights again if it is asleep. Raises as `sync` does."""
        if not self.running or self._asleep:
            self._load_or_start()

    def sleep(self) -> None:
        """Free the worker's memory until `wake`."""
        try:
            self.worker.send("sleep")
            self.worker.expect("asleep", self._options.timeout_s)
            self._asleep = True
        except WorkerDiedError:
            self.kill()  # the next call starts another

    def replace(self, lost: WorkerDiedError, losses: int) -> int:
        """Replace a worker that died, the `losses`-th in this call. Returns the losses by then.

        Raises:
            EngineError: more than RESTARTS workers died.
        """
        while losses <= RESTARTS:
            try:
                self._start()
                return losses
            except WorkerDiedError as again:
                lost, losses = again, losses + 1
        self.kill()
        raise self._failed(f"{lost}; {losses} times in one call")

    def kill(self) -> None:
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.kill()

    def close(self) -> None:
        self.kill()
        self._weights.close()
        self._scratch.close()

    def _load_or_start(self) -> None:
        try:
            if self.running:
                self._load()
            else:
                self._start()
        except WorkerDiedError as lost:
            self.replace(lost, 1)

    def _start(self) -> None:
        self.kill()
        if self._reload is not None:
            self._weights.take(self._reload())
        self._worker = Worker(self._log, self._weights.descriptors, self._environment)
        self._worker.send(self.setup)
        self._worker.expect("ready", self._options.load_timeout_s)
        self._load()
        if self._reload is not None:
            self._weights.release()

    def _load(self) -> None:
        """Send the weights to the worker."""
        self.worker.send(("load", self._weights.open()))  # a tensor on a GPU travels as its IPC handle
        for pieces in self._weights.pieces():
            self.worker.send(("pieces", pieces))
            self.worker.expect("taken", self._options.load_timeout_s)
        self.worker.send(("loaded", CACHES))
        self.worker.expect("loaded", self._options.load_timeout_s)
        self._asleep = False

    def _failed(self, what: str) -> EngineError:
        said = f"\nvLLM's last lines:\n{lines}" if (lines := last_lines(self._log)) else ""
        return EngineError(f"{what}{said}\nIf memory is short, lower rollout.rows or max_model_len. {WITHOUT_VLLM}")


def _engine_setup(policy: Policy, options: VllmOptions, folder: Path) -> EngineSetup:
    cuda = policy.device.type == "cuda"
    return EngineSetup(
        folder=str(folder),
        dtype=str(policy.compute_dtype).removeprefix("torch."),
        device=policy.device.type,
        max_model_len=model_length(policy, options.max_model_len),
        rows=options.rows,
        kv_cache_gib=options.kv_cache_gib or (0.0 if cuda else 2.0),
        memory_share=options.memory_share,
        eager=not cuda if options.eager is None else options.eager,
        sleep=options.sleep,
    )


def _write_model_folder(policy: Policy, folder: Path) -> None:
    """Config, tokenizer and processor, as in a checkpoint: all that vLLM needs to build the model."""
    config = copy.deepcopy(policy.base.config)
    config.architectures = [type(policy.base).__name__]
    config.save_pretrained(folder)
    policy.processor.save_pretrained(folder)
