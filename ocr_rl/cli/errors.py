"""Errors that users can act on: one message and an exit code."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from ocr_rl.cli.options import keep_inputs

EXTRAS = {
    "data": ("PIL", "datasets", "lxml", "matplotlib", "pypdfium2", "reportlab"),
    "train": ("huggingface_hub", "peft", "safetensors", "sklearn", "torch", "tqdm", "transformers"),
    "train,vllm": ("vllm",),
}
"""Which extra installs which modules."""


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A mistake of the user ends with one message and exit code 2, a lost engine with 1; a bug keeps its traceback.

    No file that a command reads is written by it.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            keep_inputs(click.get_current_context())
            command(*args, **kwargs)
        except ModuleNotFoundError as error:
            module = (error.name or "").split(".")[0]
            if module in ("ocr_rl", "ocr_verifiers"):
                raise
            if not module.isidentifier():  # it names no module
                fail(str(error))
            extras = [f"'ocr-rl[{extra}]'" for extra, modules in EXTRAS.items() if module in modules]
            fail(f"this command needs {module}: pip install {extras[0] if extras else module}")
        except BrokenPipeError:  # `ocr-rl ... | head`: click ends quietly
            raise
        except OSError as error:
            fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except ValueError as error:
            fail(str(error))
        except Exception as error:
            from ocr_rl.errors import EngineError

            if not isinstance(error, EngineError):
                raise
            fail(str(error), code=1)

    return wrapped


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C ends with one message, which says what is kept, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt as stop:
        fail(f"stopped\n{stop}".strip(), code=130)


def fail_if_unread(pages: int, where: str = "") -> None:
    """Exit code 1 if pages could not be read."""
    if pages:
        fail(f"{pages} page{'s' * (pages != 1)} could not be read{where}", code=1)


def fail(message: str, code: int = 2) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
