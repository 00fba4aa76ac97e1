"""Several vLLM servers: which of them samples a page, which are lost, and which have the weights of the last sync.

The rows of a page go together to the server that has the fewest rows for its size. A server that fails leaves the pool
until the next sync, and the others sample what it owes; the last one is waited for.

With several processes, each has a pool of the same servers for its own pages. The first one delivers the weights. So a
server that was started again in the middle of a step is of use to the others once the first process needs it too.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from ocr_rl import distributed
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.rollouts.vllm.server_client import (
    ANSWER_TIMEOUT_S,
    ServerError,
    ServerSilentError,
    ServerUnreachableError,
    StreamConnections,
)
from ocr_rl.rollouts.vllm.server_link import ServerLink

ATTEMPTS = 4
"""How often a page is requested, or weights are sent, before the engine gives up."""
QUEUED = 2
"""Pages that a server may have before there is room for their rows: enough to be busy, too few to keep from others."""
HUNG_AFTER_S, LOST_FOR_S = 10.0, 2.0
"""A sync waits so long for a server that others can replace: for one of the pool, and for one that was lost before."""


class OtherWeightsError(Exception):
    """A server answers, but has not been given the weights yet."""


class StreamClosedError(Exception):
    """The stream is closed: nobody waits for an answer."""


@dataclass(eq=False)
class Member:
    """A server of the pool."""

    link: ServerLink
    rows: int
    """How many it samples at a time for this process, with as many for each of the others."""
    usable: bool = True
    """It has the weights of the last sync, and has not been lost since."""
    why: Exception | None = None
    """Why it is not usable."""
    requested: int = 0
    """Rows that it owes this process."""
    examined: int = 0
    """How often it was found well after a failure."""
    calls: StreamConnections = field(default_factory=StreamConnections)
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held by the thread that examines it."""


@dataclass(eq=False)
class Lease:
    """Rows that a server is asked for."""

    member: Member
    calls: StreamConnections
    examined: int
    rows: int
    """Those that have not come."""


