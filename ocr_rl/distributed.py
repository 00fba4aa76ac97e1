"""Data parallelism: the processes that a launcher (torchrun, accelerate) started train one policy together.

Each holds the whole policy and draws the same pages. It samples, scores and takes the gradient of its share of them;
what is computed of a whole batch is gathered first, and gradients are summed before a step. So the update is that of
one process on the same batch, up to the order of summation. The first process alone writes and speaks.

All come to the same exchanges in the same order, and whatever is exchanged begins with how each process fares. One that
fails says so in place of its next exchange, so that all end together and none waits for ever.

What it is not: neither weights nor optimiser state are divided, and gradients are summed after the backward pass, not
during it. In one process everything here is the identity.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from ocr_rl.errors import EngineError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long a process waits for one that is at work; that another has died is noticed at once."""

LAUNCHED = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK GROUP_WORLD_SIZE ROLE_RANK ROLE_WORLD_SIZE ROLE_NAME"
"""What a launcher says in the environment, beside the address (MASTER_*) and its own affairs (TORCHELASTIC_*)."""

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, EngineError, SystemExit)
"""Errors that the first process puts in words. Of others every process shows its traceback."""


@dataclass
class _World:
    rank: int = 0
    count: int = 1
    over: bool = False
    """One has failed and all know: nothing is exchanged any more."""


_world = _World()


def count() -> int:
    return _world.count


def rank() -> int:
    """Which of them this process is, from 0."""
    return _world.rank


def first() -> bool:
    """Whether this process is the one that writes and speaks."""
    return _world.rank == 0


@contextmanager
def together() -> Iterator[None]:
    """Train with the processes that a launcher started (WORLD_SIZE in the environment), if there are several.

    They leave together. An error in one is raised in all; those that a user can mend leave all but the first quietly.

    Raises:
        ValueError: there are fewer GPUs than processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or "LOCAL_RANK" not in os.environ:
        yield
        return
    _join()
    try:
        yield
        if not _world.over:
            wait()
    except (Exception, SystemExit) as error:
        tell(error)
        if first() or not isinstance(error, USER_ERRORS):
            raise
    finally:
        _leave()


def tell(error: BaseException) -> None:
    """Raise the error in the other processes, at their next exchange. Nothing if they know that one has failed."""
    if _world.count > 1 and not _world.over:
        with suppress(ConnectionError):
            _exchange(None, error)
        _world.over = True


def wait() -> None:
    """Until all processes are here."""
    if _world.count > 1:
        _exchange(None)


def mine(items: Sequence[T]) -> list[T]:
    """The share of this process: every `count`-th item."""
    return list(items[_world.rank :: _world.count])


def gather(own: Sequence[T]) -> list[T]:
    """The items of all processes; those of `mine` are in their old order again. No tensor may be on a GPU."""
    if _world.count == 1:
        return list(own)
    shares = _exchange(own)
    return [share[i] for i in range(max(map(len, shares))) for share in shares if i < len(share)]


def of_first(work: Callable[[], T]) -> T:
    """What `work` gives in the first process; it runs nowhere else, and the others wait for it."""
    if _world.count == 1:
        return work()
    given: list[Any] = _exchange(work() if first() else None)
    result: T = given[0]
    return result


def any_of(flag: bool) -> bool:
    """Whether it is true in one of the processes."""
    return flag if _world.count == 1 else any(_exchange(flag))


def sum_over(tensor: Tensor) -> None:
    """Add up over the processes, in place."""
    if _world.count > 1:
        _exchange(None)
        _all_reduce(tensor)


def sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Add up over the processes, in place. A weight without gradient in all of them keeps none."""
    if _world.count == 1:
        return
    import torch

    present = _exchange([parameter.grad is not None for parameter in parameters])
    for parameter, somewhere in zip(parameters, map(any, zip(*present, strict=True)), strict=True):
        if somewhere:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            _all_reduce(parameter.grad)


def _join() -> None:
    """Through gloo, and through NCCL where there are GPUs: then this process sees its own and no other."""
    import torch

    place, here = int(os.environ["LOCAL_RANK"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if gpus := torch.cuda.device_count():
        if here > gpus:
            raise ValueError(f"{here} processes were started on a machine with {gpus} GPUs; start at most as many")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[place]

    from accelerate import PartialState

    state = PartialState(cpu=not gpus, backend="cpu:gloo,cuda:nccl" if gpus else "gloo", timeout=PATIENCE)
    _world.rank, _world.count, _world.over = state.process_index, state.num_processes, False
    for name in list(os.environ):  # an engine's process, or a verifier's, is none of those that were launched
        if name in LAUNCHED.split() or name.startswith(("MASTER_", "TORCHELASTIC_")):
            del os.environ[name]


def _leave() -> None:
    from accelerate import PartialState

    PartialState().destroy_process_group()
    _world.rank, _world.count, _world.over = 0, 1, False


def _exchange(value: T, error: BaseException | None = None) -> list[T]:
    """What each process gives, in their order. Raises the error that another has given in its place.

    Raises:
        ConnectionError: another has ended without a word.
    """
    from accelerate.utils import gather_object

    with _connected():
        given = gather_object([(value, None if error is None else _portable(error))])
    errors = [theirs for _, theirs in given if theirs is not None]
    if errors and error is None:
        _world.over = True
        raise errors[0]
    return [theirs for theirs, _ in given]


def _all_reduce(tensor: Tensor) -> None:
    from torch import distributed

    with _connected():
        distributed.all_reduce(tensor)  # the sum


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which nobody else has to be lost for
            raise
        _world.over = True
        why = str(error).partition("\n")[0]
        raise ConnectionError(f"process {_world.rank} of this run has lost another, which was killed: {why}") from error


def _portable(error: BaseException) -> BaseException:
    """As it is, if another process can read it; otherwise a RuntimeError that tells of it."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever an error of someone else's class does when it is copied, its message gets through
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in process {_world.rank}")
    return error
