"""Images and PDFs to text: `ocr-rl transcribe`."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from ocr_rl.data.archives.choice import reads_layouts
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.reading import walk_archive
from ocr_rl.data.unlabelled import Unread, walk_pages
from ocr_rl.evaluation.confidence.calibration import Calibration
from ocr_rl.evaluation.confidence.readings import SampleOptions, confidence_row, fitting_calibration, taken
from ocr_rl.evaluation.layout_output import LAYOUT_FORMATS, write_layouts
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.loading import EngineOptions, lines_to_find
from ocr_rl.rollouts.ordered import Result, in_order
from ocr_rl.rollouts.resumable import Pages, RowJob, append_rows
from ocr_rl.rollouts.with_samples import greedy_and_samples
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.types import FinishReason, Group, Page
from ocr_verifiers import OutputFormat, to_markdown
from ocr_verifiers.files.writable import file_trouble, folder_trouble
from ocr_verifiers.markup.reading import read


@dataclass(frozen=True, kw_only=True)
class TranscribeOptions(EngineOptions, SampleOptions):
    """What transcribes, and how much.

    Raises:
        ValueError: as `EngineOptions`, or two options contradict each other; the message names them as `ocr-rl
            transcribe` does.
    """

    max_tokens: int = 2048
    """Tokens of a transcription; longer ones are cut off."""
    find_lines: bool | None = None  # type: ignore[assignment]
    """Find the lines of each page, and read one at a time; None: if the model was trained on lines."""
    prompt: str = ""
    """The instruction that goes with each page; empty: the model's own, if it has one."""
    crop: Crop = field(default_factory=Crop)
    """What is transcribed of PAGE-XML, ALTO and hOCR."""
    written_as: Literal["markdown", "raw", "text", "page-xml", "alto", "hocr"] = "markdown"
    """markdown, whatever the model writes; raw: as the model wrote it; text: without markup; the others: that text on
    the lines of the source's layout files, or in one region a page."""
    retry_errors: bool = False
    """Try pages whose row has an "error" again."""
    confidence: bool = False
    """Say how sure each line, word and character is, from the samples."""
    calibration: Path | None = None
    """What `ocr-rl calibrate` wrote for this model; None: a confidence is the share of samples that agree."""
    seed: int | None = None
    """That of the samples; None: 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = "--confidence" if self.confidence else "--consensus" if self.consensus else ""
        if wanted and self.samples < 2:
            raise ValueError(f"{wanted} needs samples to compare; add --samples 8")
        if self.samples and not wanted:
            raise ValueError("--samples has no effect: add --confidence, --consensus or both")
        if self.temperature is not None and not self.samples:
            raise ValueError("--temperature is that of --samples N; without samples decoding is greedy")
        if self.seed is not None and not self.samples:
            raise ValueError("--seed is that of --samples N; without samples decoding is greedy")
        object.__setattr__(self, "find_lines", lines_to_find(self.find_lines, self.crop.level, self.model))
        if self.samples and self.workers > 1:
            raise ValueError("--samples needs the tokens of one process; leave out --workers")
        if self.calibration is not None and not self.confidence:
            raise ValueError("--calibration has no effect: add --confidence")


@dataclass(frozen=True)
class Transcription:
    """The text of one page, or why there is none."""

    id: str
    """The file's name, relative to the folder; `book.pdf#3` is the third page of a PDF, `0042.xml#r1l3` a line."""
    text: str
    """Empty if the page cannot be read."""
    finish_reason: FinishReason | None
    """`end`, or why the text was cut off; None if the page cannot be read."""
    error: str = ""
    """Why the page cannot be read; it continues a sentence that begins with its name."""
    malformed: str = ""
    """Why the text could not be made markdown and is as the model wrote it."""
    confidence: Mapping[str, Any] = field(default_factory=dict)
    """How sure it is, if that was asked for: see `confidence.readings.confidence_row`."""
    found_lines: int = 0
    """Lines that were found on the page and read one by one; the text has as many. 0: it was read as a whole."""

    @property
    def finished(self) -> bool:
        """True if the policy ended the transcription itself."""
        return self.finish_reason == "end"

    def row(self) -> dict[str, Any]:
        """As a line of a .jsonl file."""
        if self.error:
            return {"id": self.id, "text": "", "error": self.error}
        reason = {"malformed": self.malformed} if self.malformed else {}
        found = {"found_lines": self.found_lines} if self.found_lines else {}
        row = {"id": self.id, "text": self.text, "finish_reason": self.finish_reason}
        return {**row, **found, **reason, **self.confidence}


