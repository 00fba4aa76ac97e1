"""The HTML report of a benchmark: one file, no network; readable on a phone, on paper and in dark mode."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from html import escape
from importlib.resources import files

import ocr_verifiers
from ocr_verifiers.bench.highlights import find_highlights, segments
from ocr_verifiers.bench.page_images import page_image
from ocr_verifiers.bench.run import BenchRun
from ocr_verifiers.bench.scoring import NO_OUTPUT, Bench, BenchPageResult, BenchScore, Outcome, read_output
from ocr_verifiers.resampling import Interval
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.run import Compat

LONGEST_TEXT = 20_000
"""Characters of an output that are shown; the number of the rest is given."""

_COMMON = {field.name for field in fields(UnitTest)} - {"max_diffs"}
# Characters that HTML cannot contain or that a reader cannot see: control characters and lone surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def render_report(run: BenchRun, max_pages: int = 60) -> str:
    """The report as HTML, with at most `max_pages` pages: those whose outputs fail the most tests first, pages without
    any output last.
    """
    bench, results, score = run.bench, run.results, run.score
    names = [candidate.name for candidate in score.candidates]
    shown = sorted(results, key=lambda result: -_failures(result, with_output=True))[:max_pages]
    categories = [category for category in bench.categories if _any(shown, category=category)]
    kinds = [kind for kind in score.candidates[0].kinds if _any(shown, kind=kind)]
    title = f"{bench.folder.resolve().name}: {len(names)} candidates" if len(names) > 1 else names[0]
    parts = [
        _HEAD.format(title=_text(title), css=_piece("report.css")),
        f"<header><h1>{_text(bench.folder.resolve().name)}</h1>",
        f"<p>{bench.tests:,} tests of {len(bench.pages):,} pages, {_mode(run.options.compat)} verdicts, "
        f"ocr-verify {_text(ocr_verifiers.__version__)}</p></header>\n",
        _summary(bench, score),
        _comparisons(score),
        _filters(names, categories, kinds, len(shown), len(results)),
        "<main>\n",
        *(_page(bench, result, names) for result in shown),
        '<p id="nothing" hidden>No test matches these filters.</p>\n</main>\n',
        f"<script>{_piece('report.js')}</script>\n</body>\n</html>\n",
    ]
    return "".join(parts)


_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
"""


def _piece(name: str) -> str:
    """The style sheet or script beside this file."""
    return (files("ocr_verifiers.bench") / name).read_text(encoding="utf-8")


def _text(value: str) -> str:
    """Any text as HTML text or attribute: escaped, with a visible symbol for each unprintable character."""
    return escape(_UNPRINTABLE.sub(_symbol, value))


def _breakable(name: str) -> str:
    """A name in which lines may break after an underscore."""
    return _text(name).replace("_", "_<wbr>")


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else "\ufffd"


def _mode(compat: Compat | None) -> str:
    return "olmOCR's" if compat else "strict"


def _failures(result: BenchPageResult, with_output: bool = False) -> int:
    """Failed tests of all candidates, or only of those that have an output."""
    return sum(
        not outcome.passed and (not with_output or bool(outcome.verdicts))
        for outcomes in result.outcomes.values()
        for outcome in outcomes
    )


def _any(results: Iterable[BenchPageResult], category: str | None = None, kind: str | None = None) -> bool:
    return any(
        category in (None, own) and kind in (None, test.type) for result in results for own, test in result.page.tests
    )


def _number(score: float, between: Interval) -> str:
    return f"<b>{score:.3f}</b><small>{between.low:.3f}–{between.high:.3f}</small>"


def _summary(bench: Bench, score: BenchScore) -> str:
    """The table of candidates by category."""
    best = {c: max(candidate.categories[c].score for candidate in score.candidates) for c in bench.categories}
    heads = "".join(
        f'<th scope="col">{_breakable(c)}<small>{own.tests:,} tests</small></th>'
        for c, own in score.candidates[0].categories.items()
    )
    rows = []
    for candidate in score.candidates:
        cells = "".join(
            f"<td{' class=best' if own.score == best[c] and len(score.candidates) > 1 else ''}>"
            f"{_number(own.score, own.interval)}</td>"
            for c, own in candidate.categories.items()
        )
        missing = len(candidate.missing)
        without = f"<small>{missing:,} of {len(bench.pages):,} pages without output</small>" if missing else ""
        rows.append(
            f'<tr><th scope="row">{_breakable(candidate.name)}{without}</th>'
            f'<td class="overall">{_number(candidate.score, candidate.interval)}</td>{cells}</tr>\n'
        )
    return (
        '<section><h2>Scores</h2>\n<div class="wide"><table id="scores">\n'
        f'<thead><tr><th scope="col">candidate</th><th scope="col">overall</th>{heads}</tr></thead>\n'
        f"<tbody>{''.join(rows)}</tbody>\n</table></div>\n"
        '<p class="note">Overall is the unweighted mean of the categories. Small numbers: 95 % bootstrap intervals '
        "over pages.</p></section>\n"
    )


def _comparisons(score: BenchScore) -> str:
    if not score.comparisons:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_text(other.name)}</th><td>{other.difference:.3f}</td><td>{other.p:.3f}</td></tr>\n'
        for other in score.comparisons
    )
    return (
        f"<section><details><summary>{_text(score.candidates[0].name)}, the best, against each of the others"
        '</summary>\n<div class="wide"><table id="comparisons"><thead><tr><th scope="col">candidate</th>'
        f'<th scope="col">behind by</th><th scope="col">p</th></tr></thead>\n<tbody>{rows}</tbody></table></div>\n'
        '<p class="note">p: paired permutation test over pages, two-sided, not corrected for the number of '
        "comparisons.</p></details></section>\n"
    )


