"""KaTeX in an embedded JavaScript engine: LaTeX in, MathML and the places of glyphs or characters out. No browser.

The engine is the optional package mini-racer (`pip install 'ocr-rl[math]'`). It is imported and started at the first
render, once per process, and started again after a fork. Renders are cached, including errors.

A formula "cannot be rendered" if it exceeds one of these limits: MAX_LENGTH characters, MAX_DEPTH nested elements,
SECONDS of work, MEMORY bytes, KaTeX's own 1,000 macro expansions, and 5,000 tokens of expanded macros.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

MAX_LENGTH = 5_000
"""Characters of a formula."""
MAX_DEPTH = 100
SECONDS = 2.0
"""Wall time, which is what the engine can limit. A formula that got much less CPU time than this gets more."""
MAX_PATIENCE = 64.0
"""Seconds of wall time that one formula may take on a busy machine."""
MEMORY = 256 * 2**20
MAX_EXPANDED = 50_000
"""Tokens of expanded macros in all formulas of a page, per test: a few seconds of work."""
CACHED_RENDERS = 20_000
TOGETHER = 32
"""Formulas sent to the engine at once."""

INSTALL = "math tests need a JavaScript engine: pip install 'ocr-rl[math]'"


class EngineMissingError(ImportError):
    """mini-racer is not installed; the message names the command that installs it."""


class Glyph(NamedTuple):
    """The text of an innermost element of KaTeX's HTML and its position, in pixels at a font size of 24."""

    text: str
    x: float
    """Left edge."""
    y: float
    """Middle; downwards."""
    width: float


class Character(NamedTuple):
    """A character as printed, or what a structure draws, such as the line of a fraction."""

    name: str
    """The character, in no style; of a drawing the command, such as `\\frac`."""
    x: float
    y: float
    """Its middle, in em; downwards."""


@dataclass(frozen=True)
class Rendered:
    """A formula as typeset by KaTeX, or KaTeX's error."""

    mathml: str = ""
    """Presentation MathML, without the annotation."""
    glyphs: tuple[Glyph, ...] = ()
    error: str | None = None
    """Why there is no output."""
    expanded: int = 0
    """Tokens that its macros expanded to: work that the length does not show."""


_engine: Any = None
_process = 0
_failure = ""
_renders: OrderedDict[str, Rendered] = OrderedDict()
"""The cache, least recently used first."""
_lock = threading.Lock()
_parent_engines: list[Any] = []
"""Engines that a forked child inherited. Closing or collecting one would wait for a thread that does not exist."""


def installed() -> bool:
    """True if formulas can be rendered here."""
    return find_spec("py_mini_racer") is not None


def render(latex: str) -> Rendered:
    """Renders in display mode. Raises EngineMissingError without mini-racer; other failures are in `Rendered.error`."""
    return render_all([latex])[0]


def render_all(formulas: Sequence[str], max_expanded: int | None = None) -> list[Rendered]:
    """Renders several formulas. Those not in the cache go to the engine together, which saves most of a call's cost.

    With `max_expanded`, it stops once the macros of the formulas have expanded to more tokens than that in total.
    """
    with _lock:
        fresh = [latex for latex in dict.fromkeys(formulas) if latex not in _renders]
        made: dict[str, Rendered] = {}
        expanded = 0
        for start in range(0, len(fresh), TOGETHER):
            if max_expanded is not None and expanded > max_expanded:
                break
            answered = _run_together(fresh[start : start + TOGETHER])
            now = {latex: _rendered(answer) for latex, answer in answered.items()}
            expanded += sum(rendered.expanded for rendered in now.values())
            made |= now
        answers = []
        expanded = 0
        for latex in formulas:
            if max_expanded is not None and expanded > max_expanded:
                break
            answers.append(made[latex] if latex in made else _renders[latex])
            expanded += answers[-1].expanded
        for latex, rendered in [*made.items(), *zip(formulas, answers, strict=False)]:
            _renders[latex] = rendered
            _renders.move_to_end(latex)
        while len(_renders) > CACHED_RENDERS:
            _renders.popitem(last=False)
    return answers


@lru_cache(CACHED_RENDERS)
def characters_of(latex: str) -> tuple[Character, ...]:
    """The characters of a display in the order of the source; none if it cannot be rendered, or prints nothing.

    Raises EngineMissingError without mini-racer.
    """
    with _lock:
        answer = _run_together([latex], "charactersOf")[latex]
    return tuple(Character(*character) for character in answer.get("characters", ()))


