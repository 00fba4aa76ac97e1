"""`ocr-rl`: train, report, eval, transcribe, render, data check. Heavy imports happen inside the commands."""

from __future__ import annotations

import functools
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ocr_rl import __version__

EXTRAS = {
    "data": ("datasets", "matplotlib", "PIL", "pypdfium2", "reportlab"),
    "train": ("peft", "safetensors", "torch", "tqdm", "transformers"),
    "train,vllm": ("vllm",),
}
"""Which extra brings which modules."""

Item = TypeVar("Item")


def user_errors(command: Callable[..., None]) -> Callable[..., None]:
    """What a user can mend becomes one message and exit code 2; a bug keeps its traceback."""

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

    return wrapped


def fail(message: str, code: int = 2) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ocr-rl")
def main() -> None:
    """Reinforcement learning with verifiable rewards for document transcription.

    \b
    ocr-rl train                                   make the embedded policy read a collection better
    ocr-rl train --data scans/ --model org/vlm     the same for your pages and your model
    ocr-rl report runs/a                           what a run did, as one HTML file
    ocr-rl eval tiny --data scans/ --json out.json
    ocr-rl transcribe page.png --model tiny
    ocr-rl data check scans/
    """


@main.command()
@click.argument("recipe", required=False)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder. Default: runs/RECIPE-TIME.")
@click.option("--data", metavar="PATH", help="Folder, file or hub id of a dataset (data.path).")
@click.option("--model", metavar="PATH", help='Folder or hub id of a policy, or "tiny" (model.path).')
@dataset_options
@click.option("--set", "overrides", multiple=True, metavar="A.B=C", help="Override a recipe's value.")
@click.option("--steps", type=click.IntRange(min=0), help="Short for --set train.steps=N.")
@click.option("--seed", type=int, help="Short for --set train.seed=N.")
@click.option("--dry-run", is_flag=True, help="Check everything, print tokens, memory and time, and stop.")
@click.option("--overwrite", is_flag=True, help="Replace the run that --out holds.")
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="RUN",
    help="Go on with an interrupted run, by its own recipe, as if it had never stopped.",
)
@user_errors
def train(
    recipe: str | None,
    out: Path | None,
    data: str | None,
    model: str | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    overrides: tuple[str, ...],
    steps: int | None,
    seed: int | None,
    dry_run: bool,
    overwrite: bool,
    resume: Path | None,
) -> None:
    """Train a policy by RECIPE (default: grpo), a shipped name or a TOML file.

    \b
    ocr-rl train
    ocr-rl train --data scans/ --model allenai/olmOCR-2-7B-1025 --set model.lora_rank=64 --dry-run
    ocr-rl train grpo-paper --out runs/paper --steps 100 --seed 1
    ocr-rl train my.toml --data lines/ --where level=line --where source=ehri-en
    ocr-rl train --resume runs/paper
    """
    from ocr_rl.config import check_model_path, load_recipe
    from ocr_rl.pages import parse_filters

    shorts: dict[str, Any] = {
        "data.path": data,
        "data.split": split,
        "model.path": model,
        "train.steps": steps,
        "train.seed": seed,
        **{f"data.columns.{role}": name for role, name in parse_columns(columns).items()},
        **{f"data.where.{key}": values for key, values in parse_filters(where).items()},
    }
    overrides += tuple(
        f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in shorts.items() if value is not None
    )
    if resume is not None:
        given = {"RECIPE": recipe, "--out": out, "--dry-run": dry_run, "--overwrite": overwrite}
        for name in [name for name, value in given.items() if value]:
            raise ValueError(f"--resume RUN goes on in RUN by its own recipe; leave out {name}")
        resume_run(resume, overrides)
        return
    recipe = recipe or "grpo"
    loaded = load_recipe(recipe, list(overrides))
    check_model_path(loaded.model.path)
    out = out or Path("runs") / f"{Path(recipe).stem}-{time.strftime('%Y%m%d-%H%M%S')}"

    import tempfile

    from ocr_rl import train as training
    from ocr_rl.trainers.loop import TrainingStopped

    if dry_run:
        with tempfile.TemporaryDirectory() as scratch:
            pages = training.collect_pages(loaded.data, loaded.render, Path(scratch) / "pages")
            training.dry_run(training.prepare(loaded, pages))
        return
    folder = training.write_recipe(loaded, out, overwrite)
    with folder.locked():
        try:
            pages = training.collect_pages(loaded.data, loaded.render, out / "pages")
            job = training.prepare(loaded, pages)
        except BaseException:
            folder.abandon()
            raise
        folder.settle()
        try:
            training.run(job, folder, click.echo)
        except TrainingStopped as stop:
            fail(f"{stop}\nrun folder: {out}", code=1)


