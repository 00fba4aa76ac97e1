"""Errors that users can act on: one message and exit code 2."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import click

EXTRAS = {
    "data": ("datasets", "matplotlib", "PIL", "pypdfium2", "reportlab"),
    "train": ("peft", "safetensors", "torch", "tqdm", "transformers"),
    "train,vllm": ("vllm",),
}
"""Which extra brings which modules."""


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """What a user can mend becomes one message and exit code 2, an engine that is lost one and 1; a bug is shown."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except ModuleNotFoundError as error:
            module = (error.name or "").split(".")[0]
            if module in ("ocr_rl", "ocr_verifiers"):
                raise
            wanted = [f"'ocr-rl[{extra}]'" for extra, modules in EXTRAS.items() if module in modules]
            fail(f"this command needs {module or error}: pip install {wanted[0] if wanted else module}")
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


def fail(message: str, code: int = 2) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
