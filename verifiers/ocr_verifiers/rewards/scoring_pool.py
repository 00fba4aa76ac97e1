"""Scoring in several processes, with a time limit for each completion. POSIX only: the limit is a signal.

The processes are fresh interpreters that import `ocr_verifiers` and nothing of the program that started them: no fork
of a process with torch, and no second run of its main module. They get pages and completions through a pipe and answer
in order, so scores do not depend on the number of processes. A completion that takes longer than the limit ends its
process by SIGALRM, even inside compiled code; it scores 0, and the process is replaced. A process that dies for another
reason is also replaced, and the completion that it died on is scored once more. All processes end with the program that
started them, even if it is killed.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, islice
from queue import SimpleQueue
from threading import Lock
from types import TracebackType
from typing import IO, Any

from ocr_verifiers.rewards.functions import FunctionError
from ocr_verifiers.rewards.groups import Group, compared
from ocr_verifiers.rewards.rubric import PreparedReference, Rubric, Score
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.verdict import fail

CHUNK = 8
"""Completions that a process gets at once: enough to be worth sending the page, few enough to divide a group."""

LONGEST_TIMEOUT = 1e6
"""Seconds; timers of operating systems end somewhere above."""

PAGES_KEPT = 1024
"""How many prepared pages a process caches, the most recently used ones."""

PR_SET_PDEATHSIG = 1
"""Option of Linux' prctl: the signal that a process gets when the thread that started it ends."""

Completions = Sequence[tuple[str, bool]]
"""Texts, each with whether it is finished."""


@dataclass(frozen=True, eq=False)
class KnownPage:
    """A page's reference and tests. A process prepares each of these objects once and caches it."""

    where: str
    """The start of error messages."""
    reference: str | None
    tests: tuple[UnitTest, ...]


class ScoringPool:
    """Processes that score with one rubric. They start when needed and run until `close`."""

    def __init__(self, rubric: Rubric, processes: int, timeout: float | None = None) -> None:
        """`timeout` is the wall time in seconds for each completion; None means no limit."""
        if processes < 1:
            raise ValueError(f"processes is {processes}; write at least 1")
        if timeout is not None and not 0 < timeout <= LONGEST_TIMEOUT:
            limit = f"a number of seconds above 0 and up to {LONGEST_TIMEOUT:,.0f}"
            raise ValueError(f"timeout is {timeout}; write {limit}, or none for no limit")
        # With one process, each group is answered before the next is read; several processes are kept busy.
        self._ahead = 2 * processes - 1
        self._rubric = rubric
        self._workers = [_Worker(rubric, timeout) for _ in range(processes)]
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="scoring")

    def score_groups(self, groups: Iterable[Group]) -> Iterator[tuple[Group, list[Score]]]:
        """Like `ocr_verifiers.rewards.groups.score_groups`, in the same order, but reads a few groups ahead.

        An error in reading or scoring a group is raised after the scores of the groups before it.
        """
        source = _with_error_last(groups)
        waiting: deque[tuple[Group | Exception, list[Future[list[Score]]]]] = deque()
        try:
            while True:
                waiting.extend((group, self._submit(group)) for group in islice(source, self._ahead - len(waiting)))
                if not waiting:
                    return
                group, chunks = waiting.popleft()
                if isinstance(group, Exception):
                    raise group
                try:
                    scores = [score for chunk in chunks for score in chunk.result()]
                    scores = compared(self._rubric, group, group.spread(scores))
                except FunctionError as error:
                    raise error.at(group.where) from error
                except ValueError as error:
                    raise ValueError(f"{group.where}: {error}") from error
                yield group, scores
        finally:
            for _, chunks in waiting:
                for chunk in chunks:
                    chunk.cancel()

    def submit(self, page: KnownPage, completions: Completions) -> Future[list[Score]]:
        """One score for each completion, all from one process.

        The future raises ValueError for a page that cannot be scored, and RuntimeError for a bug in a verifier or for
        a completion on which a process died twice.
        """
        return self._threads.submit(self._score, page, completions)

    def close(self) -> None:
        """Ends the processes, even busy ones."""
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.reap()

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, group: Group | Exception) -> list[Future[list[Score]]]:
        """The group in chunks, at least one, because even without completions its tests are checked."""
        if isinstance(group, Exception):
            return []
        page = KnownPage(group.where, group.reference, group.tests)
        starts = range(0, len(group.distinct), CHUNK) or [0]
        return [self.submit(page, group.distinct[i : i + CHUNK]) for i in starts]

    def _score(self, page: KnownPage, completions: Completions) -> list[Score]:
        worker = self._idle.get()
        try:
            return worker.score(page, completions)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, from the point of view of the thread that uses it."""

    def __init__(self, rubric: Rubric, timeout: float | None) -> None:
        self._setup = rubric, timeout
        self._timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._pages: OrderedDict[KnownPage, _Prepared] = OrderedDict()
        """The pages that the process caches, least recently used first."""
        self._numbers = count()
        self._killed = False
        self._lock = Lock()

    def score(self, page: KnownPage, completions: Completions) -> list[Score]:
        """One score for each completion. Completions that take too long have a `trouble`."""
        scores: list[Score] = []
        died: tuple[bool, int] | None = None
        """Where a process last died: whether it was preparing the page, and after how many scores."""
        while True:
            prepared: _Prepared | None = None
            try:
                prepared = self._prepare(page)
                if len(scores) < len(completions):
                    self._send("completions", prepared.number, completions[len(scores) :])
                while len(scores) < len(completions):
                    scores.append(self._receive(page.tests))
                return scores
            except (EOFError, OSError, pickle.UnpicklingError) as error:
                code = self.reap()
                if code == -signal.SIGALRM:
                    late = f"took longer than {self._timeout:g} s"
                    if prepared is None:
                        raise ValueError(f"preparing its reference and tests {late}") from error
                    verdicts = tuple((test, fail(late)) for test in prepared.tests)
                    scores.append(Score(0.0, {}, verdicts, trouble=late))
                    continue
                place = prepared is None, len(scores)
                if place == died:
                    raise RuntimeError(f"{page.where}: a scoring process ended with code {code}") from error
                died = place

    def kill(self) -> None:
        """Ends the process for good; can be called from any thread."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

    def reap(self) -> int | None:
        """Waits for the process to end, if there is one, discards it, and returns its exit code."""
        process, self._process = self._process, None
        self._pages.clear()
        if process is None:
            return None
        with suppress(BrokenPipeError), process:  # it may not have read the last message
            pass
        return process.returncode

    def _prepare(self, page: KnownPage) -> _Prepared:
        """Starts the process if there is none, and sends it the page unless it has it."""
        if self._process is None:
            self._start()
        if page in self._pages:
            self._pages.move_to_end(page)
        else:
            number = next(self._numbers)
            forgotten = self._pages.popitem(last=False)[1].number if len(self._pages) == PAGES_KEPT else None
            self._send("page", number, page.reference, page.tests, forgotten)
            self._pages[page] = _Prepared(number, self._receive(page.tests))
        return self._pages[page]

    def _start(self) -> None:
        code = "from ocr_verifiers.rewards.scoring_pool import work; work()"
        # -P: do not import from the current folder unless this program does.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
        with self._lock:
            if self._killed:
                raise RuntimeError("the scoring pool is closed")
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
            )
        self._send("rubric", *self._setup)
        self._receive()

    def _send(self, *message: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin, pickle.HIGHEST_PROTOCOL)
        self._process.stdin.flush()

    def _receive(self, tests: Sequence[UnitTest] = ()) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        answer = _Unpickler(self._process.stdout, tests).load()
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass(frozen=True)
class _Prepared:
    """A page that a process has cached."""

    number: int
    """The process refers to the page by this number."""
    tests: tuple[UnitTest, ...]
    """Those that are run."""