def resume_run(path: Path, overrides: Sequence[str]) -> None:
    """The rest of an interrupted run. A finished one says so."""
    from ocr_rl.config import check_model_path
    from ocr_rl.resume import find_start
    from ocr_rl.run_folder import RunFolder

    folder = RunFolder.open(path)
    with folder.locked():
        start = find_start(folder, overrides)
        if start is None:
            if not (path / "report.html").exists():  # killed before it was written
                from ocr_rl.report_run import close_with_report

                close_with_report(folder, click.echo)
            click.echo(f"{path} is finished; --steps N makes it longer")
            return
        recipe = start.recipe
        check_model_path(recipe.model.path)

        from ocr_rl import train as training
        from ocr_rl.trainers.loop import TrainingStopped

        pages = training.collect_pages(recipe.data, recipe.render, path / "pages")
        job = training.prepare(recipe, pages)
        folder.settle()
        try:
            training.run(job, folder, click.echo, start)
        except TrainingStopped as stop:
            fail(f"{stop}\nrun folder: {path}", code=1)


@main.command()
@click.argument("run", type=click.Path(path_type=Path))
@html_option("Write it here.  [default: RUN/report.html]")
@user_errors
def report(run: Path, html_path: Path | None) -> None:
    """Write a report of RUN, the folder of a training run, as one HTML file.

    `train` does so at its end; this is for a run that was stopped or is still going on. Page images are read where
    the recipe says that they are; without them the report has texts alone.

    \b
    ocr-rl report runs/a
    ocr-rl report runs/a --html a.html
    """
    from ocr_rl.report_run import run_report
    from ocr_rl.run_folder import RunFolder, write_atomically

    out = html_path or run / "report.html"
    write_atomically(out, run_report(RunFolder.open(run)))
    click.echo(f"report: {out}")


