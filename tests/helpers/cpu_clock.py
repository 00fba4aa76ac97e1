"""CPU seconds that mean the same on any machine: what a limit on running time is compared with."""

import gc
import time
from types import TracebackType

LOOP_SECONDS = 0.006
"""What `_loop` takes on the machine for which the limits were chosen."""


class CpuClock:
    """Measures its block in CPU seconds of a machine of reference speed.

    A loop of the same kind of work is timed before and after, so that a slow or busy machine does not count against the
    code. Objects of earlier tests are kept from the garbage collector meanwhile: walking them is not the code's work.
    """

    seconds: float

    def __enter__(self) -> "CpuClock":
        gc.freeze()
        self._loop = _loop()
        self._start = time.process_time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        taken = time.process_time() - self._start
        self.seconds = taken * min(LOOP_SECONDS / min(self._loop, _loop()), 1)
        gc.unfreeze()


def _loop() -> float:
    """CPU seconds of a fixed amount of work on small strings, lists and dictionaries."""
    start = time.process_time()
    words: dict[str, list[str]] = {}
    for i in range(20_000):
        word = str(i * 7919 % 1000)
        words.setdefault(word, []).append(word.strip() + " ")
    return time.process_time() - start