class ServerPool:
    """The servers of one process; any thread may ask for one.

    Attributes:
        version: of the weights of the last sync.
    """

    def __init__(
        self,
        links: Sequence[ServerLink],
        options: VllmOptions,
        deliver: Callable[[ServerLink, str, float], None],
        say: Callable[[str], object],
    ) -> None:
        """`deliver` gives a server the weights of a version, and its engines the third argument's seconds to answer.
        Only the first process calls it.
        """
        self.version = ""
        self.patience_s = options.patience_s
        self.members = [Member(link, _share(min(options.rows, link.max_rows) * link.engines)) for link in links]
        self._deliver, self._say = deliver, say
        self._changed = threading.Condition()
        self._waiting = False
        """A thread waits for the first server that comes back."""
        self._ended = threading.Event()
        self._threads = ThreadPoolExecutor(len(links), thread_name_prefix="ocr-rl-weights")
        self._bringing: dict[Member, Future[None]] = {}

    @property
    def usable(self) -> list[Member]:
        return [member for member in self.members if member.usable]

    def begin(self) -> None:
        """Before the first lease of a stream."""
        self._ended.clear()
        for member in self.members:
            member.calls = StreamConnections()

    def end(self) -> None:
        """Hang up, and refuse every lease until `begin`."""
        with self._changed:
            self._ended.set()
            self._changed.notify_all()
        for member in self.members:
            member.calls.hang_up()

    def lease(self, rows: int, failures: Counter[Member]) -> Lease:
        """Wait for a server with room; those with the fewest `failures` come first.

        Raises:
            EngineError: none is left, and none comes back.
            StreamClosedError: after `end`.
        """
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._ended.is_set() or self._with_room(rows) or self._nobody_waits())
                if self._ended.is_set():
                    raise StreamClosedError
                if found := self._with_room(rows):
                    member = min(found, key=lambda one: (failures[one], one.requested / one.rows, self._turn(one)))
                    member.requested += rows
                    return Lease(member, member.calls, member.examined, rows)
                self._waiting = True
            try:
                self._wait_for_one()
            finally:
                with self._changed:
                    self._waiting = False
                    self._changed.notify_all()

    def arrived(self, lease: Lease) -> None:
        """One of the rows has come."""
        self._release(lease, min(1, lease.rows))

    def give_back(self, lease: Lease) -> None:
        """The rows that have not come will not come."""
        self._release(lease, lease.rows)

    def examine(self, lease: Lease, failure: Exception) -> None:
        """A request has failed: the server leaves the pool, unless it answers and has the right weights.

        One that was silent leaves where others are left: its engine may hang although the server answers.

        Raises:
            StreamClosedError: after `end`.
        """
        member = lease.member
        with member.lock:
            if self._ended.is_set():
                raise StreamClosedError
            if not member.usable or member.examined != lease.examined:
                return  # another thread has examined it
            if isinstance(failure, ServerSilentError) and len(self.usable) > 1:
                self.lose(member, failure)
                return
            try:
                found = member.link.version()
                if found == self.version:
                    member.examined += 1
                    return
                self.lose(member, ServerError(200, f"it has the weights {found}, not {self.version}"))
            except (ServerUnreachableError, ServerError) as error:
                self.lose(member, error)

    def lose(self, member: Member, why: Exception) -> None:
        with self._changed:
            member.usable, member.why = False, why
            self._changed.notify_all()
        if others := len(self.usable):
            member.calls.hang_up()
            them = f"{others} other servers sample" if others > 1 else "the other server samples"
            self._say(f"{_reason(member)}; {them} its pages until it answers again at a weight sync")

    def deliver(self, version: str) -> None:
        """Give every server that answers the weights of a version. Only for the first process.

        Raises:
            EngineError: none answers for long, or none takes the weights.
        """
        self.version = version
        self._ended.clear()
        before = self.usable
        self._bring(self.members)
        self.join()
        self.wait_for_one()
        for member in self.members:
            if member.usable and member not in before:
                self._say(f"{member.link.url} answers again and has the current weights")
            elif member in before and not member.usable:
                assert member.why is not None
                self.lose(member, member.why)

    def follow(self, version: str, usable: Sequence[bool]) -> None:
        """What the first process has delivered, and to which servers."""
        self.version = version
        for member, well in zip(self.members, usable, strict=True):
            member.usable = well

    def wait_for_one(self) -> None:
        """If no server is usable, wait until one is, and until all that answer are.

        Raises:
            EngineError: none is after `patience_s`, all keep failing, or they have other settings.
            StreamClosedError: after `end`.
        """
        self._wait_for_one()
        self.join()

    def join(self) -> None:
        """Wait for the servers that are given weights beside a stream."""
        while self._bringing:
            self._bringing.popitem()[1].result()

    def _wait_for_one(self) -> None:
        """The first server that is usable ends the wait; others may become so later, until `join`."""
        end, pause, errors = time.monotonic() + self.patience_s, 0.1, 0
        while not self.usable:
            self._bring([member for member in self.members if not member.usable])
            with self._changed:
                self._changed.wait_for(lambda: self._ended.is_set() or self.usable, pause)
            if self._ended.is_set():
                raise StreamClosedError
            pause = min(2 * pause, 5.0)
            if self.usable or not all(bringing.done() for bringing in self._bringing.values()):
                continue
            reasons = [member.why for member in self.members]
            if all(isinstance(why, ValueError) for why in reasons):  # other settings
                raise EngineError("\n".join(map(str, reasons)))
            errors += all(isinstance(why, ServerError | ValueError) for why in reasons)  # no other can still come
            if time.monotonic() > end or errors == ATTEMPTS:
                raise EngineError(self.all_lost())

    def _bring(self, members: Sequence[Member]) -> None:
        """Begin to make those usable that answer, and have or take the weights."""
        for member in members:
            if (before := self._bringing.get(member)) is not None:
                if not before.done():
                    continue
                self._bringing.pop(member).result()
            self._bringing[member] = self._threads.submit(self._bring_one, member, self._answer_s(member))

    def _answer_s(self, member: Member) -> float:
        """How long to wait for an answer: an engine may hang although its server is healthy."""
        if not any(other.usable for other in self.members if other is not member):
            return ANSWER_TIMEOUT_S
        return HUNG_AFTER_S if member.usable else LOST_FOR_S

    def _bring_one(self, member: Member, answer_s: float) -> None:
        why: Exception | None = None
        try:
            found = "" if member.usable else member.link.version(answer_s)
            if distributed.first():
                self._deliver(member.link, self.version, answer_s)
            elif found != self.version:
                why = OtherWeightsError(
                    f"it has the weights {found}; only the first process can give it {self.version}"
                )
        except (ServerUnreachableError, ServerError, ValueError) as error:
            why = error
        with self._changed:
            member.usable, member.why = why is None, why
            if member.usable:
                member.calls, member.examined = StreamConnections(), member.examined + 1
                self._changed.notify_all()

    def _with_room(self, rows: int) -> list[Member]:
        return [member for member in self.usable if member.requested < member.rows + (QUEUED - 1) * rows]

    def _nobody_waits(self) -> bool:
        return not (self._waiting or self.usable)

    def _turn(self, member: Member) -> int:
        """Of equal servers each process begins with another."""
        return (self.members.index(member) - distributed.rank()) % len(self.members)

    def _release(self, lease: Lease, rows: int) -> None:
        with self._changed:
            lease.rows -= rows
            lease.member.requested -= rows
            self._changed.notify_all()

    def all_lost(self) -> str:
        reasons = "; ".join(map(_reason, self.members))
        what = "the vLLM server is lost" if len(self.members) == 1 else "no vLLM server is left"
        return f"{what}: {reasons}{self.members[0].link.advice}"


def _share(rows: int) -> int:
    """Of one process, rounded up."""
    return -(-rows // distributed.count())


def _reason(member: Member) -> str:
    url, why = member.link.url, str(member.why)
    return why if why.startswith(url) else f"{url}: {why}"
