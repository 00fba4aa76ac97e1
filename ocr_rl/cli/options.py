"""Options that several commands have: datasets, models, output files; and how they become values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ocr_rl.cli.crop_options import crop_of, crop_options, crop_settings

if TYPE_CHECKING:
    from ocr_rl.types import Page

Options = TypeVar("Options")
Command = Callable[..., None]


def take(kind: type[Options], options: dict[str, Any]) -> Options:
    """Build a dataclass from a command's options, and remove those from the others."""
    return kind(**{field.name: options.pop(field.name) for field in fields(kind)})  # type: ignore[arg-type]


@dataclass(frozen=True)
class DatasetOptions:
    """The pages of a dataset, as the command line names them."""

    data: str
    where: tuple[str, ...]
    """KEY=VALUE[,VALUE]"""
    columns: tuple[str, ...]
    """ROLE=NAME"""
    split: str | None
    level: str | None
    cuts: tuple[str, ...]
    """As `crop_settings`."""
    on_error: str
    """stop or skip, as data.on_error"""
    prompt: str

    def load(self, out: Path | None = None) -> Sequence[Page]:
        """The pages. Those that --on-error skips are counted, and listed beside the file `out`."""
        from ocr_rl.data.loading import load_pages
        from ocr_rl.runs.skipped import list_skipped

        skipped: list[Any] = []
        pages = load_pages(
            self.data,
            where=self.filters,
            prompt=self.prompt,
            columns=parse_columns(self.columns),
            split=self.split or "",
            crop=crop_of(self.level, self.cuts),
            skip=skipped.append if self.on_error == "skip" else None,
        )
        list_skipped(skipped, out and out.with_suffix(".skipped.jsonl"), lambda line: click.echo(line, err=True))
        return pages

    @property
    def filters(self) -> dict[str, list[str]]:
        from ocr_rl.data.loading import parse_filters

        return parse_filters(self.where)

    def settings(self) -> dict[str, Any]:
        """What is kept beside a resumable file; a path as it is found from every folder, a hub id as it is."""
        return {
            "data": str(Path(self.data).resolve()) if Path(self.data).exists() else self.data,
            "where": self.filters,
            "columns": parse_columns(self.columns),
            "split": self.split,
            "prompt": self.prompt,
            **crop_settings(self.level, self.cuts),
            **({"on_error": "skip"} if self.on_error == "skip" else {}),
        }


@dataclass(frozen=True)
class RecipeOptions:
    """Overrides of recipes: --set, and the options for their pages and model."""

    data: str | None
    model: str | None
    where: tuple[str, ...]
    columns: tuple[str, ...]
    split: str | None
    level: str | None
    cuts: tuple[str, ...]
    sets: tuple[str, ...]
    """A.B=C"""

    def overrides(self) -> list[str]:
        """What `load_recipe` takes, --set first; an option that was not given overrides nothing."""
        from ocr_rl.config.loader import as_overrides
        from ocr_rl.data.loading import parse_filters

        values: dict[str, Any] = {
            "data.path": self.data,
            "data.split": self.split,
            "model.path": self.model,
            **{f"data.columns.{role}": name for role, name in parse_columns(self.columns).items()},
            **{f"data.{key}": value for key, value in crop_settings(self.level, self.cuts).items()},
            **{f"data.where.{key}": values for key, values in parse_filters(self.where).items()},
        }
        return [*self.sets, *as_overrides(values)]


def recipe_options(command: Command) -> Command:
    data = click.option("--data", metavar="PATH", help="Folder, file or hub id of a dataset (data.path).")
    model = click.option(
        "--model", metavar="PATH", help='Folder or hub id of a policy, "tiny" or "tiny-scans" (model.path).'
    )
    return data(model(dataset_options(command)))


def set_option(help: str) -> Callable[[Command], Command]:
    return click.option("--set", "sets", multiple=True, metavar="A.B=C", help=help)


def dataset_options(command: Command) -> Command:
    """Which pages of a dataset, what its columns are, and what becomes a page: for every command that reads one."""
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
    split = click.option("--split", help="Pages of this split only.  [default: all; train of a Hugging Face dataset]")
    return where(columns(split(crop_options(command))))