def transcribe(
    source: str | Path,
    options: TranscribeOptions = TranscribeOptions(),
    console: Console = SILENT,
) -> Iterator[Transcription]:
    """The transcription of each page of an image, a PDF, or a folder of them, sorted by name: greedy, or a consensus.

    Of an export with PAGE-XML, ALTO or hOCR, it is that of each of their pages, regions or lines, as `options.crop`
    says. Pages are read several at a time, as the transcriptions are asked for.

    Raises:
        ValueError: there is no image or PDF at `source`, or no layout file to cut lines from, or no model at
            `options.model`.
        EngineError: the engine cannot continue.
    """
    pages = pages_of(Path(source), options.crop, options.prompt)
    pages = chain([next(pages)], pages)  # a folder without pages is an error before the model is loaded
    calibration = _calibration(options, console)
    with closing(options.load(console.say)) as engine, closing(_results(engine, pages, options)) as results:
        transcription = _Transcriber(engine, options, calibration)
        for result in results:
            yield transcription(result)


def write_transcriptions(
    out: Path, source: str | Path, options: TranscribeOptions = TranscribeOptions(), console: Console = SILENT
) -> int:
    """Write the transcriptions into a .jsonl file, a row per page, or into a folder, a .md or .txt file per page.

    The rows are {"id", "text", "finish_reason"}; those of a folder, in its pages.jsonl, have the name of the "file" in
    place of the text, or with confidences beside it. A page that cannot be read has an "error", a text that could not
    be made markdown the reason in "malformed". As PAGE-XML, ALTO or hOCR, the folder's pages.jsonl has the texts, and a
    layout file for each page is written after the last of them. The same call continues after an interruption.

    Returns:
        The number of pages that cannot be read.

    Raises:
        ValueError: as `transcribe`, or the file was made with other settings or of other pages.
        EngineError: the engine cannot continue; what was written is kept.
    """
    layouts = options.written_as in LAYOUT_FORMATS
    into_file = out.suffix == ".jsonl"
    with_text = into_file or layouts or options.confidence
    if layouts and into_file:
        raise ValueError(f"{out}: {options.written_as} is a file for each page; name a folder")
    if layouts and out.resolve() in (Path(source).resolve(), Path(source).resolve().parent):
        raise ValueError(f"{out}: is where {source} is, whose files would be replaced; name another folder")
    if trouble := file_trouble(out) if into_file else folder_trouble(out):
        raise ValueError(f"{out}: {trouble}")
    calibration = _calibration(options, console)
    settings = {"command": "transcribe", **options.settings(), "data": str(Path(source).resolve())}
    settings |= {"prompt": options.prompt, "max_tokens": options.max_tokens}
    settings |= {"as": options.written_as} if options.written_as != "markdown" else {}
    settings |= {"crop": asdict(options.crop)} if options.crop != Crop() else {}
    settings |= {"find_lines": True} if options.find_lines else {}
    if options.samples:
        settings |= options.sample_settings() | {"seed": options.seed or 0, "confidence": options.confidence}
        settings |= {"calibration": None if options.calibration is None else str(options.calibration.resolve())}
    if calibration is not None:
        settings |= {"calibration_digest": calibration.digest}
    cut_off = malformed = 0
    transcription: _Transcriber | None = None

    def row(result: Result) -> dict[str, Any]:
        nonlocal cut_off, malformed
        assert transcription is not None
        page = transcription(result)
        row = page.row()
        if not page.error:
            cut_off += not page.finished
            malformed += bool(page.malformed)
        if not with_text:
            del row["text"]
        if into_file or layouts or page.error:
            return row
        return {"id": page.id, "file": _write_text(out, page, options)} | row

    def results(engine: Engine, rest: Pages, there: int) -> Generator[Result, None, None]:
        nonlocal transcription
        transcription = _Transcriber(engine, options, calibration)
        return _results(engine, rest, options, there)

    job = RowJob(
        pages_of(Path(source), options.crop, options.prompt),
        lambda: options.load(console.say),
        results,
        row,
        sum(1 for _ in pages_of(Path(source), options.crop, options.prompt)),
        options.retry_errors,
    )
    try:
        rows = out if into_file else out / "pages.jsonl"
        unread = append_rows(rows, settings, job, console)
        if layouts:
            write_layouts(out, Path(source), options.crop, options.written_as)
        return unread
    finally:
        if cut_off:
            console.say(f"{cut_off} cut off at {options.max_tokens} tokens; raise --max-tokens")
        if malformed and transcription is not None:
            console.say(f"{malformed} are not valid {transcription.output} and are as the model wrote them")


