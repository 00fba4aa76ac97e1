"""Checks a whole dataset: every problem at once, and a summary of its contents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.facts import metadata_values
from ocr_rl.data.images import LONGEST_SIDE, ImageError
from ocr_rl.data.loading import find_pages, select_pages
from ocr_rl.data.problems import Found, Problem
from ocr_rl.data.splits import SPLIT_SEED, document_of, shared_text, split_pages
from ocr_rl.types import Page
from ocr_verifiers import Rubric, parse_test

if TYPE_CHECKING:
    from PIL.Image import Image

SHOWN_WARNINGS = 20
NEAR = 12
"""Grey levels on either side of the paper's that do not count as ink."""


@dataclass(frozen=True)
class DataReport:
    """What `check_dataset` found."""

    path: str
    problems: Sequence[Problem]
    """Errors: they must be fixed before the dataset can be used."""
    warnings: Sequence[Problem]
    """What somebody should look at; the dataset can be used."""
    summary: Mapping[str, Any]
    """Plain values, ready for JSON."""

    def render(self) -> str:
        """The report as text: a summary of the dataset, every error, the first warnings."""
        summary = self.summary
        lines = [f"{self.path}: {summary['pages']:,} pages of {summary['documents']:,} documents"]
        lines += [
            f"  {name:<12} {_spread(summary[name])}" for name in ("width", "height", "text_length") if summary[name]
        ]
        lines.append(f"  {'characters':<12} {summary['characters']:,}, {len(summary['alphabet'])} different ones")
        for name in ("sources", "languages", "levels", "tests", "rejected", "split"):
            if summary[name]:
                counts = ", ".join(f"{key} {count:,}" for key, count in summary[name].items())
                lines.append(f"  {name:<12} {counts}")
        lines += [f"error: {problem}" for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings[:SHOWN_WARNINGS]]
        if len(self.warnings) > SHOWN_WARNINGS:
            lines.append(f"and {len(self.warnings) - SHOWN_WARNINGS:,} more warnings")
        lines.append(f"{len(self.problems):,} errors, {len(self.warnings):,} warnings")
        return "\n".join(lines)


def check_dataset(
    path: str | Path,
    *,
    where: Mapping[str, str | Sequence[str]] = {},
    columns: Mapping[str, str] = {},
    split: str = "",
    longest_side: int = LONGEST_SIDE,
    labels: bool = True,
    crop: Crop = Crop(),
    validation: float | int = 0.1,
    seed: int = SPLIT_SEED,
    check_texts: Callable[[Sequence[Page]], Iterable[str]] | None = None,
    progress: Callable[[Iterable[Found]], Iterable[Found]] = iter,
) -> DataReport:
    """Reads a dataset as `load_pages` does, opens every image and runs the tests of each page on its own text.

    `labels` and `crop` are those of `load_pages`, `validation` and `seed` are those of `split_pages`: anything that
    both sides of the split contain is a warning. So is what `check_texts` returns, e.g. about a tokenizer.
    """
    found, problems = find_pages(
        path, columns=columns, split=split, longest_side=longest_side, labels=labels, crop=crop
    )
    warnings: list[Problem] = []
    if found:
        wanted = {page.id for page in select_pages([one.page for one in found], where)}
        found = [one for one in found if one.page.id in wanted]
    sizes: list[tuple[int, int]] = []
    same_pixels: dict[str, Found] = {}
    for one in progress(found):
        problems += _failed_tests(one)
        if one.page.text is None and one.page.tests and all(map(_is_rejected, one.page.tests)):
            warnings.append(one.location.problem(None, f"every test of {one.page.id} is rejected"))
        try:
            image = one.page.open_image()
        except ImageError as error:
            problems.append(one.image_problem(error))
            continue
        sizes.append(image.size)
        if one.page.text and (grey := _only_grey(image)) is not None:
            warnings.append(one.location.problem(None, f"{one.page.id} is almost one colour (grey {grey} of 255)"))
        twin = same_pixels.setdefault(sha256(repr(image.size).encode() + image.tobytes()).hexdigest(), one)
        if document_of(twin.page) != document_of(one.page):
            same = f"{one.page.id} is the same image as {twin.page.id}, of another document"
            warnings.append(one.location.problem(None, same))
    sides = _check_split(found, validation, seed, warnings)
    if check_texts is not None:
        messages = check_texts([one.page for one in found])
        warnings += [Problem(str(path), None, None, message) for message in messages]
    return DataReport(str(path), problems, warnings, _summary(found, sizes, sides))


