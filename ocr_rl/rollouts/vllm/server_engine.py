"""The engine that samples from vLLM servers that the user started, usually on other GPUs.

It samples what `TransformersEngine` samples: the same prompt tokens (compared for every page), the same distribution,
and log probabilities of it. Each finished row names the version of the weights it was sampled from, and after each
`sync` every server and the trainer score one completion, so that old weights are noticed. What a lost server owes is
sampled again by the others, with the same seeds; `ServerPool` says who they are. The last server is waited for: it gets
the weights of the last sync again.

With several processes, each is a client for its own pages. The first alone delivers weights and checks them.
"""

from __future__ import annotations

import sys
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from queue import SimpleQueue
from typing import NamedTuple

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.errors import EngineError
from ocr_rl.models.checkpoints.weight_export import checkpoint_tensors
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.logprob_check import CHECK_SAMPLING
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.prompts import PromptReader, model_length, pages_at_once
from ocr_rl.rollouts.vllm.server_client import ServerError, ServerUnreachableError, StreamConnections
from ocr_rl.rollouts.vllm.server_link import ServerLink, Weights
from ocr_rl.rollouts.vllm.server_pool import ATTEMPTS, Member, ServerPool, StreamClosedError
from ocr_rl.rollouts.vllm.server_requests import PageRequest, PageRequests
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements
from ocr_rl.rollouts.vllm.server_weights import FolderWeights, NcclWeights
from ocr_rl.seeds import derive
from ocr_rl.types import Completion, Page


class _PageDone(NamedTuple):
    """All rows of the page have come."""

    page: int


class _Row(NamedTuple):
    """A row has come, without its text."""

    sampled: Sampled
    link: ServerLink


Event = _Row | Refused | _PageDone | BaseException
"""What the threads that request pages put into a stream's queue."""


@dataclass(frozen=True)
class _Stream:
    """One call of `stream`, shared by the threads that request its pages."""

    sampling: Sampling
    seed: int
    events: SimpleQueue[Event] = field(default_factory=SimpleQueue)


