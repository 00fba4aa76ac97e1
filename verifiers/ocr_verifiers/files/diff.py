"""The differences between two text files, or between the pages of two JSON Lines files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ocr_verifiers.files.jsonl import RecordError
from ocr_verifiers.files.page_rows import page_of, read_page_rows
from ocr_verifiers.outputs.conversion import OutputFormat, to_markdown
from ocr_verifiers.text.diff import Line, diff_lines, text_diff
from ocr_verifiers.text.edit_distance import EditCounts, Span, Unit, char_edits, word_edits
from ocr_verifiers.text.equivalences import Pairs, equate
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.quoting import quoted

COMPARED = ("nfc", "whitespace")
"""Normalisations before CER and WER are counted, as in `ocr-verify score`."""


@dataclass(frozen=True)
class DiffOptions:
    """What to compare: two text files, or two files of pages. And how."""

    reference: Path | None = None
    completion: Path | None = None
    references: Path | None = None
    predictions: Path | None = None
    pages: tuple[str, ...] = ()
    """Names of the pages to compare; all pages of `predictions` if empty."""
    words: bool = False
    """Whole words are replaced, not characters."""
    unit: Unit = "codepoint"
    """What a character is."""
    output: OutputFormat = "markdown"
    """The format of completions."""
    normalization: tuple[str, ...] = COMPARED
    """Before edits are counted; texts are shown after all of it but `whitespace`."""
    equivalences: Pairs = ()
    """Pairs of texts that count as equal after that."""

    @property
    def of_texts(self) -> bool:
        """True for two text files and nothing else."""
        return bool(self.reference and self.completion and not (self.references or self.predictions or self.pages))

    @property
    def of_pages(self) -> bool:
        """True for two files of pages and no text file."""
        return bool(self.references and self.predictions and not (self.reference or self.completion))


class PageDiff(NamedTuple):
    """The differences between a reference and a completion."""

    name: str
    spans: list[Span]
    """After all normalisations but `whitespace`."""
    characters: EditCounts
    words: EditCounts
    malformed: str = ""
    """Why the completion is not in its format; it is compared as it stands."""

    @property
    def lines(self) -> list[Line]:
        """The spans, split into lines."""
        return diff_lines(self.spans)

    @property
    def differs(self) -> bool:
        """True unless the texts are equal after these."""
        return any(span.op != "equal" for span in self.spans)


def page_diffs(options: DiffOptions) -> Iterator[PageDiff]:
    """One diff per page, in the order of the references; one in all for two text files."""
    names, pairs = options.normalization, options.equivalences
    shown = [name for name in names if name != "whitespace"]
    for name, true, completion in _pairs(options):
        text, problem, _ = to_markdown(completion, options.output)
        sides = [equate(normalize(side, shown), pairs) for side in (true, text)]
        spans = text_diff(sides[0], sides[1], options.unit, options.words)
        true, text = (equate(normalize(side, names), pairs) for side in (true, text))
        yield PageDiff(name, spans, char_edits(true, text, options.unit), word_edits(true, text), problem or "")


def rates_row(name: str, characters: EditCounts, words: EditCounts) -> dict[str, Any]:
    """CER and WER with the counts behind them, as JSON."""
    return {
        "name": name,
        "cer": characters.error_rate,
        "wer": words.error_rate,
        "char_edits": characters.distance,
        "reference_chars": characters.reference_length,
        "word_edits": words.distance,
        "reference_words": words.reference_length,
    }


def _pairs(options: DiffOptions) -> Iterator[tuple[str, str, str]]:
    """(name, reference, completion)."""
    if options.of_texts:
        assert options.reference is not None
        assert options.completion is not None
        yield str(options.completion), _read_text(options.reference), _read_text(options.completion)
    elif options.of_pages:
        assert options.references is not None
        assert options.predictions is not None
        yield from _page_pairs(options.references, options.predictions, options.pages)
    else:
        raise ValueError("give two text files, or references and predictions")


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise RecordError(f"{path}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error


def _page_pairs(references: Path, predictions: Path, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Pages in the order of the references; only the predictions are held in memory."""
    completions = {}
    named = {page_of(name): name for name in names}
    for row in read_page_rows(predictions):
        if named and page_of(row.name) not in named:
            continue
        if row.text is None:
            raise RecordError(f'{row.where}: "text" of {quoted(row.name)} is not a string; write "" for an empty page')
        completions[page_of(row.name)] = row
    for page, name in named.items():
        if page not in completions:
            raise RecordError(f"{predictions}: has no page {quoted(name)}")
    for row in read_page_rows(references):
        prediction = completions.pop(page_of(row.name), None)
        if prediction is not None and row.text is not None:
            yield row.name, row.text, prediction.text or ""
    for prediction in completions.values():
        raise RecordError(f"{prediction.where}: {quoted(prediction.name)} has no reference in {references}")