def pages_of(source: Path, crop: Crop = Crop(), prompt: str = "") -> Iterator[Page | Unread]:
    """What is transcribed of a source. Raises ValueError as `transcribe`."""
    if reads_layouts(source, crop):
        return walk_archive(source, crop, prompt)
    if crop != Crop():
        level = crop.level
        raise ValueError(f"{source}: holds no PAGE-XML, ALTO or hOCR to cut a {level} from; leave out --level")
    return walk_pages(source, prompt)


def _results(engine: Engine, pages: Pages, options: TranscribeOptions, there: int = 0) -> Generator[Result, None, None]:
    """Groups of the greedy completion, and then the samples. `there` pages came before."""
    if not options.samples:
        return in_order(engine, pages, Sampling(1, 0.0, options.max_tokens), seed=0)
    sampling = Sampling(options.samples, options.drawn_at, options.max_tokens)
    return (result for result in greedy_and_samples(engine, pages, sampling, (options.seed or 0) + there))


def _calibration(options: TranscribeOptions, console: Console) -> Calibration | None:
    """Raises ValueError for a calibration of other samples."""
    if options.calibration is not None:
        return fitting_calibration(options.calibration, options.model, options, bool(options.find_lines), console)
    if options.confidence:
        console.say("confidences are shares of samples that agree; `ocr-rl calibrate` makes them probabilities")
    return None


@dataclass(frozen=True)
class _Transcriber:
    """Completions to transcriptions."""

    engine: Engine
    options: TranscribeOptions
    calibration: Calibration | None

    @property
    def output(self) -> OutputFormat:
        """What completions are read as."""
        return "markdown" if self.options.written_as == "raw" else self.engine.output

    def __call__(self, result: Result) -> Transcription:
        if isinstance(result, Unread):
            return Transcription(result.id, "", None, result.why)
        group = result if isinstance(result, Group) else result.group
        completion, details = group.completions[0], {}
        as_text = self._text_of_lines if completion.lines else self._text
        if self.options.samples:
            completion, reading = taken(group, self.options.consensus, as_text, self.engine.pieces)
            text = reading.text
            details = confidence_row(reading, self.calibration) if self.options.confidence else {}
        else:
            text = as_text(completion.text)
        problem = to_markdown(completion.text, self.output).problem or ""
        found = completion.lines if completion.lines == text.count("\n") + 1 else 0  # a consensus may have others
        return Transcription(group.page.id, text, completion.finish_reason, "", problem, details, found)

    def _text(self, completion: str) -> str:
        written = to_markdown(completion, self.output).text
        return written if self.options.written_as in ("markdown", "raw") else read(written).text.strip()

    def _text_of_lines(self, completion: str) -> str:
        return "\n".join(" ".join(self._text(line).split()) for line in completion.split("\n"))


def _write_text(folder: Path, page: Transcription, options: TranscribeOptions) -> str:
    """Write the page's .md or .txt file, and return its name once it is on disk."""
    file, _, part = page.id.partition("#")
    suffix = ".txt" if options.written_as == "text" else ".md"
    name = file + (f"_pg{part}" if part.isdecimal() else f"_{part}" if part else "") + suffix
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / name, page.text + "\n")
    return name
