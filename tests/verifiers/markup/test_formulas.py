"""Which parts of a page are formulas."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers.markup.formulas import find_formulas, plain
from ocr_verifiers.markup.olmocr.formulas import olmocr_formulas


def found(text):
    return [formula.latex for formula in find_formulas(text)]


@pytest.mark.parametrize("text", [r"a \(x+1\) b", r"\[ x+1 \]", "$$\nx+1\n$$", "so $x+1$.", "so $ x+1 $."])
def test_each_pair_of_delimiters_encloses_a_formula(text):
    assert found(text) == ["x+1"]


def test_formulas_come_in_reading_order_and_know_their_dollars():
    assert [tuple(formula) for formula in find_formulas(r"$a$ \(b\) $$c$$ \[d\]")] == [
        ("a", True),
        ("b", False),
        ("c", True),
        ("d", False),
    ]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("from $5 and $10 on", []),
        ("from $ 5 to $ 10", []),
        ("it costs $5, or $x$ dollars", ["x"]),
        (r"\$5 and \$6", []),
        (r"$a\$b$", [r"a\$b"]),
        ("$a\n\nb$", []),
        ("$$", []),
        ("$$ $$", []),
    ],
)
def test_prices_and_escaped_dollars_are_text(text, formulas):
    assert found(text) == formulas


def test_a_line_break_before_a_bracket_opens_no_formula():
    assert found(r"$$\begin{aligned}a\\[4pt]b\end{aligned}$$ then \[z\]") == [
        r"\begin{aligned}a\\[4pt]b\end{aligned}",
        "z",
    ]
    assert found(r"one \\[4pt] two \]") == []


@pytest.mark.parametrize("text", [r"$\(x\)$", r"$$ \[x\] $$"])
def test_doubled_delimiters_are_the_inner_ones(text):
    assert find_formulas(text) == (("x", False),)


def test_a_bare_environment_is_a_formula_with_its_name():
    assert found("\\begin{align*}x&=1\\end{align*}") == ["\\begin{align*}x&=1\\end{align*}"]
    assert found(r"$\begin{align}x\end{align}$") == [r"\begin{align}x\end{align}"]
    assert found(r"\begin{table}x\end{table}") == []


def test_labels_go_and_displays_become_what_can_stand_anywhere():
    assert plain(r"\begin{equation}\label{eq:1} x \end{equation}") == "x"
    assert plain(r"\begin{align*}x\end{align*}") == r"\begin{aligned}x\end{aligned}"


def test_olmocr_cuts_out_one_kind_of_delimiter_after_the_other():
    assert olmocr_formulas(r"$a$ \(b\) $$c$$ \[d\]") == ("b", "d", "c", "a")
    assert olmocr_formulas(r"$a$ \(b\)", ignore_dollar_delimited=True) == ("b",)


def test_in_olmocr_a_price_shifts_the_pairs():
    assert olmocr_formulas("costs $5 and $x$") == ("5 and",)


@given(st.text(alphabet=r"\()[]$ab5 " + "\n", max_size=60))
def test_a_formula_is_a_stretch_of_the_page(text):
    for latex, _ in find_formulas(text):
        assert latex
        assert latex in text


@pytest.mark.parametrize("unit", [r"\(", r"\[", "$", "$$ ", "$a ", r"\begin{align}", r"\\", r"\$", "$\\"])
def test_a_megabyte_of_openers_takes_less_than_a_second(unit):
    text = unit * (1_000_000 // len(unit))
    with CpuClock() as clock:
        find_formulas(text)
        olmocr_formulas(text)
    assert clock.seconds < 3
