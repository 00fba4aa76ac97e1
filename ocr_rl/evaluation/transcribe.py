"""Images and PDFs to text: `ocr-rl transcribe`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ocr_rl.data.unlabelled import Unread, walk_pages
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.loading import EngineOptions
from ocr_rl.rollouts.ordered import Result, in_order
from ocr_rl.rollouts.resumable import Pages, RowJob, append_rows
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.types import FinishReason, Group
from ocr_verifiers import OutputFormat, to_markdown
from ocr_verifiers.files.writable import file_trouble, folder_trouble


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(EngineOptions):
    """What transcribes, and how much."""

    max_tokens: int = 2048
    """Tokens of a transcription; longer ones are cut off."""
    prompt: str = ""
    """The instruction that goes with each page; empty: the model's own, if it has one."""
    written_as: Literal["markdown", "raw"] = "markdown"
    """Whether a model's output in another format becomes markdown, or stays as the model wrote it."""
    retry_errors: bool = False
    """Try pages whose row has an "error" again."""


@dataclass(frozen=True)
class Transcription:
    """The text of one page, or why there is none."""

    id: str
    """The file's name, relative to the folder; `book.pdf#3` is the third page of a PDF."""
    text: str
    """Empty if the page cannot be read."""
    finish_reason: FinishReason | None
    """`end`, or why the text was cut off; None if the page cannot be read."""
    error: str = ""
    """Why the page cannot be read; it continues a sentence that begins with its name."""
    malformed: str = ""
    """Why the text could not be made markdown and is as the model wrote it."""

    @property
    def finished(self) -> bool:
        """True if the policy ended the transcription itself."""
        return self.finish_reason == "end"


def transcribe(
    source: str | Path,
    options: TranscribeOptions = TranscribeOptions(),
    console: Console = SILENT,
) -> Iterator[Transcription]:
    """The greedy transcription of each page of an image, a PDF, or a folder of them, sorted by name.

    Pages are read several at a time, as the transcriptions are asked for.

    Raises:
        ValueError: there is no image or PDF at `source`, or no model at `options.model`.
        EngineError: the engine cannot continue.
    """
    pages = walk_pages(Path(source), options.prompt)
    pages = chain([next(pages)], pages)  # a folder without pages is an error before the model is loaded
    with closing(options.load(console.say)) as engine, closing(_results(engine, pages, options)) as results:
        for result in results:
            yield _transcription(result, _output(engine, options))


def write_transcriptions(
    out: Path, source: str | Path, options: TranscribeOptions = TranscribeOptions(), console: Console = SILENT
) -> int:
    """Write the transcriptions into a .jsonl file, a row per page, or into a folder, a .md file per page.

    The rows are {"id", "text", "finish_reason"}; those of a folder, in its pages.jsonl, have the name of the "file" in
    place of the text. A page that cannot be read has an "error", a text that could not be made markdown the reason in
    "malformed". The same call continues after an interruption.

    Returns:
        The number of pages that cannot be read.

    Raises:
        ValueError: as `transcribe`, or the file was made with other settings or of other pages.
        EngineError: the engine cannot continue; what was written is kept.
    """
    as_text = out.suffix == ".jsonl"
    if trouble := file_trouble(out) if as_text else folder_trouble(out):
        raise ValueError(f"{out}: {trouble}")
    settings = {"command": "transcribe", **options.settings(), "data": str(Path(source).resolve())}
    settings |= {"prompt": options.prompt, "max_tokens": options.max_tokens}
    settings |= {"as": "raw"} if options.written_as == "raw" else {}
    cut_off = malformed = 0
    output: OutputFormat = "markdown"

    def row(result: Result) -> dict[str, Any]:
        nonlocal cut_off, malformed
        page = _transcription(result, output)
        if page.error:
            return {"id": page.id, **({"text": ""} if as_text else {}), "error": page.error}
        cut_off += not page.finished
        malformed += bool(page.malformed)
        reason = {"malformed": page.malformed} if page.malformed else {}
        text = {"text": page.text} if as_text else {"file": _write_text(out, page)}
        return {"id": page.id, **text, "finish_reason": page.finish_reason, **reason}

    def results(engine: Engine, rest: Pages, there: int) -> Generator[Result, None, None]:
        nonlocal output
        output = _output(engine, options)
        return _results(engine, rest, options)

    job = RowJob(
        walk_pages(Path(source), options.prompt),
        lambda: options.load(console.say),
        results,
        row,
        None,
        options.retry_errors,
    )
    try:
        return append_rows(out if as_text else out / "pages.jsonl", settings, job, console)
    finally:
        if cut_off:
            console.say(f"{cut_off} cut off at {options.max_tokens} tokens; raise --max-tokens")
        if malformed:
            console.say(f"{malformed} are not valid {output} and are as the model wrote them")


def _results(engine: Engine, pages: Pages, options: TranscribeOptions) -> Generator[Result, None, None]:
    return in_order(engine, pages, Sampling(1, 0.0, options.max_tokens), seed=0)


def _output(engine: Engine, options: TranscribeOptions) -> OutputFormat:
    """What completions are read as."""
    return "markdown" if options.written_as == "raw" else engine.output


def _transcription(result: Result, output: OutputFormat) -> Transcription:
    if isinstance(result, Unread):
        return Transcription(result.id, "", None, result.why)
    group = result if isinstance(result, Group) else result.group
    completion = group.completions[0]
    written = to_markdown(completion.text, output)
    return Transcription(group.page.id, written.text, completion.finish_reason, malformed=written.problem or "")


def _write_text(folder: Path, page: Transcription) -> str:
    """Write the page's .md file, and return its name once it is on disk."""
    name = page.id.replace("#", "_pg") + ".md"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, page.text + "\n")
    return name