def forget_renders() -> None:
    """Empties the caches."""
    _renders.clear()
    characters_of.cache_clear()


def _run_together(formulas: list[str], function: str = "render") -> dict[str, dict[str, Any]]:
    """What a function of the engine says of each formula: its own keys or `error`, and `expanded`."""
    made = {latex: _refused(f"longer than {MAX_LENGTH:,} characters") for latex in formulas}
    short = [latex for latex in formulas if len(latex) <= MAX_LENGTH]
    if short and sum(map(len, short)) <= MAX_LENGTH:
        answers = _run(short, function)
        if answers is None and len(short) > 1:  # one of them is too much for the engine; find it
            for latex in short:
                made |= _run_together([latex], function)
            return made
        made |= zip(short, answers or [_refused(_failure, MAX_EXPANDED // 4)], strict=True)
    else:
        for latex in short:
            made |= _run_together([latex], function)
    return made


def _refused(why: str, expanded: int = 0) -> dict[str, Any]:
    return {"error": why, "expanded": expanded}


def _rendered(answer: dict[str, Any]) -> Rendered:
    if "error" in answer:
        return Rendered(error=_one_line(answer["error"]), expanded=answer["expanded"])
    glyphs = tuple(Glyph(*glyph) for glyph in answer["glyphs"])
    return Rendered(answer["mathml"], glyphs, None, answer["expanded"])


def _run(formulas: list[str], function: str) -> list[dict[str, Any]] | None:
    """None if the engine gave up, with the reason in `_failure`."""
    global _engine, _failure
    engine = _started()
    from py_mini_racer import JSEvalException, JSOOMException, JSTimeoutException

    try:
        answers: list[dict[str, Any]] = json.loads(
            _eval(engine, f"all({function}, {json.dumps(formulas)}, {MAX_DEPTH})")
        )
        return answers
    except JSTimeoutException:
        _failure = f"takes longer than {SECONDS:g} seconds"
    except JSOOMException:
        engine.close()
        _engine = None
        _failure = f"takes more than {MEMORY // 2**20} MB"
    except JSEvalException as error:
        _failure = _one_line(str(error))
    return None


def _eval(engine: Any, call: str) -> str:
    """The engine's answer. After a timeout the engine still accepts the next call."""
    from py_mini_racer import JSTimeoutException

    patience = SECONDS
    while True:
        start = time.process_time()
        try:
            return str(engine.eval(call, timeout_sec=patience, max_memory=MEMORY))
        except JSTimeoutException:
            # On a busy machine, the formula may not be the slow part.
            if time.process_time() - start >= SECONDS / 2 or patience >= MAX_PATIENCE:
                raise
            patience *= 2


def _started() -> Any:
    global _engine, _process
    if _engine is not None and _process == os.getpid():
        return _engine
    if not installed():
        raise EngineMissingError(INSTALL)
    # In a separate thread: mini-racer would tie itself to a running asyncio loop and then refuse to work.
    with ThreadPoolExecutor(1) as thread:
        _engine, _process = thread.submit(_start).result(), os.getpid()
    return _engine


def _start() -> Any:
    from py_mini_racer import DEFAULT_V8_FLAGS, MiniRacer, init_mini_racer

    # Without it, a processor with memory protection keys lets no other thread than this one, and no forked process,
    # at V8's memory: they end with a segmentation fault.
    init_mini_racer(flags=(*DEFAULT_V8_FLAGS, "--no-memory-protection-keys"), ignore_duplicate_init=True)
    engine = MiniRacer()
    for name in ("katex.min.js", "times.js", "render.js", "characters.js"):
        engine.eval(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return engine


def _close() -> None:
    """Runs before the interpreter exits: collecting an engine during the exit sometimes hangs."""
    global _engine
    if _engine is not None and _process == os.getpid():
        _engine.close()
    _engine = None


atexit.register(_close)


def _after_fork() -> None:
    global _engine, _lock
    if _engine is not None:
        _parent_engines.append(_engine)
    _engine, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _one_line(message: str) -> str:
    """KaTeX's message without its underlining (combining characters) and line breaks, cut to 200 characters."""
    text = " ".join(message.replace("\u0332", "").split())
    return text if len(text) <= 200 else text[:199] + "…"