def _filters(names: Sequence[str], categories: Sequence[str], kinds: Sequence[str], shown: int, pages: int) -> str:
    def choice(name: str, every: str, values: Sequence[str]) -> str:
        options = "".join(f"<option>{_text(value)}</option>" for value in values)
        return f'<label>{name}<select name="{name}"><option value="">{every}</option>{options}</select></label>\n'

    part = f"The {shown:,} of {pages:,} pages with the most failures. " if shown < pages else ""
    return (
        f'<section><h2>Pages</h2><p class="note">{part}Select a test to see its text on the page: '
        '<mark class="good">as expected</mark>, '
        '<mark class="near">the closest match</mark>, <mark class="bad">not wanted</mark>.'
        "</p></section>\n"
        '<form id="filters">\n'
        f"{choice('candidate', 'all', names)}{choice('category', 'all', categories)}{choice('kind', 'all', kinds)}"
        '<label class="check"><input type="checkbox" name="failed">failed only</label>\n'
        '<output name="count"></output>\n</form>\n'
    )


def _page(bench: Bench, result: BenchPageResult, names: Sequence[str]) -> str:
    """A page's image and all candidates' outputs. The first output that exists and fails a test is open."""
    page = result.page
    uri = page_image(bench.folder / "pdfs", page.pdf, page.number)
    figure = f'<figure><img src="{uri}" alt="{_text(page.name)}" loading="lazy"></figure>\n' if uri else ""
    present = [name for name in names if name in page.outputs] or names
    failed = [name for name in present if not all(outcome.passed for outcome in result.outcomes[name])]
    opened = (failed or present)[0]
    outputs = "".join(_output(result, name, opened=name == opened) for name in names)
    runs = sum(map(len, result.outcomes.values()))
    return (
        f'<article>\n<h3 dir="auto">{_text(page.pdf)} <small>page {page.number}, '
        f"{_failures(result):,} of {runs:,} tests failed</small></h3>\n"
        f'<div class="{"sheet" if uri else "sheet alone"}">{figure}<div class="outputs">\n{outputs}</div></div>\n'
        "</article>\n"
    )


def _output(result: BenchPageResult, name: str, opened: bool) -> str:
    """One candidate's tests, and the text of the repeat that fails the most tests."""
    outcomes = result.outcomes[name]
    paths = result.page.outputs.get(name, ())
    worst = max(range(len(paths)), key=lambda r: (sum(not o.verdicts[r].passed for o in outcomes), -r), default=0)
    rows = "".join(
        _test_row(i, category, test, outcome, worst)
        for i, ((category, test), outcome) in enumerate(zip(result.page.tests, outcomes, strict=True))
    )
    state = f"{sum(outcome.passed for outcome in outcomes)} of {len(outcomes)} passed"
    if not paths:
        state += f", {NO_OUTPUT}"
    elif len(paths) > 1:
        state += f", repeat {worst + 1} of {len(paths)}"
    text = ""
    if paths:
        tests = [
            (i, test, o.verdicts[worst].passed)
            for i, ((_, test), o) in enumerate(zip(result.page.tests, outcomes, strict=True))
        ]
        text = _marked_text(read_output(paths[worst]), tests)
    return (
        f'<details class="output" data-candidate="{_text(name)}"{" open" if opened else ""}>\n'
        f"<summary><b>{_text(name)}</b> <span>{state}</span></summary>\n"
        f'<div class="tests"><table><tbody>\n{rows}</tbody></table></div>\n{text}</details>\n'
    )


def _test_row(number: int, category: str, test: UnitTest, outcome: Outcome, repeat: int) -> str:
    state = "passed" if outcome.passed else "failed"
    why = outcome.why if not outcome.passed else ""
    if outcome.verdicts:
        why = outcome.verdicts[repeat].why or why
    share = f"{sum(v.passed for v in outcome.verdicts)}/{len(outcome.verdicts)}" if len(outcome.verdicts) > 1 else ""
    reason = f'<p class="why" dir="auto">{_text(why)}</p>' if why else ""
    return (
        f'<tr class="{state}" data-test="{number}" data-category="{_text(category)}" data-kind="{test.type}" '
        f'tabindex="0"><td class="verdict">{state} {share}</td>'
        f'<td><p class="name"><b>{test.type}</b> <span dir="auto">{_text(test.id)}</span> '
        f"<small>{_text(category)}</small></p>{_asks(test)}{reason}</td></tr>\n"
    )


def _asks(test: UnitTest) -> str:
    """The fields of a test that differ from their defaults."""
    own = [field for field in fields(test) if field.name not in _COMMON]
    own.sort(key=lambda field: field.name == "max_diffs")  # last
    said = [
        f'<dt>{field.name}</dt><dd dir="auto">{_text(str(getattr(test, field.name)))}</dd>'
        for field in own
        if getattr(test, field.name) != field.default
    ]
    return f"<dl>{''.join(said)}</dl>" if said else ""


def _marked_text(text: str, tests: Sequence[tuple[int, UnitTest, bool]]) -> str:
    """An output with the matches of its tests marked."""
    part = text[:LONGEST_TEXT]
    rest = len(text) - len(part)
    more = f'<p class="note">and {rest:,} more characters</p>\n' if rest else ""
    return f'<pre dir="auto">{"".join(_marks(part, tests))}</pre>\n{more}'


def _marks(text: str, tests: Sequence[tuple[int, UnitTest, bool]]) -> Iterator[str]:
    for segment in segments(text, find_highlights(text, tests)):
        if segment.tone is None:
            yield _text(segment.text)
        else:
            numbers = " ".join(map(str, segment.tests))
            yield f'<mark class="{segment.tone}" data-tests="{numbers}">{_text(segment.text)}</mark>'
