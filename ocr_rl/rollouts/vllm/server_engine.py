"""The engine that samples from a vLLM server that somebody has started, on other GPUs, under an address.

What it samples is what `TransformersEngine` samples: the same prompt tokens (compared for every page), the same
distribution, and log probabilities of it. Each finished row says from which version of the weights it was sampled, and
after each `sync` server and trainer score one completion, so that old weights do not go unnoticed. A server that comes
back after a restart gets the weights of the last sync again, and is asked again for what it owes.
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
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

from ocr_rl.errors import EngineError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.logprob_check import PROBE, TOLERANCES, logprob_mismatch
from ocr_rl.rollouts.vllm.server_client import (
    CACHES,
    ServerError,
    ServerUnreachableError,
    StreamConnections,
    VllmServer,
)
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements, check, model_name, serve_command
from ocr_rl.rollouts.vllm.server_weights import FolderWeights, NcclWeights
from ocr_rl.types import Completion, FinishReason, Page

READ_AHEAD = 8
"""Pages that are asked for before there is room for their rows."""
STREAM_INTERVAL = 64
"""Tokens of a row that come together: enough to tell that the server is at work."""
ATTEMPTS = 4
"""Times that a page is asked for, before the engine gives up."""
HEALTH_TIMEOUT_S = 10.0
NEVER = -1e30
"""Bias of a suppressed token: exp of it is 0 in every precision, and unlike -inf it exists in JSON."""


class _Ended(NamedTuple):
    """Nothing more comes of this page."""

    page: int


class _ConnectionLostError(Exception):
    """The stream is closed: nobody waits for an answer."""


class ServerEngine(Engine):
    """Samples from the vLLM server at `url`, which `start_command` says how to start.

    Raises:
        ValueError: no server is there, or one that a trainer cannot use.
        EngineFailed: it is gone while it gets its first weights.
    """

    def __init__(
        self,
        policy: Policy,
        url: str,
        *,
        transfer: Literal["nccl", "folder"] = "nccl",
        folder: Path | None = None,
        rows: int = 256,
        max_model_len: int = 8192,
        stop_repetition: tuple[int, int] | None = None,
        timeout_s: float = 300.0,
        load_timeout_s: float = 1200.0,
        patience_s: float = 300.0,
        tolerance: float | None = None,
    ) -> None:
        """
        Args:
            transfer: how weights get to the server: nccl, from GPU to GPU (not yet run on a GPU); folder, by files.
            folder: for "folder": where trainer and server see the same files under the same path. It holds one copy of
                the weights, and none after `close`.
            rows: completions that are in flight at a time.
            max_model_len: tokens of a prompt and its completion that the server must have room for.
            stop_repetition: (length, count): a row ends when its last tokens are `count` times the same pattern of at
                most `length` tokens.
            timeout_s: a server that says nothing for so long is asked again.
            load_timeout_s: the same while it takes weights over.
            patience_s: how long the server may be away.
            tolerance: mean absolute difference of log probabilities that the check after a sync lets pass; None: by
                dtype, see engine_probe.TOLERANCES.
        """
        if transfer == "folder" and folder is None:
            raise ValueError('vllm.transfer is "folder"; name one in vllm.transfer_folder that both machines see')
        self.server = VllmServer(url)
        positions = getattr(policy.base.config.get_text_config(), "max_position_embeddings", max_model_len)
        self._wanted = ServerRequirements(policy.compute_dtype, min(max_model_len, positions), transfer, _tied(policy))
        self.start_command = serve_command(model_name(policy), self._wanted, rows, self.server.port)
        self.policy, self.rows = policy, rows
        self.stop_repetition = stop_repetition
        self.timeout_s, self.load_timeout_s, self.patience_s = timeout_s, load_timeout_s, patience_s
        self.tolerance = TOLERANCES[policy.compute_dtype] if tolerance is None else tolerance
        try:
            self._take_settings()
        except ServerUnreachableError as gone:
            raise ValueError(f"there is no vLLM server: {gone}\nStart it so:\n    {self.start_command}") from None
        shared = folder if transfer == "folder" else None
        self._weights = NcclWeights(policy) if shared is None else FolderWeights(shared)
        self._run = uuid.uuid4().hex[:8]
        self._syncs = 0
        self._version = ""
        """Of the weights of the last sync; no other trainer, and no server that was just started, says the same."""
        self._recoveries = 0
        self._recovering = threading.Lock()
        self._known: Page | None = None
        """A page that the server has read: what it remembers of this page must not outlive a sync."""
        self._proven = False
        """Whether the server's log probabilities were compared with the trainer's since the last sync."""
        self._streaming = False
        self._reading = policy.with_own_processor()
        """For the threads that read pages, one at a time."""
        self._reading_lock = threading.Lock()
        self._decoding = policy.with_own_processor()
        """For whoever streams, which may be another thread than the trainer's."""
        try:
            self.sync(policy)
        except BaseException:
            self.close()
            raise

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        assert not self._streaming, "a stream is open already"
        if sampling.group_size > self._most_rows:
            raise self._failed(
                f"{sampling.group_size} completions of a page are more than the server's --max-num-seqs "
                f"{self._most_rows}"
            )
        self._streaming = True
        room = -(-self.rows // sampling.group_size) + READ_AHEAD
        calls = StreamConnections()
        events: SimpleQueue[Sampled | Refused | _Ended | BaseException] = SimpleQueue()
        asked: dict[int, Page] = {}
        waiting = enumerate(pages)
        with ThreadPoolExecutor(room, thread_name_prefix="ocr-rl-server") as threads:
            try:
                while True:
                    while len(asked) < room and (new := next(waiting, None)) is not None:
                        asked[new[0]] = new[1]
                        threads.submit(self._ask, *new, sampling, seed, calls, events)
                    if not asked:
                        return
                    match events.get():
                        case _Ended(page):
                            self._known = asked.pop(page)
                        case Refused() as refused:
                            del asked[refused.page]
                            yield refused
                        case Sampled(page, _, completion) as sampled:
                            if not self._proven:
                                self._compare(asked[page], completion, sampling.temperature)
                            text = self._decoding.text(completion.token_ids)
                            yield sampled._replace(completion=replace(completion, text=text))
                        case BaseException() as error:
                            raise error
            finally:
                calls.hang_up()
                threads.shutdown(cancel_futures=True)
                self._streaming = False

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, drop every cache that depends on the old ones, and check.

        Raises:
            EngineFailed: the server stays away, or does not sample from the policy's distribution.
            OSError: the weights cannot be written.
        """
        assert not self._streaming, "sync while a stream is open"
        self.policy = policy
        self._syncs += 1
        self._version = f"{self._run}-{self._syncs}"
        self._weights.take(policy, self._version)
        self._recover(self._recoveries, StreamConnections())
        self._proven = False
        if self._known is not None:
            for _ in self.stream([self._known], PROBE, seed=0):
                pass

    def close(self) -> None:
        self._weights.close()

    def _take_settings(self) -> None:
        """Raises ServerGone or ValueError."""
        try:
            settings = check(self.server, self._wanted)
        except ValueError as error:
            raise ValueError(f"{error}\nStart it so:\n    {self.start_command}") from None
        self.max_model_len = int(settings["model_config"]["max_model_len"])
        self._most_rows = int(settings["scheduler_config"]["max_num_seqs"])

    def _recover(self, seen: int, calls: StreamConnections) -> None:
        """Wait until the server is there with the weights of the last sync; done once for all who saw it lost.

        Args:
            seen: `_recoveries` from before it was lost.

        Raises:
            EngineFailed: it stays away, or was started otherwise.
        """
        with self._recovering:
            if self._recoveries != seen:
                return
            end, pause, errors = time.monotonic() + self.patience_s, 0.1, 0
            while True:
                if calls.ended.is_set():
                    raise _ConnectionLostError
                try:
                    self.server.get("/health", HEALTH_TIMEOUT_S)
                    version = str(self.server.get("/weight_info")["weight_version"])
                    if version != self._version:
                        self._deliver(restarted=not version.startswith(self._run))
                    self._recoveries += 1
                    return
                except (ServerUnreachableError, ServerError) as error:
                    lost, errors = error, errors + isinstance(error, ServerError)
                except ValueError as error:  # it came back with other settings
                    raise EngineError(str(error)) from None
                if time.monotonic() > end or errors == ATTEMPTS:
                    raise self._failed(f"the vLLM server is lost: {lost}")
                calls.ended.wait(pause)
                pause = min(2 * pause, 5.0)

    def _deliver(self, restarted: bool) -> None:
        """Give the server the weights of the last sync while nothing is sampled."""
        if restarted:
            self._take_settings()
        self.server.post("/pause?mode=abort&clear_cache=false")
        self._weights.send(self.server, self.load_timeout_s, restarted)
        for route in CACHES:
            if self.server.post(route).get("success") is False:
                raise ServerError(500, f"{route} fails: a request is still running")
        self.server.post("/update_weight_version", {"new_version": self._version})
        self.server.post("/resume")

    def _ask(
        self,
        number: int,
        page: Page,
        sampling: Sampling,
        seed: int,
        calls: StreamConnections,
        events: SimpleQueue[Sampled | Refused | _Ended | BaseException],
    ) -> None:
        """All that becomes of a page; runs in a thread of its own."""
        try:
            try:
                request, expanded_ids = self._request(page, sampling, _page_seed(seed, number))
            except (OSError, ValueError) as error:  # what opening an image raises
                events.put(Refused(number, str(error) or type(error).__name__))
                return
            owed = set(range(sampling.group_size))
            for _ in range(ATTEMPTS):
                seen = self._recoveries
                try:
                    for row, completion in self._answer(request, page, expanded_ids, sampling.group_size, calls):
                        if row in owed:
                            owed.remove(row)
                            events.put(Sampled(number, row, completion))
                    if not owed:
                        events.put(_Ended(number))
                        return
                    lost: Exception = ServerError(200, f"{len(owed)} rows did not come")
                except ServerUnreachableError as error:
                    lost = error
                except ServerError as error:
                    if error.status < 500 and len(owed) == sampling.group_size:
                        events.put(Refused(number, error.message))
                        return
                    lost = error
                self._recover(seen, calls)
            raise self._failed(f"{page.id} was asked for {ATTEMPTS} times in vain: {lost}")
        except _ConnectionLostError:
            pass
        except BaseException as error:  # raised by who streams
            events.put(error)

    def _request(self, page: Page, sampling: Sampling, seed: int) -> tuple[dict[str, Any], list[int]]:
        """What to ask, and the prompt's token ids as the trainer reads them.

        Raises ValueError or OSError where the page cannot be read or is too long.
        """
        with self._reading_lock:
            image = self._reading.budget.fit(page.image)
            fitted = replace(page, open_image=lambda: image)
            prompt_ids, expanded_ids = self._reading.unexpanded_ids(fitted), self._reading.prompt(fitted).token_ids
        if len(expanded_ids) + sampling.max_tokens > self.max_model_len:
            raise ValueError(
                f"its prompt of {len(expanded_ids)} tokens and a completion of {sampling.max_tokens} are more than "
                f"the server's {self.max_model_len}; start it with more --max-model-len, or lower model.max_pixels"
            )
        loops = self.stop_repetition
        params = {
            "n": sampling.group_size if sampling.temperature else 1,  # greedy rows are all the same
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": seed,  # row i is drawn with seed + i
            "stop_token_ids": self.policy.end_ids,
            "ignore_eos": True,  # the policy's own end tokens, and no others
            "logit_bias": dict.fromkeys(map(str, self.policy.suppressed_ids), NEVER) or None,
            "logprobs": 0,
            "flat_logprobs": True,
            "detokenize": False,
            "stream_interval": STREAM_INTERVAL,
            "repetition_detection": loops
            and {"max_pattern_size": loops[0], "min_pattern_size": 1, "min_count": loops[1]},
        }
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=1)
        url = "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
        request = {
            "token_ids": prompt_ids,
            "content_parts": [{"type": "image_url", "url": url}],
            "return_token_ids": True,
            "sampling_params": params,
        }
        return request, expanded_ids

    def _answer(
        self, request: dict[str, Any], page: Page, expanded_ids: list[int], size: int, calls: StreamConnections
    ) -> Iterator[tuple[int, Completion]]:
        """Rows as they end, without their text.

        Raises:
            ServerGone, ServerError: the rest does not come.
            EngineFailed: the server reads another prompt.
        """
        ids: dict[int, list[int]] = {}
        logprobs: dict[int, list[float]] = {}
        with closing(self.server.generate(request, self.timeout_s, calls)) as pieces:
            for piece in pieces:
                if (read := piece.get("prompt_token_ids")) is not None and read != expanded_ids:
                    raise self._failed(
                        f"{page.id}: the server's prompt has {len(read)} tokens, the trainer's {len(expanded_ids)}, "
                        "or as many others: it runs another model, or resizes pages"
                    )
                for choice in piece["choices"]:
                    row = choice["index"]
                    ids.setdefault(row, []).extend(choice["token_ids"])
                    logprobs.setdefault(row, []).extend(token["logprob"] for token in choice["logprobs"]["content"])
                    if choice["finish_reason"] is None:
                        continue
                    versions = {span["version"] for span in choice["weight_versions"] or []}
                    if versions != {self._version}:
                        raise ServerError(500, f"a row was sampled from weights {versions}, not from {self._version}")
                    completion = self._completion(ids[row], logprobs[row], choice["finish_reason"])
                    for place in [row] if request["sampling_params"]["n"] > 1 else range(size):
                        yield place, completion

    def _completion(self, ids: list[int], logprobs: list[float], reason: str) -> Completion:
        """Without its text. Raises ServerError for a row that was broken off."""
        reasons: dict[str, FinishReason] = {"stop": "end", "length": "length", "repetition": "repetition"}
        if reason not in reasons or not ids:
            raise ServerError(500, f"a row was broken off ({reason})")
        ended = ids[-1] in self.policy.end_ids
        return Completion(ids, "", "end" if ended else reasons[reason], logprobs)

    def _compare(self, page: Page, completion: Completion, temperature: float) -> None:
        """Raises EngineFailed where the policy's log probabilities are others than rounding explains."""
        trouble = logprob_mismatch(self.policy, page, completion, temperature, self.tolerance)
        if trouble is not None:
            raise self._failed(trouble)
        self._proven = True

    def _failed(self, what: str) -> EngineError:
        return EngineError(
            f"{what}\nStart the server so:\n    {self.start_command}\n"
            "The weights and checkpoints of the run are not affected"
        )


def _tied(policy: Policy) -> bool:
    return policy.head.weight is policy.base.get_input_embeddings().weight


def _page_seed(seed: int, page: int) -> int:
    """Depends on nothing but these, so that a page asked for again is drawn again."""
    return int.from_bytes(blake2b(f"{seed}:{page}".encode(), digest_size=7).digest(), "big")
