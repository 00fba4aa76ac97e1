"""Parts of a reward that are Python functions of the user: `my_rewards.py:score`.

    def score(completion: str, page: RewardPage) -> float                 from 0 to 1
    def score(completion: str, page: RewardPage) -> dict[str, float]      its mean counts, each value is reported

The file is run once in each process that scores; what it imports has to be installed. What a function raises stops the
scoring, with the page and a traceback: an error of a reward is never a bad page.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ocr_verifiers.unit_tests.records import UnitTest


@dataclass(frozen=True)
class RewardPage:
    """What a function is given of the page."""

    reference: str | None
    """The true transcription, if it is known."""
    tests: tuple[UnitTest, ...]
    finished: bool
    """False for a completion that was cut off."""


class FunctionError(ValueError):
    """A function raised an exception, or what it returned is no reward. The message has a traceback."""

    def at(self, where: str) -> FunctionError:
        """The same with the page in front."""
        return FunctionError(f"{where}: {self}")


RewardFunction = Callable[[str, RewardPage], object]


def function_name(spec: str) -> str:
    """The name of the part: that of the function. Raises ValueError for what is not `FILE.py:NAME`."""
    file, _, name = spec.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ValueError(f'functions has "{spec}"; write FILE.py:NAME')
    return name


@lru_cache(maxsize=64)
def load_function(spec: str) -> RewardFunction:
    """The function. Raises ValueError if the file cannot be run or has no such function."""
    file, name = Path(spec.rpartition(":")[0]), function_name(spec)
    if not file.is_file():
        raise ValueError(f"{file}: does not exist; it should have the reward function {name}")
    module_spec = importlib.util.spec_from_file_location(f"reward_{file.stem}", file)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file}: cannot be run:\n{_trace(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ValueError(f"{file}: has no function {name}")
    return function  # type: ignore[no-any-return]  # whatever it returns is checked


def function_values(spec: str, completion: str, page: RewardPage) -> dict[str, float]:
    """What a function gives for one completion, by name: its own value first, then those of its parts."""
    name = function_name(spec)
    function = load_function(spec)
    try:
        found = function(completion, page)
    except (Exception, SystemExit) as error:
        raise FunctionError(f"{spec} failed:\n{_trace(error)}") from error
    parts = {f"{name}.{key}": value for key, value in found.items()} if isinstance(found, Mapping) else {name: found}
    values = {key: _share(spec, key, value) for key, value in parts.items()}
    if not values:
        raise FunctionError(f"{spec} returned no value; return a number from 0 to 1")
    return {name: sum(values.values()) / len(values), **values}


def function_digests(specs: Sequence[str]) -> dict[str, str]:
    """The SHA-256 of the file of each function, for the record of a run."""
    return {spec: hashlib.sha256(Path(spec.rpartition(":")[0]).read_bytes()).hexdigest() for spec in specs}


def _share(spec: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value <= 1:
        raise FunctionError(f"{spec} returned {value!r} for {key}; return a number from 0 to 1")
    return float(value)


def _trace(error: BaseException) -> str:
    """The traceback from the user's file on."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__ and "importlib" not in frame.filename]
    return "".join([*traceback.format_list(own), *traceback.format_exception_only(error)]).rstrip()
