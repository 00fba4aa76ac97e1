"""An engine that is several processes, each with an engine for its share of the pages: `--workers`.

The processes are fresh interpreters that get pages through a pipe and answer with completions as they end. Each reads
the images of its pages, and has a GPU where there are any. Page i is done by process i modulo N, so what is sampled
depends on N and not on who is faster.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any, Protocol

from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.seeds import derive
from ocr_rl.types import Page

if TYPE_CHECKING:
    from ocr_rl.models.policy import Policy

AHEAD = 1024
"""Pages per process that are handed out beyond the first one that is not done: more than an engine has open."""
GRACE_S = 10.0
"""How long a process may take to end by itself."""

MORE, DONE = "more", "done"
"""A process asks for its next page; it has answered for all of its pages."""


class Load(Protocol):
    """Loads an engine, and says what it is; picklable."""

    def __call__(self, say: Callable[[str], object], /) -> Engine: ...


class ParallelEngine(Engine):
    """See the module."""

    def __init__(self, load: Load, workers: int, say: Callable[[str], object] = print) -> None:
        """Starts the processes, which load their engines at the same time.

        Raises:
            ValueError, EngineError: an engine cannot be loaded; there are more processes than GPUs.
        """
        assert workers > 1
        self._workers: list[_Worker] = []
        try:
            self._workers = [_Worker(number, workers) for number in range(workers)]
            for worker in self._workers:
                worker.send(load)
            for worker in self._workers:
                lines, self.prompt_format = worker.receive()
                for line in lines if worker.number == 0 else ():
                    say(line)
            say(f"{workers} processes")
        except BaseException:
            self.close()
            raise

    def sync(self, policy: Policy) -> None:
        raise AssertionError("the engines of other processes keep the weights that they loaded")

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        count = len(self._workers)
        shares = _Shares(iter(pages), count)
        for worker in self._workers:
            worker.send((sampling, derive(seed, "worker", worker.number)))
        missing: Counter[int] = Counter()
        hungry: set[int] = set()
        busy = list(self._workers)
        while busy:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                event = worker.receive()
                if event == DONE:
                    busy.remove(worker)
                elif event == MORE:
                    hungry.add(worker.number)
                else:
                    event = event._replace(page=event.page * count + worker.number)
                    missing[event.page] += 1
                    if isinstance(event, Refused) or missing[event.page] == sampling.group_size:
                        shares.done(event.page)
                        del missing[event.page]
                    yield event
            for number in sorted(hungry):
                if shares.may_have(number):
                    hungry.remove(number)
                    self._workers[number].send(shares.next(number))

    def close(self) -> None:
        for worker in self._workers:
            worker.connection.close()
        for worker in self._workers:
            worker.end()


class _Shares:
    """Deals pages to processes, and no further ahead than needed of the first page that is not done."""

    def __init__(self, pages: Iterator[Page], count: int) -> None:
        self._pages, self._count = pages, count
        self._waiting: list[deque[Page]] = [deque() for _ in range(count)]
        self._taken = self._first = 0
        self._done: set[int] = set()
        self._over = False

    def done(self, page: int) -> None:
        self._done.add(page)
        while self._first in self._done:
            self._done.remove(self._first)
            self._first += 1

    def may_have(self, number: int) -> bool:
        """Whether the next page of a process, or that there is none, can be said now."""
        waiting = self._waiting[number]
        while not waiting and not self._over and self._taken - self._first < AHEAD * self._count:
            page = next(self._pages, None)
            if page is None:
                self._over = True
            else:
                self._waiting[self._taken % self._count].append(page)
                self._taken += 1
        return bool(waiting) or self._over

    def next(self, number: int) -> Page | None:
        return self._waiting[number].popleft() if self._waiting[number] else None


class _Worker:
    """A process, as the others see it."""

    def __init__(self, number: int, count: int) -> None:
        self.number, self.count = number, count
        self.connection, theirs = Pipe()
        code = "from ocr_rl.rollouts.parallel import work; work()"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        environment.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
        with theirs:
            place = [str(theirs.fileno()), str(number), str(count)]
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *place],
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=[theirs.fileno()],
            )

    def send(self, message: object) -> None:
        try:
            self.connection.send(message)
        except OSError as error:
            raise self._died() from error

    def receive(self) -> Any:
        """Raises what the process raised, and EngineError if it has died."""
        try:
            answer = self.connection.recv()
        except (EOFError, OSError) as error:
            raise self._died() from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def end(self) -> None:
        """Wait until the process, whose pipe is closed, has ended; one that is still busy is killed."""
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _died(self) -> EngineError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        code = self._process.poll()
        if code is None:
            how = "does not answer"
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return EngineError(f"worker {self.number + 1} of {self.count} {how}")


def work() -> None:
    """The main function of a process: loads the engine, then answers for one stream of pages after another."""
    handle, number, count = map(int, sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that started this process
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with Connection(handle) as connection, suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            _work(connection, number, count)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise  # the program that started this process has ended, or needs it no longer
        except Exception as error:
            if not isinstance(error, ValueError | EngineError):  # a bug, and not what a user can mend
                error.add_note(f"in worker {number + 1} of {count}:\n{traceback.format_exc()}")
            connection.send(_portable(error))


def _work(connection: Connection, number: int, count: int) -> None:
    load: Load = connection.recv()
    _take_gpu(number, count)
    lines: list[str] = []
    engine = load(lines.append)
    try:
        connection.send((lines, engine.prompt_format))
        while True:
            sampling, seed = connection.recv()
            for event in engine.stream(_asked_for(connection), sampling, seed):
                connection.send(event)
            connection.send(DONE)
    finally:
        engine.close()


def _asked_for(connection: Connection) -> Iterator[Page]:
    while True:
        connection.send(MORE)
        page = connection.recv()
        if page is None:
            return
        yield page


def _take_gpu(number: int, count: int) -> None:
    """Let this process see one of the GPUs. Raises ValueError if there are fewer than processes."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:  # no GPU; torch would take seconds to say so
        return
    import torch

    gpus = torch.cuda.device_count()
    if gpus and count > gpus:
        raise ValueError(f"--workers is {count}, on a machine with {gpus} GPUs; write {gpus} at most")
    if gpus:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[number]


def _portable(error: Exception) -> Exception:
    """The error itself if another process can read it, otherwise a RuntimeError with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error of any class may fail to be copied; its message still arrives
        copied = RuntimeError(f"{type(error).__name__}: {error}")
        for note in getattr(error, "__notes__", ()):
            copied.add_note(note)
        return copied
    return error
