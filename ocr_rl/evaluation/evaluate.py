"""A model, or a file of transcriptions, on labelled pages: rates with intervals, and differences to another one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ocr_rl.config.loader import check_model_path
from ocr_rl.config.presets import check_names
from ocr_rl.data.unlabelled import Unread
from ocr_rl.evaluation.confidence.calibration import Calibration
from ocr_rl.evaluation.confidence.reading import Reading
from ocr_rl.evaluation.confidence.readings import SampleOptions, fitting_calibration, taken
from ocr_rl.evaluation.confidence.summary import summarize_confidence
from ocr_rl.evaluation.paired import paired_differences
from ocr_rl.evaluation.predictions import read_predictions
from ocr_rl.evaluation.results import PageEvaluation, score_pages, score_samples
from ocr_rl.evaluation.summary import evaluation, summarize_samples, totals
from ocr_rl.rewards.reward_function import RewardFunction, chosen_output, named_rubric, try_functions
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.rollouts.loading import EngineOptions
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import OutputFormat, to_markdown
from ocr_verifiers.metrics.confusions import error_table

CONFUSIONS = 100
"""The most frequent ones, which an evaluation lists."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is evaluated: either a `model` or a file of `predictions`.

    Raises:
        ValueError: two options contradict each other, or `model` or `against` does not exist; the message names the
            options as `ocr-rl eval` does.
    """

    model: str | None = None
    """A folder or hub id of a policy, a checkpoint of a run, or an embedded policy; its greedy text is scored."""
    predictions: Path | None = None
    """A .jsonl file of rows {id or file_name, text}, or a .json file that `ocr-rl eval --json` wrote."""
    against: str | None = None
    """What to compare with, page by page: a file as in `predictions`, or a model."""
    max_tokens: int = 512
    """Tokens of a transcription."""
    samples: int | None = None
    """Transcriptions of each page that are drawn beside the greedy one."""
    temperature: float | None = None
    """That of the samples; None: 1."""
    calibration: Path | None = None
    """What `ocr-rl calibrate` wrote for this model and these samples; None: confidences are shares of samples."""
    seed: int = 0
    """That of samples, intervals and p-values."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What generates; `auto` takes vLLM where CUDA and vllm are present."""
    workers: int = 1
    """Processes that generate, each with a GPU where there are any."""
    find_lines: bool = False
    """Find the lines of each page, and read one at a time, as `ocr-rl transcribe` does."""
    max_pixels: int = 0
    """Upper bound on the pixels of a fitted page; 0 leaves the model's own."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository ships."""
    preset: str = "auto"
    """How the model is asked and what it answers in: `auto`, `none` or a name of docs/prompts-and-outputs.md."""
    output: Literal["auto", OutputFormat] = "auto"
    """What the model writes, if not what the rubric or its preset says; or what the predictions are written in, if not
    markdown."""
    rubric: str | None = None
    """How transcriptions are scored: a shipped rubric or a TOML file; None: as `ocr-rl train` does by default."""

    def __post_init__(self) -> None:
        if (self.model is None) == (self.predictions is None):
            raise ValueError("give either a MODEL or --predictions FILE")
        if self.samples and self.model is None:
            raise ValueError("--samples draws from a MODEL; a file of predictions has none")
        if self.workers > 1 and self.model is None and (self.against is None or against_file(self.against) is not None):
            raise ValueError("--workers is for a MODEL; a file of predictions is read by one process")
        if self.workers > 1 and self.samples:
            raise ValueError("--samples needs the tokens of one process; leave out --workers")
        if self.find_lines and self.model is None:
            raise ValueError("--find-lines is for a MODEL; a file of predictions has its texts")
        if self.preset != "auto" and self.model is None:
            raise ValueError("--preset is that of a MODEL; a file of predictions has none")
        check_names(self.preset, self.output)
        chosen_output(named_rubric(self.rubric), self.output)
        if self.predictions is not None and self.predictions.suffix == ".json" and self.output != "auto":
            raise ValueError("--output is that of a .jsonl file; the texts of an evaluation are markdown")
        if self.temperature is not None and not self.samples:
            raise ValueError("--temperature is that of --samples N; without samples decoding is greedy")
        if self.calibration is not None and (self.samples or 0) < 2:
            raise ValueError("--calibration is for the confidences of samples; add the --samples it was fitted with")
        if self.model is not None:
            check_model_path(self.model)
        if self.against is not None:
            against_file(self.against)


