"""What commands share: how mistakes are told, the options of datasets and models, progress bars."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

Item = TypeVar("Item")


def dataset_options(command: Callable[..., None]) -> Callable[..., None]:
    """Which pages of a dataset, and what its columns are: the same for every command that reads one."""
    where = click.option(
        "--where",
        multiple=True,
        metavar="KEY=VALUE[,VALUE]",
        help="Keep pages whose metadata says so, e.g. --where level=line --where source=a,b.",
    )
    columns = click.option(
        "--column",
        "columns",
        multiple=True,
        metavar="ROLE=NAME",
        help="The column that holds the image, text, id, prompt or tests, e.g. --column text=truth.",
    )
    split = click.option("--split", help="Split of a Hugging Face dataset.  [default: train]")
    return where(columns(split(command)))


def data_overrides(
    data: str | None, split: str | None, model: str | None, columns: Iterable[str], where: Iterable[str]
) -> tuple[str, ...]:
    """The options of a recipe's pages and model as what --set takes; those that were not given are left out."""
    from ocr_rl.config.loader import as_overrides
    from ocr_rl.data.loading import parse_filters

    values: dict[str, Any] = {
        "data.path": data,
        "data.split": split,
        "model.path": model,
        **{f"data.columns.{role}": name for role, name in parse_columns(columns).items()},
        **{f"data.where.{key}": values for key, values in parse_filters(list(where)).items()},
    }
    return tuple(as_overrides(values))


def folder_exists(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """A file that cannot be written later is a mistake now."""
    if path is not None and not path.parent.is_dir():
        raise click.BadParameter(f"the folder {path.parent} does not exist")
    return path


def json_option(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), callback=folder_exists, help=help
    )


def html_option(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), callback=folder_exists, help=help
    )


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    pixels = click.option(
        "--max-pixels", type=click.IntRange(min=0), default=0, help="Upper bound on the pixels of a fitted page."
    )
    prompt = click.option("--prompt", default="", help="Instruction for pages that bring none.")
    trust = click.option("--trust-remote-code", is_flag=True, help="Run Python code that the model's repository ships.")
    return pixels(prompt(trust(command)))


def parse_columns(columns: Iterable[str]) -> dict[str, str]:
    """`["text=truth"]` -> `{"text": "truth"}`."""
    names = {}
    for text in columns:
        role, _, name = text.partition("=")
        if not (role and name):
            raise ValueError(f"--column {text}: write ROLE=NAME, e.g. --column text=truth")
        names[role] = name
    return names


def progress(label: str) -> Callable[[Iterable[Item]], Iterable[Item]]:
    """A progress bar on stderr around what is iterated over, if somebody is watching."""

    def shown(items: Iterable[Item]) -> Iterable[Item]:
        with click.progressbar(items, label=label, file=sys.stderr) as bar:
            yield from bar

    return shown if sys.stderr.isatty() else iter


@contextmanager
def transcribing(pages: int, label: str = "transcribing") -> Iterator[Callable[[int], None]]:
    """A progress bar; call what it gives with the number of pages that are done."""
    with click.progressbar(length=pages, label=label, file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)
