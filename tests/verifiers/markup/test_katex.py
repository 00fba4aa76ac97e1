"""KaTeX in its engine: bounded, one per process, cached."""

import hashlib
import multiprocessing
import subprocess
import sys
import time
from importlib.resources import files
from itertools import pairwise

import pytest

from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.markup import katex
from ocr_verifiers.markup.katex import render

pytest.importorskip("py_mini_racer")

HARD = {
    "nested braces": "{" * 4_000 + "x" + "}" * 4_000,
    "nested superscripts": "x^{" * 3_000 + "}" * 3_000,
    "nested fractions": r"\frac{1}{" * 300 + "x" + "}" * 300,
    "delimiters": r"\left(" * 600 + "x" + r"\right)" * 600,
    "a macro that calls itself": r"\def\a{\a\a}\a",
    "macros that double": r"\def\a{xx}"
    + "".join(rf"\def\{b}{{\{a}\{a}}}" for a, b in pairwise("abcdefghijklmno"))
    + r"\o",
    "a megabyte": "x+" * 500_000,
    "a lone surrogate": "\ud800",
    "NUL": "\x00",
}


@pytest.mark.parametrize("name", HARD)
def test_a_hostile_formula_is_an_error_in_bounded_time_and_the_next_one_renders(name):
    start = time.monotonic()
    assert render(HARD[name]).error
    assert time.monotonic() - start < 2 * katex.SECONDS
    assert render("x" + name.replace(" ", "")).error is None


def test_the_longest_formula_is_rendered_or_refused_in_time():
    start = time.monotonic()
    render("x+" * (katex.MAX_LENGTH // 2))
    assert time.monotonic() - start < 2 * katex.SECONDS


def test_after_a_formula_that_ran_out_of_time_the_next_one_renders(monkeypatch):
    monkeypatch.setattr(katex, "SECONDS", 0.001)
    assert render(r"\frac{a}{b}+" * 400 + "q").error == "takes longer than 0.001 seconds"
    monkeypatch.undo()
    assert render(r"\frac{a}{b}+q").error is None


def test_after_a_formula_that_ran_out_of_memory_the_next_one_renders():
    """In a separate process: the engine measures memory when it collects garbage, which a warm engine rarely does."""
    code = r"""
from ocr_verifiers.markup import katex
whole, katex.MEMORY = katex.MEMORY, 2**20
print(katex.render(r"\sqrt{\frac{a}{b}}+" * 250 + "m").error)
katex.MEMORY = whole
print(katex.render("x+m").error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "takes more than 1 MB\nNone\n"


def test_a_render_is_kept_and_an_error_too():
    assert render(r"\frac{kept}{1}") is render(r"\frac{kept}{1}")
    assert render(r"\frac{kept") is render(r"\frac{kept")


def test_a_macro_of_one_formula_is_unknown_to_the_next():
    assert render(r"\gdef\zz{x}\zz").error is None
    assert "Undefined control sequence" in render(r"\zz+1").error


def _mathml(latex):
    return render(latex).mathml


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_start_engines_of_their_own(method):
    expected = [_mathml(rf"x_{{{i}}}") for i in range(4)]
    katex.forget_renders()
    _mathml("x")  # the parent's engine is running
    with multiprocessing.get_context(method).Pool(2) as pool:
        answers = pool.map_async(_mathml, [rf"x_{{{i}}}" for i in range(4)]).get(timeout=60)
    assert answers == expected
    assert _mathml("x+y")


def test_a_render_works_where_an_event_loop_runs_and_the_interpreter_ends_after_it():
    code = """
import asyncio
from ocr_verifiers.markup.katex import render

async def main():
    print(render("x").mathml)

asyncio.run(main())
"""
    for _ in range(3):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
        assert (ran.returncode, ran.stdout) == (0, "<mrow><mi>x</mi></mrow>\n")


def test_importing_the_package_does_not_import_the_engine():
    code = "import sys, ocr_verifiers; sys.exit('py_mini_racer' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_bundle_is_the_published_one():
    folder = files("ocr_verifiers.markup.katex")
    digest = hashlib.sha256(folder.joinpath("katex.min.js").read_bytes()).hexdigest()
    assert digest in folder.joinpath("README.md").read_text(encoding="utf-8")
    assert digest == "863811e2baa0849c77bc92d26d44f4d0a4843c2a8ab52c462017dea57316e4d8"


def test_a_page_full_of_different_formulas_takes_bounded_time():
    """Only 300 of 20,000 formulas are rendered."""
    page = PreparedPage(" ".join(f"${i}x$" for i in range(20_000)))
    test = parse_test({"pdf": "a.pdf", "page": 1, "id": "t", "type": "math", "math": "y"}, "t")
    for compat in (None, "olmocr"):
        start = time.monotonic()
        assert not run_test(test, page, compat).passed
        assert time.monotonic() - start < 10
