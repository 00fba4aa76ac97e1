"""Finds mistakes in unit tests: tests that every page passes, that no page can pass, or that repeat another one.

    trivial         passes on an empty page, or on a page of one letter or digit
    unrenderable    a formula that is not valid LaTeX
    contradictory   `absent` of a text that another test of the page wants; orders that form a circle; `max_length` too
                    small for what must be present
    duplicate       the same as an earlier test of the page
    reference       fails on the page's own reference, or has none
    slow            the tests of its page take longer than a time limit

For information, `degenerate_passes` finds tests that pass on pages that are not transcriptions (`DEGENERATE`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import NamedTuple

from ocr_verifiers.text.normalize import strict
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import (
    BaselineTest,
    FootnoteTest,
    FormatTest,
    MathTest,
    OrderTest,
    TableTest,
    TextTest,
    UnitTest,
)
from ocr_verifiers.unit_tests.run import run_test

DEGENERATE = ("loop", "word soup", "list")
"""Pages that are not transcriptions, made of the strings of a page's own tests: the first string fifty times; the words
of all strings, each once, in alphabetical order; all strings, one per line."""
_LOOP = 50
_NOT_COMPARED = {"id", "checked", "url"}
_EMPTY = PreparedPage("")


class Numbered(NamedTuple):
    """A test and its line number."""

    line: int
    test: UnitTest


class Finding(NamedTuple):
    """One thing that is wrong with one test."""

    line: int
    id: str
    problem: str
    """trivial, unrenderable, contradictory, duplicate, reference or slow."""
    why: str


def lint_page(tests: Sequence[Numbered], reference: str | None = None) -> list[Finding]:
    """The mistakes in the tests of one page, by line."""
    findings = [*_trivial(tests), *_duplicates(tests), *_unwanted(tests), *_too_long(tests)]
    failed: set[int] = set()
    if reference is not None:
        page = PreparedPage(reference)
        for line, test in tests:
            verdict = run_test(test, page)
            if not verdict.passed:
                failed.add(line)
                findings.append(Finding(line, test.id, "reference", f"its reference fails it: {verdict.why}"))
    findings += _circles(tests, None if reference is None else failed)
    return sorted(findings)


def degenerate_passes(tests: Sequence[Numbered]) -> dict[str, list[Numbered]]:
    """The tests that each degenerate page passes, without `absent` and `baseline`, which earn nothing alone."""
    wanted = [text for _, test in tests for text in wanted_texts(test)]
    if not wanted:
        return {name: [] for name in DEGENERATE}
    pages = {
        "loop": " ".join([wanted[0]] * _LOOP),
        "word soup": " ".join(sorted({word for text in wanted for word in text.split()})),
        "list": "\n".join(f"- {text}" for text in dict.fromkeys(wanted)),
    }
    return {
        name: [each for each in tests if wanted_texts(each.test) and run_test(each.test, page).passed]
        for name, page in ((name, PreparedPage(text)) for name, text in pages.items())
    }


def wanted_texts(test: UnitTest) -> list[str]:
    """The strings that a page must contain to pass."""
    match test:
        case TextTest(type="present"):
            return [test.text]
        case OrderTest():
            return [test.before, test.after]
        case TableTest():
            return [text for text in _table_texts(test) if text]
        case MathTest():
            return [f"$${test.math}$$"]
        case FormatTest():
            return [test.text]
        case FootnoteTest():
            return [f"{test.appears_before_marker or ''}[^{test.marker}]{test.appears_after_marker or ''}"]
    return []


def _table_texts(test: TableTest) -> list[str]:
    return [test.cell, test.up, test.down, test.left, test.right, test.top_heading, test.left_heading]


def _trivial(tests: Iterable[Numbered]) -> Iterator[Finding]:
    """`absent` passes on any page without the text and baseline on any letter, so neither counts as trivial."""
    for line, test in tests:
        if test.type in ("absent", "baseline"):
            continue
        if run_test(test, _EMPTY).passed:
            yield Finding(line, test.id, "trivial", "an empty page passes it")
            continue
        letters = dict.fromkeys(c for text in wanted_texts(test) for c in strict(text) if c.isalnum())
        letter = next((c for c in list(letters)[:3] if run_test(test, PreparedPage(c)).passed), None)
        if letter is not None:
            yield Finding(line, test.id, "trivial", f'a page with nothing but "{letter}" passes it')


def _duplicates(tests: Iterable[Numbered]) -> Iterator[Finding]:
    seen: dict[object, Numbered] = {}
    for line, test in tests:
        first = seen.setdefault(_content(test), Numbered(line, test))
        if first.test is not test:
            yield Finding(line, test.id, "duplicate", f"is the same as {quoted(first.test.id)} on line {first.line}")


def _content(test: UnitTest) -> object:
    """Everything that decides a test's verdict, with strings normalised for comparison."""
    values = {field.name: getattr(test, field.name) for field in fields(test) if field.name not in _NOT_COMPARED}
    formula = isinstance(test, MathTest)
    return tuple(
        (name, ("".join(value.split()) if formula else strict(value)) if isinstance(value, str) else value)
        for name, value in values.items()
    )


def _unwanted(tests: Sequence[Numbered]) -> Iterator[Finding]:
    """`absent` tests that fail on a text that another test of the page wants."""
    wanted = [(each, text) for each in tests for text in wanted_texts(each.test)]
    everything = PreparedPage("\n\n".join(text for _, text in wanted))
    for line, test in tests:
        if not isinstance(test, TextTest) or test.type != "absent" or test.first_n or test.last_n:
            continue
        if run_test(test, everything).passed:
            continue  # the usual case, decided by one run
        for (at, other), text in wanted:
            if not run_test(test, PreparedPage(text)).passed:
                yield Finding(
                    line, test.id, "contradictory", f"{quoted(other.id)} on line {at} wants {quoted(text)} on the page"
                )
                break


def _too_long(tests: Sequence[Numbered]) -> Iterator[Finding]:
    """Baseline tests of a blank page on which other tests want more than they allow."""
    wanted = [(each, sum(map(str.isalnum, text)), text) for each in tests for text in wanted_texts(each.test)]
    for line, test in tests:
        if isinstance(test, BaselineTest) and test.max_length is not None:
            for (at, other), length, text in wanted:
                if length > test.max_length + other.max_diffs:
                    why = f"allows {test.max_length} letters; {quoted(other.id)} on line {at} wants {quoted(text)}"
                    yield Finding(line, test.id, "contradictory", why)
                    break


def _circles(tests: Sequence[Numbered], failed: set[int] | None) -> Iterator[Finding]:
    """The first circle of `order` tests, such as a before b and b before a.

    Texts that occur twice on the page may form a circle; this is so if the reference passes all tests of the circle.
    """
    orders: dict[tuple[str, str], Numbered] = {}
    for each in tests:
        if isinstance(each.test, OrderTest):
            orders.setdefault(each.test.queries, each)
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for before, after in orders:
        if before != after:
            sorter.add(after, before)
    try:
        sorter.prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        steps = sorted(orders[pair] for pair in pairwise(circle))
        if failed is None or any(line in failed for line, _ in steps):
            last, others = steps[-1], steps[:-1]
            lines = ", ".join(str(line) for line, _ in others)
            why = f"its order forms a circle with line{'s' * (len(others) > 1)} {lines}"
            yield Finding(last.line, last.test.id, "contradictory", why)
