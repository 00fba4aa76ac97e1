"""The engine that samples from a vLLM server that the user started, usually on other GPUs.

It samples what `TransformersEngine` samples: the same prompt tokens (compared for every page), the same distribution,
and log probabilities of it. Each finished row names the version of the weights it was sampled from, and after each
`sync` server and trainer score one completion, so that old weights are noticed. A server that comes back after a
restart gets the weights of the last sync again, and is asked again for what is missing.
"""

from __future__ import annotations

import base64
import io
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import SimpleQueue
from typing import Any, NamedTuple

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.logprob_check import CHECK_SAMPLING, LogprobCheck
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.prompts import (
    FINISH_REASONS,
    PagePrompt,
    PromptReader,
    model_length,
    pages_at_once,
    prompt_mismatch,
    sampled_completion,
)
from ocr_rl.rollouts.vllm.server_client import (
    CACHES,
    ServerError,
    ServerUnreachableError,
    StreamConnections,
    VllmServer,
)
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements, check_server, model_name, serve_command
from ocr_rl.rollouts.vllm.server_weights import FolderWeights, NcclWeights
from ocr_rl.seeds import derive
from ocr_rl.types import Completion, Page

STREAM_INTERVAL = 64
"""Tokens of a row that are sent together: often enough to show that the server is alive."""
ATTEMPTS = 4
"""How often a page is requested before the engine gives up."""
HEALTH_TIMEOUT_S = 10.0
NEVER = -1e30
"""Bias of a suppressed token: exp of it is 0 in every precision, and unlike -inf it exists in JSON."""


class _PageDone(NamedTuple):
    """All rows of the page have come."""

    page: int


Event = Sampled | Refused | _PageDone | BaseException
"""What the threads that request pages put into a stream's queue."""


class _StreamClosedError(Exception):
    """The stream is closed: nobody waits for an answer."""


@dataclass(frozen=True)
class _Stream:
    """One call of `stream`, shared by the threads that request its pages."""

    sampling: Sampling
    seed: int
    calls: StreamConnections = field(default_factory=StreamConnections)
    events: SimpleQueue[Event] = field(default_factory=SimpleQueue)


@dataclass(frozen=True)
class _PageRequest:
    """A page to ask the server for."""

    number: int
    page: Page
    body: dict[str, Any]
    expanded_ids: list[int]
    """The prompt's token ids as the trainer reads them."""
    group_size: int