def against_file(against: str) -> Path | None:
    """The file that `against` names; None if it names a model. Raises ValueError if it names neither."""
    path = Path(against)
    if path.is_file():
        return path
    if path.suffix in (".json", ".jsonl"):
        raise ValueError(f"--against {against}: no such file")
    check_model_path(against)
    return None


def evaluate(pages: Sequence[Page], options: EvaluateOptions, console: Console = SILENT) -> dict[str, Any]:
    """Score transcriptions of the pages, by a model or from a file; with `against`, compare them with another's.

    Returns:
        What `ocr-rl eval --json` writes, without its settings: each of `metric_names.RATES` and its 95 % interval
        `<name>_ci`, `n` and `documents`; the tables `by_kind`, `by_source` and `by_language`; a row of each of the
        `pages`; if pages cannot be read, an "id" and an "error" of each under `unread`, and the rates are those of the
        others; with a text on some page, `errors` (see `ErrorTable.as_dict`); with `samples`, `sampled` (see
        `evaluation.summary.summarize_samples`), and with two or more of them `consensus`, the rates of what they agree
        on and their differences to the greedy transcription under `against_greedy`, and, with a text, `confidence` (see
        `confidence.summary`); with `against`, `against` (see `evaluation.paired.paired_differences`).

    Raises:
        ValueError: a page has neither a text nor a test; no page can be read; a file of transcriptions is not valid, or
            transcribes none of the pages; there is no model to load.
        EngineError: the engine cannot continue.
    """
    this = other = None
    calibration = _calibration(options, console)
    rubric = named_rubric(options.rubric)
    output = chosen_output(rubric, options.output)
    if options.predictions is not None:
        written = "markdown" if output == "auto" else output
        this = _Transcribed(*read_predictions(options.predictions, pages), written)
        pages = this.pages
    if options.against is not None and (file := against_file(options.against)) is not None:
        other = _Transcribed(*read_predictions(file, pages, skip_unknown=True))
    reward_function = RewardFunction(rubric, pages)
    try_functions(rubric, pages)
    if options.model is not None:
        engine = _engine(options.model, options)
        engine = replace(engine, preset=options.preset, output=output)
        this = _generate(engine, pages, options, options.samples or 0, console)
    assert this is not None
    if options.against is not None and other is None:
        other = _generate(_engine(options.against, options), this.pages, options, 0, console)
    results = this.scored(reward_function)
    evaluated = evaluation(results, options.seed)
    if this.unread:
        evaluated["unread"] = [{"id": page.id, "error": page.why} for page in this.unread]
    if errors := _errors(results, reward_function.of_output(this.output)):
        evaluated["errors"] = errors
    if this.groups:
        sampled = score_samples(this.groups, reward_function.of_output(this.output))
        evaluated["sampled"] = summarize_samples(sampled, _temperature(options), options.seed)
    if this.consensus:
        agreed = score_pages(this.pages, this.consensus, reward_function.of_output("markdown"))
        differences = paired_differences(agreed, results, "greedy", options.seed)
        evaluated["consensus"] = totals(agreed, options.seed) | {"against_greedy": differences["metrics"]}
        labelled = [(one, page.text) for page, one in zip(this.pages, this.readings, strict=True) if page.text]
        evaluated |= {"confidence": summarize_confidence(labelled, calibration)} if labelled else {}
    if options.against is not None and other is not None:
        evaluated["against"] = paired_differences(results, other.scored(reward_function), options.against, options.seed)
    return evaluated