@main.command("eval")
@click.argument("model", required=False)
@click.option("--data", required=True, metavar="PATH", help="Folder, file or hub id of a dataset.")
@click.option(
    "--predictions",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Score these transcriptions instead of running a model: JSONL rows {id or file_name, text}.",
)
@dataset_options
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Evaluate only the pages that training with this data.validation holds out.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Evaluate the first N pages.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=512, show_default=True, help="Tokens of a transcription."
)
@click.option(
    "--samples", type=click.IntRange(min=1), help="Beside the greedy one, draw N transcriptions of each page."
)
@click.option("--temperature", type=click.FloatRange(0, min_open=True), help="Of the samples.  [default: 1]")
@click.option(
    "--against",
    metavar="OTHER",
    help="Compare with another evaluation (.json), file of predictions (.jsonl), or model, page by page.",
)
@click.option("--seed", default=0, show_default=True, help="Of samples, intervals and p-values.")
@model_options
@json_option("Write metrics, tables and pages here.")
@html_option("Write a report with page images and coloured differences here.")
@user_errors
def evaluate(
    model: str | None,
    data: str,
    predictions: Path | None,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    held_out: float | None,
    max_tokens: int,
    max_pixels: int,
    prompt: str,
    limit: int | None,
    samples: int | None,
    temperature: float | None,
    against: str | None,
    seed: int,
    json_path: Path | None,
    html_path: Path | None,
    trust_remote_code: bool,
) -> None:
    """Transcribe pages with MODEL (greedy) and score them, or score a file of predictions without one.

    FILE is JSONL, or an evaluation that --json wrote. With --against, differences are paired, on the pages that both
    have, with 95 % intervals over documents and p-values of a permutation test.

    \b
    ocr-rl eval tiny --data data/sample --json tiny.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --held-out 0.2 --against tiny.json
    ocr-rl eval runs/a/checkpoints/step_000060 --data scans/ --samples 8
    ocr-rl eval --predictions tesseract.jsonl --data scans/ --json tesseract.json
    """
    if (model is None) == (predictions is None):
        raise ValueError("give either a MODEL or --predictions FILE")
    if samples and model is None:
        raise ValueError("--samples draws from a MODEL; a file of predictions has none")
    if temperature is not None and not samples:
        raise ValueError("--temperature is that of --samples N; without them decoding is greedy")
    other = against_file(against) if against is not None else None

    from ocr_rl.comparison import compare
    from ocr_rl.config import RewardConfig
    from ocr_rl.evaluate import read_predictions, sample, summarize_samples, transcribe
    from ocr_rl.evaluation_summary import evaluation
    from ocr_rl.evaluation_table import breakdown, comparison_table, table
    from ocr_rl.page_results import score_pages, score_samples
    from ocr_rl.pages import load_pages, parse_filters
    from ocr_rl.rewards import Rewarder, make_rubric
    from ocr_rl.splits import SPLIT_SEED, split_pages

    pages = load_pages(
        data, where=parse_filters(where), prompt=prompt, columns=parse_columns(columns), split=split or "train"
    )
    if held_out is not None:
        _, pages = split_pages(pages, held_out, SPLIT_SEED)
    pages = pages[:limit]
    if predictions is not None:
        pages, completions = read_predictions(predictions, pages)
    if other is not None:
        their_pages, theirs = read_predictions(other, pages, skip_unknown=True)
    rewarder = Rewarder(make_rubric(RewardConfig()), pages)
    sampled = []
    if model is not None:
        engine = load_engine(model, max_pixels, trust_remote_code)
        with transcribing(len(pages)) as report:
            completions = transcribe(engine, pages, max_tokens, report)
        if samples:
            with transcribing(len(pages), "sampling") as report:
                groups = sample(engine, pages, samples, temperature or 1.0, max_tokens, seed, report)
            sampled = score_samples(groups, rewarder)
        del engine  # its memory is for the other model
    if against is not None and other is None:
        with transcribing(len(pages), against) as report:
            theirs = transcribe(load_engine(against, max_pixels, trust_remote_code), pages, max_tokens, report)
        their_pages = pages
    results = score_pages(pages, completions, rewarder)
    evaluated = evaluation(results, seed)
    shown = {Path(model or str(predictions)).name: evaluated}
    if sampled:
        evaluated["sampled"] = summarize_samples(sampled, temperature or 1.0, seed)
        shown |= {f"{name} of {samples}": evaluated["sampled"][name] for name in ("mean", "best")}
    click.echo(table(shown))
    if text := breakdown(evaluated):
        click.echo(f"\n{text}")
    if against is not None:
        evaluated["against"] = compare(results, score_pages(their_pages, theirs, rewarder), against, seed)
        click.echo(f"\n{comparison_table(evaluated['against'])}")
    evaluated["settings"] = {
        "model": model,
        "predictions": None if predictions is None else str(predictions),
        "data": data,
        "where": parse_filters(where),
        "held_out": held_out,
        "limit": limit,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    if json_path is not None:
        from ocr_verifiers import write_json_atomic

        write_json_atomic(json_path, evaluated)
    if html_path is not None:
        from ocr_rl.report_evaluation import evaluation_report
        from ocr_rl.run_folder import write_atomically

        write_atomically(html_path, evaluation_report(evaluated, Path(model or str(predictions)).name, pages))


def against_file(other: str) -> Path | None:
    """The file that --against names; None for a model. Raises ValueError for neither."""
    from ocr_rl.config import check_model_path

    path = Path(other)
    if path.is_file():
        return path
    if path.suffix in (".json", ".jsonl"):
        raise ValueError(f"--against {other}: no such file")
    check_model_path(other)
    return None


@contextmanager
def transcribing(pages: int, label: str = "transcribing") -> Iterator[Callable[[int], None]]:
    """A progress bar; call what it gives with the number of pages that are done."""
    with click.progressbar(length=pages, label=label, file=sys.stderr) as bar:
        yield lambda done: bar.update(done - bar.pos)


@main.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--model", default="tiny", show_default=True, help='Folder or hub id of a policy, or "tiny".')
@click.option("--out", type=click.Path(path_type=Path), help="Write one .md file per page into this folder.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=2048, show_default=True, help="Tokens of a transcription."
)
@model_options
@user_errors
def transcribe(
    source: Path,
    model: str,
    out: Path | None,
    max_tokens: int,
    max_pixels: int,
    prompt: str,
    trust_remote_code: bool,
) -> None:
    """Transcribe SOURCE, an image, a PDF, or a folder of them; greedy.

    \b
    ocr-rl transcribe letter.png
    ocr-rl transcribe book.pdf --model org/vlm --out transcribed/
    """
    from ocr_rl.evaluate import transcribe as run
    from ocr_rl.page_files import pages_of

    pages = pages_of(source, prompt)
    engine = load_engine(model, max_pixels, trust_remote_code)
    for page in pages:
        completion = run(engine, [page], max_tokens)[0]
        if not completion.finished:
            click.echo(f"{page.id}: cut off at {max_tokens} tokens; raise --max-tokens", err=True)
        if out is None:
            click.echo(completion.text if len(pages) == 1 else f"# {page.id}\n\n{completion.text}\n")
        else:
            target = out / (page.id.replace("#", "_pg") + ".md")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(completion.text + "\n", encoding="utf-8")


@main.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--pages", type=click.IntRange(min=1), default=40, show_default=True, help="How many.")
@click.option("--style", default="print", show_default=True, help="clean, print, scan or carbon.")
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["lines", "columns", "table"]),
    default=("lines",),
    show_default=True,
    help="Given several times, pages take turns.",
)
@click.option("--lines", type=(int, int), default=(3, 6), show_default=True, help="Least and most per page.")
@click.option("--characters", type=(int, int), default=(14, 30), show_default=True, help="Least and most per line.")
@click.option(
    "--headers",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of pages with a running header, which is no part of the text.",
)
@click.option(
    "--page-numbers", type=click.FloatRange(0, 1), default=0.0, help="Share of pages with a page number, likewise."
)
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same files.")
@click.option("--name", default="rendered", show_default=True, help="Prefix of files, and the pages' source.")
@user_errors
def render(
    out: Path,
    pages: int,
    style: str,
    layouts: tuple[Any, ...],
    lines: tuple[int, int],
    characters: tuple[int, int],
    headers: float,
    page_numbers: float,
    seed: int,
    name: str,
) -> None:
    """Draw invented pages into OUT: images/, metadata.jsonl with the text, tests.jsonl with unit tests.

    \b
    ocr-rl render pages/ --pages 200
    ocr-rl render pages/ --style carbon --layout lines --layout columns --headers 0.5 --seed 7
    ocr-rl render lines/ --lines 1 1 --characters 40 72
    """
    from ocr_rl.render import STYLES, Layout, render_collection

    if style not in STYLES:
        raise ValueError(f'--style is "{style}"; write one of {", ".join(STYLES)}')
    if (out / "metadata.jsonl").exists():
        raise ValueError(f"{out} holds a dataset already; give another folder")
    wanted = [Layout(kind, lines, characters, headers, page_numbers) for kind in layouts]
    render_collection(
        out, pages, seed=seed, layouts=wanted, style=STYLES[style], name=name, progress=progress("rendering")
    )
    click.echo(f"{pages} pages in {out}")


