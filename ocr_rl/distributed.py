"""Data parallelism: the processes that a launcher (torchrun, accelerate) started train one policy together.

Each process holds the whole policy and draws the same pages. It samples, scores and computes the gradient of its share
of them; data for computations over the whole batch is gathered first, and gradients are summed before a step. So the
update is that of one process on the same batch, up to the order of summation. Only the first process writes files and
prints.

All processes make the same exchanges in the same order, and each exchange carries the state of every process. A
process that fails says so in its next exchange, so that all end together and none waits forever.

Where weights are sharded, a forward or backward pass is an exchange too, and processes that have different numbers of
completions would wait for each other forever. So every pass has its turn (`take_turn`): all processes make the same
passes in the same order, and one that has nothing to compute joins those of the others with an empty input.

A second thread in each process may work ahead of the first (`aside`). Its exchanges go through separate connections,
and their order does not depend on those of the first.

In one process every function here is the identity.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ocr_rl.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for a busy one; a dead one is noticed immediately."""

LAUNCHED = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_SIZE ROLE_NAME"
"""Variables that a launcher sets, in addition to the address (MASTER_*) and its own settings (TORCHELASTIC_*)."""

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, EngineError, SystemExit)
"""Errors that the first process reports with a message. For others every process shows its traceback."""


EXCHANGE, FAILURE = 0, 1 << 10
"""Turns that are no passes."""
PARTNERS = 1 << 10
"""Largest number of partners."""


class Partner(Protocol):
    """What processes have to compute together."""

    def join(self, operation: int) -> None:
        """Take part in an operation of other processes, with nothing of this one."""

    def rest(self) -> None:
        """The processes exchange data now, after which weights may change."""


@dataclass
class _World:
    rank: int = 0
    count: int = 1
    machine: int = 1
    """Processes on this machine."""
    over: bool = False
    """A process has failed and all know it: there are no more exchanges."""
    partners: list[Partner] = field(default_factory=list)
    in_pass: bool = False
    """A pass has begun and may not have ended: others wait for its end."""
    aside: Any = None
    """The connections of the threads that work aside."""
    aside_over: bool = False
    """These have ended, or one has failed and all know it."""


_world = _World()
_thread = threading.local()
"""`aside` is set in a thread that works aside."""


def count() -> int:
    return _world.count


def rank() -> int:
    """The number of this process, from 0."""
    return _world.rank


def first() -> bool:
    """Whether this is the process that writes files and prints."""
    return _world.rank == 0


def on_this_machine() -> int:
    """How many of the processes run on this machine."""
    return _world.machine


@contextmanager
def together() -> Iterator[None]:
    """Train with the processes that a launcher started (WORLD_SIZE in the environment), if there are several.

    They end together. An error in one is raised in all; of USER_ERRORS only the first process raises it further.

    Raises:
        ValueError: there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "LOCAL_RANK" not in os.environ:
        yield
        return
    _join()
    try:
        with announced():
            yield
            if not _world.over:
                wait()
    except (Exception, SystemExit) as error:
        if first() or not isinstance(error, USER_ERRORS):
            raise
    finally:
        _leave()


@contextmanager
def announced() -> Iterator[None]:
    """Announce an error before anything is released outside: what waits for other processes there then ends."""
    try:
        yield
    except (Exception, SystemExit) as error:
        announce_failure(error)
        raise
    except KeyboardInterrupt:  # the others will see that this process has ended
        _world.aside_over = True
        raise


def announce_failure(error: BaseException) -> bool:
    """Raise the error in the other processes at their next exchange, unless they know that one has failed.

    Returns whether all know it. In the middle of a pass of sharded weights they cannot: this process has to end.
    """
    if _world.in_pass:
        _world.over = True
    if _world.count > 1 and not _world.over:
        with suppress(ConnectionError):
            _exchange(None, error)
        _world.over = True
    return not _world.in_pass


def wait() -> None:
    """Wait until all processes have called this."""
    if _world.count > 1:
        _exchange(None)


def add_partner(partner: Partner) -> int:
    """Its number for `take_turn`. All processes add the same partners in the same order."""
    _world.partners.append(partner)
    assert len(_world.partners) <= PARTNERS
    return len(_world.partners) - 1


def take_turn(operation: int, partner: int = 0) -> None:
    """Return when all processes begin this operation; until then, join what others do before it.

    If the processes are about to begin different operations, the highest goes first. After the last exchange that the
    operation makes, call `end_turn`, or take the next turn.
    """
    assert not is_aside()
    _world.in_pass = False
    own = operation * PARTNERS + partner
    while _world.partners and (first := _highest(own)) != own:
        if first == FAILURE * PARTNERS:
            _all_gathered(None)
        _world.in_pass = True
        _world.partners[first % PARTNERS].join(first // PARTNERS)
        _world.in_pass = False
    _world.in_pass = bool(_world.partners) and EXCHANGE < operation < FAILURE


def end_turn() -> None:
    """This process's operation needs no other process any more."""
    _world.in_pass = False


def open_aside() -> None:
    """Connect the threads that will work aside. All processes call this and `close_aside` together."""
    if _world.count > 1:
        from torch import distributed

        wait()  # for a process that fails before it comes here
        _world.aside, _world.aside_over = distributed.new_group(backend="gloo", timeout=PATIENCE), False