def _only_grey(image: Image) -> int | None:
    """The grey level that a page is, but for one pixel in 10,000; None for a page with something on it."""
    counts = image.convert("L").histogram()
    level = max(range(256), key=counts.__getitem__)
    near = sum(counts[max(0, level - NEAR) : level + NEAR + 1])
    return level if sum(counts) - near <= sum(counts) / 10_000 else None


def _failed_tests(found: Found) -> list[Problem]:
    """A text that fails a test of its page: one of the two is wrong."""
    text, records = found.page.text, found.page.tests
    if not text or not records:
        return []
    tests = [parse_test(record, str(found.location)) for record in records]
    verdicts = Rubric().prepare(text, tests).score(text).verdicts
    return [
        found.location.problem(None, f"the reference fails its own test {test.id}: {verdict.why}")
        for test, verdict in verdicts
        if not verdict.passed
    ]


def _check_split(found: Sequence[Found], validation: float | int, seed: int, warnings: list[Problem]) -> dict[str, int]:
    """Pages on each side of the split. What both sides contain is a warning at the validation page."""
    locations = {one.page.id: one.location for one in found}
    try:
        train, held = split_pages([one.page for one in found], validation, seed)
    except ValueError as error:
        if found:
            warnings.append(Problem(found[0].location.file, None, None, str(error)))
        return {}
    for shared in shared_text(train, held):
        text = shared.text if len(shared.text) <= 40 else shared.text[:39] + "…"
        message = f'"{text}" is also on the training side of the split: {shared.train[0]}'
        warnings.append(locations[shared.validation[0]].problem("text", message))
    for document in {document_of(page) for page in train} & {document_of(page) for page in held}:
        page = next(page for page in held if document_of(page) == document)
        warnings.append(locations[page.id].problem("split", f"puts the document {document} on both sides"))
    return {"train": len(train), "validation": len(held)}


def _summary(found: Sequence[Found], sizes: Sequence[tuple[int, int]], split: Mapping[str, int]) -> dict[str, Any]:
    pages = [one.page for one in found]
    texts = [page.text for page in pages if page.text is not None]
    tests = [test for page in pages for test in page.tests]

    def counts(key: str) -> dict[str, int]:
        return dict(Counter(value for page in pages for value in metadata_values(page, key)).most_common())

    return {
        "pages": len(pages),
        "documents": len({document_of(page) for page in pages}),
        "width": _quantiles([width for width, _ in sizes]),
        "height": _quantiles([height for _, height in sizes]),
        "text_length": _quantiles([len(text) for text in texts]),
        "characters": sum(map(len, texts)),
        "alphabet": "".join(sorted(set("".join(texts)))),
        "sources": counts("source"),
        "languages": counts("language"),
        "levels": counts("level"),
        "tests": dict(Counter(test["type"] for test in tests).most_common()),
        "rejected": dict(Counter(test["type"] for test in tests if _is_rejected(test)).most_common()),
        "split": dict(split),
    }


def _is_rejected(record: Mapping[str, Any]) -> bool:
    return record.get("checked") == "rejected"


def _quantiles(values: Sequence[int]) -> dict[str, float]:
    return {"min": min(values), "median": median(values), "max": max(values)} if values else {}


def _spread(values: Mapping[str, float]) -> str:
    return f"{values['min']:,} to {values['max']:,}, median {values['median']:,.0f}"