class ServerEngine(Engine):
    """Samples from the vLLM server at `url`; `start_command` is the command that starts it.

    Raises:
        ValueError: there is no server, or the trainer cannot use it.
        EngineError: it is lost while its first weights are loaded.
    """

    def __init__(self, policy: Policy, url: str, options: VllmOptions) -> None:
        if options.transfer == "folder" and options.transfer_folder is None:
            raise ValueError('vllm.transfer is "folder"; set vllm.transfer_folder to a folder that both machines see')
        self.policy, self.options, self.server = policy, options, VllmServer(url)
        self.prompt_format = policy.prompt_format
        length = model_length(policy, options.max_model_len)
        self._required = ServerRequirements(policy.compute_dtype, length, options.transfer, _tied(policy))
        self.start_command = serve_command(model_name(policy), self._required, options.rows, self.server.port)
        self._advice = (
            f"\nStart the server with:\n    {self.start_command}\n"
            "The weights and checkpoints of the run are not affected"
        )
        self._prompts = PromptReader(policy, length, "start the server with a larger --max-model-len")
        self._decoding = policy.with_own_processor()
        """For the thread that streams, which may not be the trainer's."""
        self._check = LogprobCheck(policy, options.tolerance, self._advice)
        self._run = uuid.uuid4().hex[:8]
        self._syncs = 0
        self._version = ""
        """Of the weights of the last sync; no other trainer, and no server that was just started, has the same."""
        self._recoveries = 0
        self._recovering = threading.Lock()
        self._streaming = False
        try:
            self._read_settings()
        except ServerUnreachableError as error:
            raise ValueError(f"there is no vLLM server: {error}\nStart it with:\n    {self.start_command}") from None
        folder = options.transfer_folder if options.transfer == "folder" else None
        self._weights = NcclWeights(policy) if folder is None else FolderWeights(folder)
        try:
            self.sync(policy)
        except BaseException:
            self.close()
            raise

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        assert not self._streaming, "a stream is already open"
        if sampling.group_size > self._max_rows:
            raise self._failed(
                f"{sampling.group_size} completions of a page are more than the server's --max-num-seqs "
                f"{self._max_rows}"
            )
        self._streaming = True
        room = pages_at_once(self.options.rows, sampling.group_size)
        stream = _Stream(sampling, seed)
        requested: dict[int, Page] = {}
        waiting = enumerate(pages)
        with ThreadPoolExecutor(room, thread_name_prefix="ocr-rl-server") as threads:
            try:
                while True:
                    for number, page in islice(waiting, room - len(requested)):
                        requested[number] = page
                        threads.submit(self._fetch, stream, number, page)
                    if not requested:
                        return
                    match stream.events.get():
                        case _PageDone(number):
                            del requested[number]
                        case Refused(number) as refused:
                            del requested[number]
                            yield refused
                        case Sampled(number, _, completion) as sampled:
                            self._check.see(requested[number], completion, sampling.temperature)
                            text = self._decoding.text(completion.token_ids)
                            yield sampled._replace(completion=replace(completion, text=text))
                        case BaseException() as error:
                            raise error
            finally:
                stream.calls.hang_up()
                threads.shutdown(cancel_futures=True)
                self._streaming = False

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, drop every cache that depends on the old ones, and check.

        Raises:
            EngineError: the server stays away, or does not sample from the policy's distribution.
            OSError: the weights cannot be written.
        """
        assert not self._streaming, "sync while a stream is open"
        self.policy = policy
        self._syncs += 1
        self._version = f"{self._run}-{self._syncs}"
        self._weights.take(policy, self._version)
        self._recover(self._recoveries, StreamConnections())
        self._check.restart(policy)
        if self._check.known_page is not None:
            for _ in self.stream([self._check.known_page], CHECK_SAMPLING, seed=0):
                pass

    def close(self) -> None:
        self._weights.close()

    def _read_settings(self) -> None:
        """Raises ServerUnreachableError or ValueError."""
        try:
            settings = check_server(self.server, self._required)
        except ValueError as error:
            raise ValueError(f"{error}\nStart it with:\n    {self.start_command}") from None
        self._prompts.max_model_len = int(settings["model_config"]["max_model_len"])
        self._max_rows = int(settings["scheduler_config"]["max_num_seqs"])

    def _recover(self, seen: int, calls: StreamConnections) -> None:
        """Wait until the server has the weights of the last sync; done once for all threads that lost it.

        Args:
            seen: `_recoveries` from before it was lost.

        Raises:
            EngineError: it stays away, or came back with other settings.
        """
        with self._recovering:
            if self._recoveries != seen:
                return
            end, pause, errors = time.monotonic() + self.options.patience_s, 0.1, 0
            while True:
                if calls.ended.is_set():
                    raise _StreamClosedError
                try:
                    self.server.get("/health", HEALTH_TIMEOUT_S)
                    version = str(self.server.get("/weight_info")["weight_version"])
                    if version != self._version:
                        self._load(restarted=not version.startswith(self._run))
                    self._recoveries += 1
                    return
                except (ServerUnreachableError, ServerError) as error:
                    lost, errors = error, errors + isinstance(error, ServerError)
                except ValueError as error:  # other settings
                    raise EngineError(str(error)) from None
                if time.monotonic() > end or errors == ATTEMPTS:
                    raise self._failed(f"the vLLM server is lost: {lost}")
                calls.ended.wait(pause)
                pause = min(2 * pause, 5.0)

    def _load(self, restarted: bool) -> None:
        """Give the server the weights of the last sync while nothing is sampled."""
        if restarted:
            self._read_settings()
        self.server.post("/pause?mode=abort&clear_cache=false")
        self._weights.send(self.server, self.options.load_timeout_s, restarted)
        for route in CACHES:
            if self.server.post(route).get("success") is False:
                raise ServerError(500, f"{route} fails: a request is still running")
        self.server.post("/update_weight_version", {"new_version": self._version})
        self.server.post("/resume")

    def _fetch(self, stream: _Stream, number: int, page: Page) -> None:
        """Put what comes of a page into the stream's queue; runs in a thread."""
        try:
            try:
                request = self._page_request(stream, number, page)
            except (OSError, ValueError) as error:  # what opening an image raises
                stream.events.put(Refused(number, str(error) or type(error).__name__))
            else:
                self._fetch_rows(stream, request)
        except _StreamClosedError:
            pass
        except BaseException as error:  # raised by the thread that streams
            stream.events.put(error)

    def _fetch_rows(self, stream: _Stream, request: _PageRequest) -> None:
        """Request a page until all of its rows have come, at most ATTEMPTS times.

        Raises:
            EngineError: some never come, or the server is lost.
        """
        missing = set(range(request.group_size))
        for _ in range(ATTEMPTS):
            seen = self._recoveries
            try:
                for row, completion in self._answer(request, stream.calls):
                    if row in missing:
                        missing.remove(row)
                        stream.events.put(Sampled(request.number, row, completion))
                if not missing:
                    stream.events.put(_PageDone(request.number))
                    return
                lost: Exception = ServerError(200, f"{len(missing)} rows did not come")
            except ServerUnreachableError as error:
                lost = error
            except ServerError as error:
                if error.status < 500 and len(missing) == request.group_size:
                    stream.events.put(Refused(request.number, error.message))
                    return
                lost = error
            self._recover(seen, stream.calls)
        raise self._failed(f"{request.page.id} was requested {ATTEMPTS} times without success: {lost}")

    def _page_request(self, stream: _Stream, number: int, page: Page) -> _PageRequest:
        """Raises as `PromptReader.read` does."""
        prompt = self._prompts.read(page, stream.sampling.max_tokens)
        body = {
            "token_ids": prompt.prompt_ids,
            "content_parts": [{"type": "image_url", "url": _png_url(prompt)}],
            "return_token_ids": True,
            "sampling_params": self._sampling_params(stream.sampling, derive(stream.seed, "page", number)),
        }
        return _PageRequest(number, page, body, prompt.expanded_ids, stream.sampling.group_size)

    def _sampling_params(self, sampling: Sampling, seed: int) -> dict[str, Any]:
        loops = self.options.stop_repetition
        return {
            "n": sampling.group_size if sampling.temperature else 1,  # greedy rows are identical
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": seed,  # row i is drawn with seed + i
            "stop_token_ids": self.policy.end_ids,
            "ignore_eos": True,  # the policy's end tokens, and no others
            "logit_bias": dict.fromkeys(map(str, self.policy.suppressed_ids), NEVER) or None,
            "logprobs": 0,
            "flat_logprobs": True,
            "detokenize": False,
            "stream_interval": STREAM_INTERVAL,
            "repetition_detection": loops
            and {"max_pattern_size": loops[0], "min_pattern_size": 1, "min_count": loops[1]},
        }

    def _answer(self, request: _PageRequest, calls: StreamConnections) -> Iterator[tuple[int, Completion]]:
        """Rows as they end, without their text.

        Raises:
            ServerUnreachableError, ServerError: the rest does not come.
            EngineError: the server reads another prompt.
        """
        ids: dict[int, list[int]] = {}
        logprobs: dict[int, list[float]] = {}
        with closing(self.server.generate(request.body, self.options.timeout_s, calls)) as pieces:
            for piece in pieces:
                read = piece.get("prompt_token_ids")
                if read is not None and read != request.expanded_ids:
                    raise self._failed(prompt_mismatch(request.page, len(read), len(request.expanded_ids)))
                for choice in piece["choices"]:
                    row = choice["index"]
                    ids.setdefault(row, []).extend(choice["token_ids"])
                    logprobs.setdefault(row, []).extend(token["logprob"] for token in choice["logprobs"]["content"])
                    if choice["finish_reason"] is None:
                        continue
                    self._check_finished(choice, ids[row])
                    completion = sampled_completion(
                        ids[row], logprobs[row], choice["finish_reason"], self.policy.end_ids
                    )
                    one_for_all = request.body["sampling_params"]["n"] == 1
                    for same_row in range(request.group_size) if one_for_all else [row]:
                        yield same_row, completion

    def _check_finished(self, choice: dict[str, Any], token_ids: list[int]) -> None:
        """Raises ServerError for a row that was aborted, or sampled from other weights."""
        versions = {span["version"] for span in choice["weight_versions"] or []}
        if versions != {self._version}:
            raise ServerError(500, f"a row was sampled from weights {versions}, not from {self._version}")
        if choice["finish_reason"] not in FINISH_REASONS or not token_ids:
            raise ServerError(500, f"a row was aborted ({choice['finish_reason']})")

    def _failed(self, what: str) -> EngineError:
        return EngineError(what + self._advice)


def _png_url(prompt: PagePrompt) -> str:
    png = io.BytesIO()
    prompt.image.save(png, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def _tied(policy: Policy) -> bool:
    return policy.head.weight is policy.base.get_input_embeddings().weight
