"""KaTeX in an embedded JavaScript engine: LaTeX in, MathML and the places of its glyphs out. No browser.

The engine is the optional package mini-racer (`pip install 'ocr-rl[math]'`); it is imported and started at the
first render, once per process, and started again after a fork. Renders are kept, errors too.

Bounds, each of which makes the formula one that "cannot be rendered": MAX_LENGTH characters, MAX_DEPTH nested
elements, SECONDS of work, MEMORY bytes, KaTeX's own 1,000 macro expansions, and 5,000 tokens that macros expand to.
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
from importlib.resources import files
from importlib.util import find_spec
from typing import Any, NamedTuple

MAX_LENGTH = 5_000
"""Characters of a formula that is rendered."""
MAX_DEPTH = 100
SECONDS = 2.0
"""Of wall time, which the engine can limit; a formula that had less CPU time than that is given more."""
MOST_PATIENCE = 64.0
"""Seconds of wall time that one formula may take on a machine that has no time for it."""
MEMORY = 256 * 2**20
MAX_EXPANDED = 50_000
"""Tokens that the macros of the formulas of a page may expand to in one test: a few seconds of work."""
CACHED_RENDERS = 20_000
TOGETHER = 32
"""Formulas that the engine is given at once."""

INSTALL = "math tests need a JavaScript engine: pip install 'ocr-rl[math]'"


class EngineMissingError(ImportError):
    """mini-racer is not installed; the message names the command that installs it."""


class Glyph(NamedTuple):
    """The text of an innermost element of KaTeX's HTML and its place, in pixels at a font size of 24."""

    text: str
    x: float
    """Left edge."""
    y: float
    """Middle; downwards."""
    width: float


@dataclass(frozen=True)
class Rendered:
    """A formula as KaTeX sets it, or its complaint."""

    mathml: str = ""
    """Presentation MathML, without the annotation."""
    glyphs: tuple[Glyph, ...] = ()
    error: str | None = None
    """Why there is neither."""
    expanded: int = 0
    """Tokens that its macros were replaced by: work that its length does not show."""


_engine: Any = None
_process = 0
_trouble = ""
_renders: OrderedDict[str, Rendered] = OrderedDict()
"""The renders that are kept, the least recently asked for first."""
_lock = threading.Lock()
_of_parents: list[Any] = []
"""Engines that a fork left behind: to close or collect one in the child would wait for a thread that is not there."""


def installed() -> bool:
    """True if formulas can be rendered here."""
    return find_spec("py_mini_racer") is not None


def render(latex: str) -> Rendered:
    """`latex` in display mode. EngineMissingError without mini-racer; every other trouble is the result's `error`."""
    return render_all([latex])[0]


def render_all(formulas: Sequence[str], most_expanded: int | None = None) -> list[Rendered]:
    """`render` of each: those that are not kept go to the engine together, which saves most of a call's cost.

    With `most_expanded`, the first ones only, until their macros have expanded to that many tokens together.
    """
    with _lock:
        fresh = [latex for latex in dict.fromkeys(formulas) if latex not in _renders]
        made: dict[str, Rendered] = {}
        expanded = 0
        for start in range(0, len(fresh), TOGETHER):
            if most_expanded is not None and expanded > most_expanded:
                break
            now = _run_together(fresh[start : start + TOGETHER])
            expanded += sum(rendered.expanded for rendered in now.values())
            made |= now
        answers = []
        expanded = 0
        for latex in formulas:
            if most_expanded is not None and expanded > most_expanded:
                break
            answers.append(made[latex] if latex in made else _renders[latex])
            expanded += answers[-1].expanded
        for latex, rendered in [*made.items(), *zip(formulas, answers, strict=False)]:
            _renders[latex] = rendered
            _renders.move_to_end(latex)
        while len(_renders) > CACHED_RENDERS:
            _renders.popitem(last=False)
    return answers


def _run_together(formulas: list[str]) -> dict[str, Rendered]:
    made = {latex: Rendered(error=f"longer than {MAX_LENGTH:,} characters") for latex in formulas}
    short = [latex for latex in formulas if len(latex) <= MAX_LENGTH]
    if short and sum(map(len, short)) <= MAX_LENGTH:
        answers = _run(short)
        if answers is None and len(short) > 1:  # one of them is too much for the engine: which one?
            for latex in short:
                made |= _run_together([latex])
            return made
        made |= zip(short, answers or [Rendered(error=_trouble, expanded=MAX_EXPANDED // 4)], strict=True)
    else:
        for latex in short:
            made |= _run_together([latex])
    return made


def _run(formulas: list[str]) -> list[Rendered] | None:
    """None if the engine gave up, with the reason in `_trouble`."""
    global _engine, _trouble
    engine = _started()
    from py_mini_racer import JSEvalException, JSOOMException, JSTimeoutException

    try:
        answers = json.loads(_eval(engine, f"renderAll({json.dumps(formulas)}, {MAX_DEPTH})"))
    except JSTimeoutException:
        _trouble = f"takes longer than {SECONDS:g} seconds"
    except JSOOMException:
        engine.close()
        _engine = None
        _trouble = f"takes more than {MEMORY // 2**20} MB"
    except JSEvalException as error:
        _trouble = _one_line(str(error))
    else:
        return [
            Rendered(error=_one_line(answer["error"]), expanded=answer["expanded"])
            if "error" in answer
            else Rendered(
                answer["mathml"], tuple(Glyph(*glyph) for glyph in answer["glyphs"]), None, answer["expanded"]
            )
            for answer in answers
        ]
    return None


def _eval(engine: Any, call: str) -> str:
    """The engine's answer. Where it had to stop, it goes on with the next call."""
    from py_mini_racer import JSTimeoutException

    patience = SECONDS
    while True:
        start = time.process_time()
        try:
            return str(engine.eval(call, timeout_sec=patience, max_memory=MEMORY))
        except JSTimeoutException:
            # A busy machine is no reason to call a formula slow.
            if time.process_time() - start >= SECONDS / 2 or patience >= MOST_PATIENCE:
                raise
            patience *= 2


def _started() -> Any:
    global _engine, _process
    if _engine is not None and _process == os.getpid():
        return _engine
    if not installed():
        raise EngineMissingError(INSTALL)
    # In a thread of its own: where an asyncio loop runs, mini-racer would tie itself to that loop and then refuse.
    with ThreadPoolExecutor(1) as thread:
        _engine, _process = thread.submit(_start).result(), os.getpid()
    return _engine


def _start() -> Any:
    from py_mini_racer import MiniRacer

    engine = MiniRacer()
    for name in ("katex.min.js", "times.js", "render.js"):
        engine.eval(files(__package__).joinpath(name).read_text(encoding="utf-8"))
    return engine


def _close() -> None:
    """Before the interpreter ends: an engine that is collected during its end waits for ever at times."""
    global _engine
    if _engine is not None and _process == os.getpid():
        _engine.close()
    _engine = None


atexit.register(_close)


def _after_fork() -> None:
    global _engine, _lock
    if _engine is not None:
        _of_parents.append(_engine)
    _engine, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _one_line(message: str) -> str:
    """KaTeX's complaint without its underlining (combining characters) and line breaks, cut short."""
    text = " ".join(message.replace("\u0332", "").split())
    return text if len(text) <= 200 else text[:199] + "…"