class ServerEngine(Engine):
    """Samples from the vLLM servers at `urls`. With several processes, all make one together, and `sync` it together.

    Raises:
        ValueError: a server does not answer, or the trainer cannot use it.
        EngineError: all are lost while their first weights are loaded.
    """

    def __init__(self, policy: Policy, urls: Sequence[str], options: VllmOptions) -> None:
        if options.transfer == "folder" and options.transfer_folder is None:
            raise ValueError('vllm.transfer is "folder"; set vllm.transfer_folder to a folder that both machines see')
        self.policy, self.options = policy, options
        self.prompt_format = policy.prompt_format
        length = model_length(policy, options.max_model_len)
        required = ServerRequirements(policy.compute_dtype, length, options.transfer, _tied(policy))
        self.links = [ServerLink(policy, url, required, options) for url in urls]
        _read_settings(self.links)
        shortest = min(link.max_model_len for link in self.links)
        prompts = PromptReader(policy, shortest, "start the server with a larger --max-model-len")
        self._requests = PageRequests(policy, prompts, options)
        self._decoding = policy.with_own_processor()
        """For the thread that streams, which may not be the trainer's."""
        self._run: str = distributed.of_first(lambda: uuid.uuid4().hex[:8])
        """Begins the versions of this run's weights; no other trainer's, and no server's own, begin so."""
        self._syncs = 0
        self._weights: Weights | None = None
        if distributed.first():
            folder = options.transfer_folder if options.transfer == "folder" else None
            self._weights = NcclWeights(policy) if folder is None else FolderWeights(folder)
        self._pool = ServerPool(self.links, options, self._deliver, _say)
        self._streaming = False
        try:
            self.sync(policy)
        except BaseException:
            self.close()
            raise

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        assert not self._streaming, "a stream is already open"
        for link in self.links:
            if sampling.group_size > link.max_rows:
                raise EngineError(
                    f"{sampling.group_size} completions of a page are more than the server's --max-num-seqs "
                    f"{link.max_rows}{link.advice}"
                )
        self._streaming = True
        room = pages_at_once(sum(member.rows for member in self._pool.members), sampling.group_size)
        stream = _Stream(sampling, seed)
        requested: dict[int, Page] = {}
        waiting = enumerate(pages)
        self._pool.begin()
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
                        case _Row(Sampled(number, _, completion) as sampled, link):
                            if distributed.first():
                                link.check.see(requested[number], completion, sampling.temperature)
                            text = self._decoding.text(completion.token_ids)
                            yield sampled._replace(completion=replace(completion, text=text))
                        case BaseException() as error:
                            raise error
            finally:
                self._pool.end()
                threads.shutdown(cancel_futures=True)
                self._pool.join()
                self._streaming = False

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, drop every cache that depends on the old ones, and check.

        Raises:
            EngineError: all servers stay away, or one does not sample from the policy's distribution.
            OSError: the weights cannot be written.
        """
        assert not self._streaming, "sync while a stream is open"
        distributed.wait()  # no other process samples any more
        self.policy = policy
        self._syncs += 1
        version = f"{self._run}-{self._syncs}"
        if self._weights is not None:
            self._weights.take(policy, version)
        elif policy.shards is not None:
            for _ in checkpoint_tensors(policy):  # the first process gathers them
                pass
        self._pool.follow(version, distributed.of_first(lambda: self._delivered(policy, version)))

    def close(self) -> None:
        if self._weights is not None:
            self._weights.close()

    def _deliver(self, link: ServerLink, version: str, answer_s: float) -> None:
        assert self._weights is not None
        link.deliver(self._weights, version, self._run, answer_s, self.options.load_timeout_s)

    def _delivered(self, policy: Policy, version: str) -> list[bool]:
        """Give the weights to all servers and check them; which servers have them."""
        self._pool.deliver(version)
        known = next((link.check.known_page for link in self.links if link.check.known_page is not None), None)
        for link in self.links:
            link.check.restart(policy)
        checked: list[Member] = []
        for _ in range(ATTEMPTS * len(self.links)):
            unchecked = [member for member in self._pool.usable if member not in checked]
            if not unchecked:
                break
            member = unchecked[0]
            try:
                self._check(member.link, known)
                checked.append(member)
            except (ServerUnreachableError, ServerError) as error:
                self._pool.lose(member, error)
                self._pool.wait_for_one()
        if not checked:
            raise EngineError(self._pool.all_lost())
        return [member in checked for member in self._pool.members]

    def _check(self, link: ServerLink, known: Page | None) -> None:
        """Compare log probabilities of each of the server's engines, for a page that was read before if there is one.

        Raises:
            EngineError: they differ.
            ServerUnreachableError, ServerError: no completion comes.
        """
        page = link.check.known_page or known
        if page is None:
            return
        try:
            request = self._requests.make(page, CHECK_SAMPLING, derive(0, "page", 0))
        except (OSError, ValueError):  # it can no longer be read
            return
        for engine in range(link.engines):
            only = engine if link.engines > 1 else None
            for _, completion in self._answer(request, link, StreamConnections(), only):
                try:
                    link.check.see(page, completion, CHECK_SAMPLING.temperature, again=True)
                except EngineError as error:
                    if only is None:
                        raise
                    raise EngineError(f"engine {only} of {link.engines} at {link.url}: {error}") from None

    def _answer(
        self, request: PageRequest, link: ServerLink, calls: StreamConnections, engine: int | None = None
    ) -> Iterator[tuple[int, Completion]]:
        return self._requests.answer(request, link, calls, self._pool.version, self.options.timeout_s, engine)

    def _fetch(self, stream: _Stream, number: int, page: Page) -> None:
        """Put what comes of a page into the stream's queue; runs in a thread."""
        try:
            try:
                request = self._requests.make(page, stream.sampling, derive(stream.seed, "page", number))
            except (OSError, ValueError) as error:  # what opening an image raises
                stream.events.put(Refused(number, str(error) or type(error).__name__))
            else:
                self._fetch_rows(stream, number, request)
        except StreamClosedError:
            pass
        except BaseException as error:  # raised by the thread that streams
            stream.events.put(error)

    def _fetch_rows(self, stream: _Stream, number: int, request: PageRequest) -> None:
        """Request a page until all of its rows have come, each time from the server that has most room.

        Raises:
            EngineError: some never come, or no server is left.
        """
        missing = set(range(request.group_size))
        failures: Counter[Member] = Counter()
        attempts = ATTEMPTS + len(self.links) - 1
        lost: Exception
        while failures.total() < attempts:
            lease = self._pool.lease(request.rows, failures)
            link = lease.member.link
            try:
                for row, completion in self._answer(request, link, lease.calls):
                    self._pool.arrived(lease)
                    if row in missing:
                        missing.remove(row)
                        stream.events.put(_Row(Sampled(number, row, completion), link))
                if not missing:
                    stream.events.put(_PageDone(number))
                    return
                lost = ServerError(200, f"{len(missing)} rows did not come")
            except ServerUnreachableError as error:
                lost = error
            except ServerError as error:
                if error.status < 500 and len(missing) == request.group_size:
                    stream.events.put(Refused(number, error.message))
                    return
                lost = error
            finally:
                self._pool.give_back(lease)
            failures[lease.member] += 1
            self._pool.examine(lease, lost)
        raise EngineError(f"{request.page.id} was requested {attempts} times without success: {lost}{link.advice}")


def _read_settings(links: Sequence[ServerLink]) -> None:
    """Raises ValueError with what is wrong with each server."""

    def trouble(link: ServerLink) -> str:
        try:
            link.read_settings()
        except ServerUnreachableError as error:
            return f"there is no vLLM server: {error}\nStart it with:\n    {link.start_command}"
        except ValueError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(len(links), thread_name_prefix="ocr-rl-server") as threads:
        troubles = [line for line in threads.map(trouble, links) if line]
    if troubles:
        process = "" if distributed.first() else f"in process {distributed.rank()}: "
        raise ValueError(process + "\n".join(troubles))


def _say(line: str) -> None:
    if distributed.first():
        tqdm.write(line, file=sys.stderr)


def _tied(policy: Policy) -> bool:
    return policy.head.weight is policy.base.get_input_embeddings().weight
