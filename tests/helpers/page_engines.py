"""Engines that other processes can load: they write what they see of a page, after a fixed time."""

import os
import signal
import time
from dataclasses import dataclass

from ocr_rl.config.presets import PromptFormat
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Engine, Refused, Sampled
from ocr_rl.types import Completion, ImageError


class NotCopiedError(Exception):
    """Pickle calls it with one argument."""

    def __init__(self, one, other):
        super().__init__(f"{one} {other}")


class SizeEngine(Engine):
    """Writes the size of each page's image, and the number of the completion; some page ids are special."""

    prompt_format = PromptFormat(output="doctags")

    def __init__(self, seconds):
        self.seconds = seconds

    def stream(self, pages, sampling, seed):
        for number, page in enumerate(pages):
            time.sleep(1.0 if page.id == "slow" else self.seconds)
            if page.id == "stop":
                raise EngineError("out of memory")
            if page.id == "bug":
                raise KeyError("bug")
            if page.id == "no copy":
                raise NotCopiedError("a", "b")
            if page.id == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                size = page.image.size
            except ImageError as error:
                yield Refused(number, error.reason)
                continue
            for row in reversed(range(sampling.group_size)):
                yield Sampled(number, row, Completion((), f"{page.id} {size} {row}", "end", ()))

    def sync(self, policy):
        raise AssertionError


@dataclass(frozen=True)
class LoadSizes:
    seconds: float = 0.0
    fails: str = ""

    def __call__(self, say):
        if self.fails:
            raise ValueError(self.fails)
        say("engine: sizes")
        return SizeEngine(self.seconds)