def model_options(command: Command) -> Command:
    pixels = click.option(
        "--max-pixels", type=click.IntRange(min=0), default=0, help="Upper bound on the pixels of a fitted page."
    )
    prompt = click.option("--prompt", default="", help="Instruction for pages that have none.  [default: the preset's]")
    preset = click.option(
        "--preset",
        default="auto",
        show_default=True,
        metavar="NAME",
        help="How the model is asked and what it answers in: auto recognises it, none sends the image alone.",
    )
    output = click.option(
        "--output",
        default="auto",
        show_default=True,
        metavar="FORMAT",
        help="What the model writes (ocr-verify score --help lists the formats); auto: as its preset says.",
    )
    trust = click.option("--trust-remote-code", is_flag=True, help="Run Python code that the model's repository ships.")
    return pixels(prompt(preset(output(trust(command)))))


on_error_option = click.option(
    "--on-error",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What a page of the dataset with a problem does: an error, or left out and listed in OUT.skipped.jsonl.",
)


held_out_option = click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Use only the pages that training with this data.validation holds out.",
)


def published_options(command: Command) -> Command:
    """Of a checkpoint that is written: where, in which precision, and how long transcriptions are that check it."""
    out = click.option(
        "--out",
        required=True,
        type=click.Path(path_type=Path),
        callback=writable_folder,
        help="The folder to write.",
    )
    dtype = click.option(
        "--dtype",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="Precision of the weights; auto is the base's.",
    )
    tokens = click.option(
        "--max-tokens",
        type=click.IntRange(min=1),
        help="Maximum tokens of a transcription.  [default: the recipe's, or 512]",
    )
    return out(dtype(tokens(command)))


engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "transformers", "vllm"]),
    default="auto",
    show_default=True,
    help="What generates; auto takes vLLM where CUDA and vllm are present.",
)


workers_option = click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that generate, each with a GPU where there are any.",
)


find_lines_option = click.option(
    "--find-lines/--whole-pages",
    default=None,
    help="Find the lines on each page and read one at a time, or not.  [default: as the model was trained]",
)


rubric_option = click.option(
    "--rubric",
    metavar="NAME|FILE",
    help="How completions are scored: a rubric of ocr-verify or a TOML file.  [default: as ocr-rl train does]",
)


retry_errors_option = click.option("--retry-errors", is_flag=True, help='Try again the pages whose row has an "error".')


def writable_file(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """A file that could not be written later is a mistake now."""
    from ocr_verifiers.files.writable import file_trouble

    if path is not None and (trouble := file_trouble(path)):
        raise click.BadParameter(trouble)
    return path


def writable_folder(_context: click.Context, _parameter: click.Parameter, path: Path | None) -> Path | None:
    """So is a folder that could not be made or written to."""
    from ocr_verifiers.files.writable import folder_trouble

    if path is not None and (trouble := folder_trouble(path)):
        raise click.BadParameter(trouble)
    return path


def keep_inputs(context: click.Context) -> None:
    """Raises ValueError for a `writable_file` that another option names, or that is in the dataset that one names."""
    from ocr_verifiers.files.writable import refuse_overwriting

    outputs: list[Path] = []
    others: list[Path] = []
    for parameter in context.command.params:
        value = context.params[parameter.name or ""]
        kept = outputs if parameter.callback is writable_file else others
        kept += [Path(one) for one in (value if isinstance(value, tuple) else [value]) if isinstance(one, str | Path)]
    inside = [path / name for path in others for name in ("metadata.jsonl", "metadata.csv", "tests.jsonl")]
    refuse_overwriting(outputs, [*others, *inside])


def json_option(help: str) -> Callable[[Command], Command]:
    return click.option(
        "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), callback=writable_file, help=help
    )


def html_option(help: str) -> Callable[[Command], Command]:
    return click.option(
        "--html", "html_path", type=click.Path(dir_okay=False, path_type=Path), callback=writable_file, help=help
    )


def parse_columns(columns: Iterable[str]) -> dict[str, str]:
    """`["text=truth"]` -> `{"text": "truth"}`."""
    names = {}
    for text in columns:
        role, _, name = text.partition("=")
        if not (role and name):
            raise ValueError(f"--column {text}: write ROLE=NAME, e.g. --column text=truth")
        names[role] = name
    return names


groups_argument = click.argument("groups", type=click.Path(exists=True, dir_okay=False, path_type=Path))
"""A file of groups, from `ocr-rl rollout`."""

scores_option = click.option(
    "--scores",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="What `ocr-verify groups GROUPS --json SCORES` wrote, if GROUPS has no rewards, or you want others.",
)