def work() -> None:
    """The main function of a process: reads a rubric, then pages and completions, until the input ends.

    It answers None to a rubric, the scored tests to a page, and one Score to each completion; or an exception.
    """
    if sys.platform == "linux":  # elsewhere a process ends when it next reads, or by its time limit
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this process
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    messages = sys.stdin.buffer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # print() must not disturb the answers
    try:
        for answer, tests in _answers(messages):
            _Pickler(answers, tests).dump(answer)
            answers.flush()
    except BrokenPipeError:
        pass  # the program that started this process has ended


def _answers(messages: IO[bytes]) -> Iterator[tuple[object, Sequence[UnitTest]]]:
    """Each answer, with the tests of its page."""
    rubric: Rubric
    timeout: float | None = None
    pages: dict[int, tuple[PreparedReference, Sequence[UnitTest]]] = {}
    while True:
        try:
            match pickle.load(messages):
                case "rubric", rubric, timeout:
                    yield None, ()
                case "page", number, reference, tests, forgotten:
                    pages.pop(forgotten, None)
                    with _time_limit(timeout):
                        page = rubric.prepare(reference, tests)
                    pages[number] = page, tests
                    yield page.tests, tests
                case "completions", number, completions:
                    page, tests = pages[number]
                    for text, finished in completions:
                        with _time_limit(timeout):
                            score = page.score(text, finished)
                        yield score, tests
        except EOFError:
            return
        except FunctionError as error:
            yield FunctionError(str(error)), ()
        except ValueError as error:
            yield ValueError(str(error)), ()
        except Exception:  # a bug: it is raised again, with its traceback, in the process of the pool
            yield RuntimeError(f"in a scoring process:\n{traceback.format_exc()}"), ()


@contextmanager
def _time_limit(seconds: float | None) -> Iterator[None]:
    """Ends this process, by SIGALRM, if the block takes longer."""
    signal.setitimer(signal.ITIMER_REAL, seconds or 0.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


class _Pickler(pickle.Pickler):
    """Sends the tests of the page as their positions, since the pool has the same tests."""

    def __init__(self, file: IO[bytes], tests: Sequence[UnitTest]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._positions = {id(test): position for position, test in enumerate(tests)}

    def persistent_id(self, obj: object) -> int | None:
        return self._positions.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: IO[bytes], tests: Sequence[UnitTest]) -> None:
        super().__init__(file)
        self._tests = tests

    def persistent_load(self, position: int) -> UnitTest:
        return self._tests[position]


def _with_error_last(groups: Iterable[Group]) -> Iterator[Group | Exception]:
    """The groups; an error in reading them is the last item."""
    try:
        yield from groups
    except Exception as error:
        yield error
