"""math: is a formula on the page?"""

from __future__ import annotations

from rapidfuzz import fuzz

from ocr_verifiers.markup.katex import MAX_EXPANDED, render_all
from ocr_verifiers.markup.mathml import contains, printed, spelt
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import MathTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

MAX_FORMULAS = 300
"""How many formulas of a page one test compares, the most similar ones first."""


def math(test: MathTest, page: PreparedPage) -> Verdict:
    """Passes if a formula of the page prints like the reference or contains it. Equal LaTeX passes unrendered."""
    formulas = [latex for latex in page.formulas if not (test.ignore_dollar_delimited and page.formulas[latex])]
    if not formulas:
        return fail("no formula on the page")
    if test.math.strip() in formulas:
        return PASS
    nearest = sorted(formulas, key=lambda latex: fuzz.ratio(latex, test.math), reverse=True)[:MAX_FORMULAS]
    rendered = render_all([spelt(latex) for latex in [test.math, *nearest]], MAX_EXPANDED)
    nearest = nearest[: max(1, len(rendered) - 1)]
    if any(contains(latex, test.math) for latex in nearest):
        return PASS
    trouble = printed(nearest[0]).error
    why = f", which cannot be rendered: {trouble}" if trouble else ""
    return fail(f"{quoted(test.math)} not found; nearest is {quoted(nearest[0])}{why}")
