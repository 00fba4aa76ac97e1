"""math, as olmOCR-bench decides it."""

from __future__ import annotations

from functools import lru_cache

from rapidfuzz import fuzz

from ocr_verifiers.markup.katex import MAX_EXPANDED, render_all
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.olmocr.layout import Layout, layout, matches
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import MathTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

MAX_FORMULAS = 300
"""How many formulas of a page one test compares, the most similar ones first; olmOCR has no limit."""
MAX_PAIRS = 4_000_000
"""Limit on characters of the reference times characters of the compared formulas, per test; likewise."""
CACHED_COMPARISONS = 50_000


def math(test: MathTest, page: PreparedPage) -> Verdict:
    """Passes if a formula of the page equals the reference's text, or its MathML or layout contains the reference's.

    Quirks, kept: a reference that cannot be rendered passes on any page with a formula; the layout has no lines, so
    fractions, roots and bars are lost, and no styles.
    """
    formulas = page.olmocr_formulas[test.ignore_dollar_delimited]
    if not formulas:
        return fail("no formula on the page")
    if test.math in formulas:
        return PASS
    formulas = tuple(dict.fromkeys(formulas))
    nearest = sorted(formulas, key=lambda formula: fuzz.ratio(formula, test.math), reverse=True)[:MAX_FORMULAS]
    rendered = render_all([test.math, *nearest], MAX_EXPANDED)
    nearest = nearest[: max(1, len(rendered) - 1)]
    pairs = 0
    for formula in nearest:
        if contains(formula, test.math):
            return PASS
        pairs += len(layout(test.math).characters) * len(layout(formula).characters)
        if pairs > MAX_PAIRS:
            break
    trouble = layout(nearest[0]).error
    why = f", which cannot be rendered: {trouble}" if trouble else ""
    return fail(f"{quoted(test.math)} not found; nearest is {quoted(nearest[0])}{why}")


@lru_cache(maxsize=CACHED_COMPARISONS)
def contains(formula: str, reference: str) -> bool:
    """True if olmOCR finds `reference` in `formula`."""
    sought = layout(reference)
    if sought.error is not None:
        return True
    found: Layout = layout(formula)
    return found.error is None and (sought.mathml in found.mathml or matches(sought, found))