@contextmanager
def aside() -> Iterator[None]:
    """This thread works beside the one that trains: its exchanges are with the same threads of the other processes.

    It makes no passes of sharded weights. They end together, and an error is raised in all of these threads.
    """
    _thread.aside = _world.aside is not None
    try:
        yield
        if is_aside():
            wait()
    except (Exception, SystemExit) as error:
        _end_aside(error)
        raise
    finally:
        _thread.aside = False


def is_aside() -> bool:
    return getattr(_thread, "aside", False)


def close_aside() -> None:
    """No thread of this process works aside any more; if one of another process waits for it, it raises an error."""
    if not _world.in_pass:  # otherwise this process is about to end, and the others will see that
        _end_aside(EngineError("another process has stopped"))


def _end_aside(error: BaseException) -> None:
    if _world.aside is not None and not _world.aside_over:
        with suppress(ConnectionError):
            _all_gathered(None, error, _world.aside)
        _world.aside_over = True


def mine(items: Sequence[T]) -> list[T]:
    """The share of this process: every `count`-th item."""
    return list(items[_world.rank :: _world.count])


def gather(own: Sequence[T]) -> list[T]:
    """The items of all processes; shares made by `mine` are back in their order. No tensor may be on a GPU."""
    if _world.count == 1:
        return list(own)
    shares = _exchange(own)
    return [share[i] for i in range(max(map(len, shares))) for share in shares if i < len(share)]


def of_first(work: Callable[[], T]) -> T:
    """The result of `work` in the first process; it runs nowhere else, and the others wait for it."""
    if _world.count == 1:
        return work()
    given: list[Any] = _exchange(work() if first() else None)
    result: T = given[0]
    return result


def any_of(flag: bool) -> bool:
    """Whether it is true in any process."""
    return flag if _world.count == 1 else any(_exchange(flag))


def sum_over(tensor: Tensor) -> None:
    """Sum over the processes, in place."""
    if _world.count > 1:
        _exchange(None)
        _all_reduce(tensor)


def send_from_first(tensor: Tensor) -> None:
    """The first process's values, in place. Call `wait` before the first of several."""
    from torch import distributed

    with _connected():
        distributed.broadcast(tensor, 0)


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum over the processes, in place. A weight that has no gradient in any process keeps none.

    Those of sharded weights are summed already.
    """
    if _world.count == 1:
        return
    import torch
    from torch.distributed.tensor import DTensor

    whole = [parameter for parameter in parameters if not isinstance(parameter, DTensor)]
    present = _exchange([parameter.grad is not None for parameter in whole])
    for parameter, somewhere in zip(whole, map(any, zip(*present, strict=True)), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            _all_reduce(parameter.grad)


def _join() -> None:
    """Connect through gloo, and through NCCL if there are GPUs, of which this process then sees only its own."""
    import torch

    local_rank, local_count = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus := torch.cuda.device_count():
        if local_count > gpus:
            raise ValueError(
                f"{local_count} processes were started on a machine with {gpus} GPUs; start {gpus} at most"
            )
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[local_rank]

    from accelerate import PartialState

    state = PartialState(cpu=not gpus, backend="cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    _world.rank, _world.count, _world.over = state.process_index, state.num_processes, False
    _world.machine = local_count
    for name in list(os.environ):  # processes of engines and verifiers do not belong to the launched ones
        if name in LAUNCHED.split() or name.startswith(("MASTER_", "TORCHELASTIC_")):
            del os.environ[name]


def _leave() -> None:
    from accelerate import PartialState

    global _world
    PartialState().destroy_process_group()
    _world = _World()


def _exchange(value: T, error: BaseException | None = None) -> list[T]:
    """The value of each process, in order of rank. Raises the error of another process.

    Raises:
        ConnectionError: another process ended without an error.
    """
    if is_aside():
        return _all_gathered(value, error, _world.aside)
    take_turn(EXCHANGE if error is None else FAILURE)
    if error is None:
        for partner in _world.partners:
            partner.rest()
    return _all_gathered(value, error)


def _all_gathered(value: T, error: BaseException | None = None, aside: Any = None) -> list[T]:
    from accelerate.utils import gather_object
    from torch import distributed

    own = value, None if error is None else _portable(error)
    with _connected():
        if aside is None:
            given = gather_object([own])
        else:
            given = [own] * _world.count
            distributed.all_gather_object(given, own, group=aside)
    errors = [theirs for _, theirs in given if theirs is not None]
    if errors and error is None:
        if aside is None:
            _world.over = True
        else:
            _world.aside_over = True
        raise errors[0]
    return [theirs for theirs, _ in given]


def _all_reduce(tensor: Tensor) -> None:
    from torch import distributed

    assert not is_aside()
    with _connected():
        distributed.all_reduce(tensor)  # the sum


def _highest(number: int) -> int:
    """The largest of the processes' numbers."""
    import torch
    from torch import distributed

    given = torch.tensor(number)
    with _connected():
        distributed.all_reduce(given, distributed.ReduceOp.MAX)
    return int(given)


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's; the other processes are fine
            raise
        _world.over = True
        why = str(error).partition("\n")[0]
        raise ConnectionError(f"process {_world.rank} of this run lost another, which was killed: {why}") from error


def _portable(error: BaseException) -> BaseException:
    """The error itself if another process can read it, otherwise a RuntimeError with its message."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # an error of any class may fail to be copied; its message still arrives
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in process {_world.rank}")
    return error