@dataclass(frozen=True)
class _Transcribed:
    """Pages and their transcriptions."""

    pages: Sequence[Page]
    completions: Sequence[Completion]
    output: OutputFormat = "markdown"
    """What the transcriptions are written in."""
    groups: Sequence[Group] = ()
    """Other transcriptions, drawn."""
    readings: Sequence[Reading] = ()
    """The transcriptions with what two or more others say of them."""
    consensus: Sequence[Completion] = ()
    """What they agree on, as markdown."""
    unread: Sequence[Unread] = ()
    """Pages that cannot be read."""

    def scored(self, reward_function: RewardFunction) -> list[PageEvaluation]:
        return score_pages(self.pages, self.completions, reward_function.of_output(self.output))


def _engine(model: str, options: EvaluateOptions) -> EngineOptions:
    return EngineOptions(
        model=model,
        engine=options.engine,
        workers=options.workers,
        find_lines=options.find_lines,
        max_pixels=options.max_pixels,
        trust_remote_code=options.trust_remote_code,
    )


def _generate(
    model: EngineOptions, pages: Sequence[Page], options: EvaluateOptions, samples: int, console: Console
) -> _Transcribed:
    """The pages that can be read, their greedy transcriptions, `samples` others of each, and the other pages."""
    from ocr_rl.evaluation.completions import readable, sample_pages, transcribe_pages
    from ocr_rl.rollouts.engine import Sampling

    with closing(model.load(console.say)) as engine:  # its memory is for the other model
        with console.bar(f"transcribing, {model.model}", len(pages)) as report:
            results = transcribe_pages(engine, pages, options.max_tokens, report)
        pages, completions, unread = readable(pages, results)
        if not samples:
            return _Transcribed(pages, completions, engine.output, unread=unread)
        sampling = Sampling(samples, _temperature(options), options.max_tokens)
        with console.bar(f"sampling, {model.model}", len(pages)) as report:
            drawn = sample_pages(engine, pages, sampling, options.seed, report)
        _, groups, _ = readable(pages, drawn)
        if samples < 2:
            return _Transcribed(pages, completions, engine.output, groups, unread=unread)

        def as_text(completion: str) -> str:
            return to_markdown(completion, engine.output).text

        whole = [Group(g.page, [greedy, *g.completions]) for greedy, g in zip(completions, groups, strict=True)]
        readings = [taken(group, False, as_text, engine.pieces)[1] for group in whole]
        agreed = [taken(group, True, as_text, engine.pieces) for group in whole]
        consensus = [Completion((), reading.text, like.finish_reason, ()) for like, reading in agreed]
        return _Transcribed(pages, completions, engine.output, groups, readings, consensus, unread)


def _errors(results: Sequence[PageEvaluation], reward_function: RewardFunction) -> dict[str, Any]:
    """Which characters and words are read as which, counted as for CER; {} without references."""
    rubric, texts = reward_function.rubric, []
    for result in results:
        if (reference := reward_function.prepared(result.page).reference) is not None:
            written = rubric.compared(rubric.read(result.completion.text)[0]).normalized
            texts.append((result.page.id, reference.normalized, written))
    return error_table(sorted(texts), rubric.unit).as_dict(CONFUSIONS) if texts else {}


def _calibration(options: EvaluateOptions, console: Console) -> Calibration | None:
    if options.calibration is None:
        return None
    assert options.model is not None  # it has samples
    samples = SampleOptions(samples=options.samples or 0, temperature=options.temperature)
    greedy = {"consensus": "confidences are those of the greedy transcription: calibrate without --consensus"}
    return fitting_calibration(options.calibration, options.model, samples, options.find_lines, console, greedy)


def _temperature(options: EvaluateOptions) -> float:
    return options.temperature or 1.0
