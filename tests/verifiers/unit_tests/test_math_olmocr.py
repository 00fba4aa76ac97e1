"""`math` with compat="olmocr", against the verdicts of olmOCR's own browser."""

import pytest

from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.unit_tests.olmocr.layout import Layout, layout, matches
from ocr_verifiers.unit_tests.olmocr.math import contains

pytest.importorskip("py_mini_racer")

REVIEWED = {
    ("dev_m005_0_single", 2): "ours passes and is right: P(A | B) with \\left( and \\right) prints the same formula; "
    "the browser's verdict depends on its font, and is ours under DejaVu Serif",
}
"""The disagreements: test, completion, and which side is right, judged by the rendered image."""


def test_all_verdicts_but_the_reviewed_ones_are_those_of_olmocr(oracle):
    workload, recorded = oracle("math_workload"), oracle("math_verdicts")
    pairs, differ = 0, set()
    for page in workload["pages"]:
        tests = [parse_test(record, "t", compat="olmocr") for record in page["tests"]]
        for i, completion in enumerate(page["completions"]):
            prepared = PreparedPage(completion)
            for test, expected in zip(tests, recorded["verdicts"][page["page_id"]][i], strict=True):
                pairs += 1
                if run_test(test, prepared, compat="olmocr").passed != expected:
                    differ.add((test.id, i))
    assert pairs == 674
    assert differ == set(REVIEWED)


def test_what_renders_is_what_rendered_in_the_browser(oracle):
    hypotheses = {
        latex: renders
        for page in oracle("math_verdicts")["rendered"].values()
        for completion in page["hypotheses"]
        for latex, renders in completion
    }
    assert len(hypotheses) > 400
    assert {latex for latex, renders in hypotheses.items() if renders != (layout(latex).error is None)} == set()


def test_an_unrenderable_reference_passes_on_any_formula_and_fails_without_one():
    test = parse_test({"pdf": "a", "page": 1, "id": "t", "type": "math", "math": "\\frac{1}{"}, "t", compat="olmocr")
    assert run_test(test, PreparedPage("$z$"), "olmocr").passed
    assert run_test(test, PreparedPage("z"), "olmocr").why == "no formula on the page"


@pytest.mark.parametrize(
    ("reference", "formula"),
    [
        ("x", r"\mathbf{x}"),
        (r"\sqrt{x+1}", "x+1"),
        (r"\vec{v}", "v"),
        ("a+b", "z+a+b"),
        (r"x \le y", "x ≤ y"),
        (r"\frac{a}{\frac{b}{c}}", r"\frac{\frac{a}{b}}{c}"),
    ],
)
def test_styles_and_lines_are_not_seen(reference, formula):
    assert contains(formula, reference)


@pytest.mark.parametrize(
    ("reference", "formula"),
    [
        (r"\hat{x}", r"\widehat{x}"),
        ("x+1", "x-1"),
        ("x_1+y", "x_2+y"),
        (r"90^\circ", "90°"),
        (r"\frac{a}{b}", r"\frac{b}{a}"),
    ],
)
def test_one_sign_apart_differs(reference, formula):
    assert not contains(formula, reference)


def test_a_character_needs_its_neighbours_and_each_its_own_one():
    """Rows of characters: `aba` has two a's; `ab` has one."""

    def row(text):
        last = len(text) - 1
        around = tuple((None, None, i - 1 if i else None, i + 1 if i < last else None) for i in range(len(text)))
        return Layout("", tuple(text), around, None)

    assert matches(row("ab"), row("xab"))
    assert not matches(row("aba"), row("ab"))
    assert not matches(row("ab"), row("axb"))
    assert not matches(row("aa"), row("ab"))
    assert matches(row("a" * 40), row("a" * 60))