@main.group()
def data() -> None:
    """Look at datasets."""


@data.command()
@click.argument("path")
@dataset_options
@click.option(
    "--validation",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share held out, for the check of shared text.",
)
@json_option("Write the summary and problems here.")
@user_errors
def check(
    path: str,
    where: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    validation: float,
    json_path: Path | None,
) -> None:
    """Report every problem of the dataset at PATH at once, and a summary. Exit code 2 if there is any.

    \b
    PATH is one of
      a folder of images with metadata.jsonl (rows {file_name, text, ...}) and optionally tests.jsonl
      an olmOCR-bench folder: pdfs/ and *.jsonl
      a folder of images or PDFs with .txt or .md beside them
      a Hugging Face dataset: a save_to_disk folder, parquet, or a hub id

    \b
    ocr-rl data check scans/
    ocr-rl data check scans/ --where level=line --json report.json
    """
    from ocr_rl.data_check import check_dataset
    from ocr_rl.pages import parse_filters

    report = check_dataset(
        path,
        where=parse_filters(where),
        columns=parse_columns(columns),
        split=split or "train",
        validation=validation,
        progress=progress("checking"),
    )
    click.echo(report.render())
    if json_path is not None:
        from ocr_verifiers import write_json_atomic

        problems = {
            "problems": [str(p) for p in report.problems],
            "warnings": [str(p) for p in report.warnings],
        }
        write_json_atomic(json_path, dict(report.summary) | problems)
    if report.problems:
        sys.exit(2)


def load_engine(model: str, max_pixels: int, trust_remote_code: bool) -> Any:
    from ocr_rl.config import ModelConfig, check_model_path

    check_model_path(model)

    from ocr_rl.policy import Policy
    from ocr_rl.rollout import TransformersEngine

    config = ModelConfig(path=model, max_pixels=max_pixels, trust_remote_code=trust_remote_code)
    return TransformersEngine(Policy.load(config))


if __name__ == "__main__":
    main()
