"""CDM by hand, and by its published implementation with TeX: `scripts/bench/cdm.py` compares hundreds of formulas."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers.markup import katex
from ocr_verifiers.markup.katex import characters_of, render
from ocr_verifiers.metrics import cdm, formulas_cdm
from ocr_verifiers.rewards.rubric import Rubric

pytestmark = pytest.mark.skipif(not katex.installed(), reason=katex.INSTALL)


def names(latex):
    return [character.name for character in characters_of(latex)]


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\frac{a}{b_1}", [r"\frac", "a", "b", "1"]),
        (r"\sin x + \lim_{n\to 0} y", [*"sinx+limn→0y"]),
        (r"\left( \mathbf{x} \big| \hat{y} \right.", ["(", "x", "|", r"\hat", "y"]),
        (r"\sqrt[3]{2} \ldots \ne \not=", [r"\sqrt", *"32...≠", "\u0338", "="]),
        (r"\sum\limits_{i}^n \binom{n}{k} x''", ["∑", "i", "n", r"\binom", "n", "k", "x", "′", "′"]),
        (r"\begin{cases} a & \text{if } b \\ c \end{cases}", [*"{aifbc"]),
        (
            r"\overline{a} \underbrace{b}_{c} \xrightarrow{d}",
            [r"\overline", "a", r"\underbrace", "b", "c", r"\xrightarrow", "d"],
        ),
        (r"\phantom{a} \color{red}{b} \, c \tag{1}", [*"bc(1)"]),
        (r"\phi\,^2", ["ϕ", "2"]),
        (r"\unknown", []),
        (r"x \marked@tree", []),
    ],
)
def test_characters_are_what_is_printed_in_the_order_of_the_source(latex, expected):
    assert names(latex) == expected


def test_places_are_those_of_the_boxes():
    """A fraction's line is between its terms; `\\left(` stands where `(` does."""
    line, numerator, denominator = characters_of(r"\frac{a}{bcd}")[:3]
    assert numerator.y < line.y < 0 < denominator.y
    assert line.x == pytest.approx(numerator.x, abs=0.01)
    assert characters_of(r"\left( x") == ()
    tall, small = characters_of(r"\left( \frac{a}{b} \right)"), characters_of(r"( \frac{a}{b} )")
    assert [c.y for c in tall] == pytest.approx([c.y for c in small], abs=0.02)


def test_characters_leave_no_trace_in_other_renders():
    before = render(r"\frac{a}{b} + \widehat{xy}")
    katex.forget_renders()
    characters_of(r"\frac{a}{b} + \widehat{xy}")
    assert render(r"\frac{a}{b} + \widehat{xy}") == before


@pytest.mark.parametrize(
    "pair",
    [
        (r"\frac{a}{b} \le \left( x^2_i \right)", r"\dfrac ab\leq(x_i^2)"),
        (r"\mathrm{sin}\,x + \mathbb{R}", r"\sin {x} + R"),
        (r"\widehat{x} \rightarrow \varphi", r"\hat x \to \phi"),
        (r"\begin{pmatrix} a & b \\ c & d \end{pmatrix}", r"\left(\begin{array}{cc} a & b \\ c & d \end{array}\right)"),
        (r"x' = a \cdot b", r"x^{\prime} = a . b"),
    ],
)
def test_another_notation_is_the_same_formula(pair):
    assert cdm(*pair).f1 == cdm(*reversed(pair)).f1 == 1


def test_a_wrong_and_a_missing_sign_cost_their_share():
    """5 of 6 are right: 10 of 12; without one of them 10 of 11; a sign that moved alone is wrong too."""
    assert cdm("a + b = cd", "a + b = ce") == (5, 6, 6)
    assert cdm("a + b = cd", "a + b = c").f1 == pytest.approx(10 / 11)
    assert cdm("a + b = cd", "a + b d").precision == 3 / 4


def test_a_sign_in_another_place_does_not_count_unless_two_others_moved_alike():
    assert cdm(r"a + b = \frac{c}{d}", r"a + b = c_d").matched == 5
    assert cdm("y = 2z + 3x", "y = 2x + 3z").f1 == pytest.approx(5 / 7)


PUBLISHED = r"""
0.833 | i^{\cdots} = \beta
      | i^{\cdots} \neq \beta
0.333 | 9_{q \neq U} F
      | {F}
0.933 | 8' \ge \sum_{i = 1}^{n}
      | 8' \ge \sum_{i 1}^{n}
0.889 | \exp \mu b
      | \exp \mu
0.75  | 3_{w} 0^{d}
      | 3_{w} 0^{+}
0.706 | i < \Gamma_{d} \left( \hbar \right)
      | i < \Gamma_{h} \left( \hbar \right) \left( \hbar \right)
0.828 | \hbar \cdot \tilde{L} \times \beta < \cdots \in \sqrt{k \le \psi}
      | \hbar \cdot \tilde{L} \times \beta < \cdots \in \sqrt{k i}
0.828 | \frac{5 \times \mathbb{N}}{V 8 > s} \to \sqrt{T} \times \sqrt{k}
      | \dfrac{5 c \mathbb{N}}{V 8 > s} \to \rightarrow \sqrt{T} \times \sqrt{k}
0.905 | 8^{!'} > \sqrt{\mathbf{Q} < \mathbf{T} \times \dot{c}} \to j r \approx 8 . 8 1 5
      | 8^{!' !'} > \sqrt{\mathbf{Q} < \mathbf{T} \times \dot{c}} a j r \approx 8 . 8 1_{5}
0.857 | 2 . 2 0 5 \in \min v , \frac{\sqrt[3]{\delta E} \pm 8}{\cdots}
      | 2 . 2 \,\delta 5 \in \min v , \frac{\sqrt[\sigma]{E_{\delta}} \pm 8}{\cdots}
""".strip().splitlines()
"""By the program in opendatalab/UniMERNet, which rounds to three places."""


@pytest.mark.parametrize(("first", "second"), zip(PUBLISHED[::2], PUBLISHED[1::2], strict=True))
def test_scores_are_the_published_ones(first, second):
    score, reference = first.split(" | ")
    assert cdm(reference, second.split(" | ")[1]).f1 == pytest.approx(float(score), abs=6e-4)


def test_what_cannot_be_rendered_has_no_characters():
    assert cdm("x", r"\unknown") == (0, 1, 0)
    assert (cdm("x", "").f1, cdm("x", "").precision) == (0, 0)
    assert cdm(r"\unknown", "x") is None


ATOMS = st.sampled_from([*"xyz12+=", r"\alpha", r"\sin", r"\ldots", r"\le", r"\hat{x}", r"\sum"])
FORMULAS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" ".join),
        st.tuples(inner, inner).map(lambda pair: r"\frac{{{}}}{{{}}}".format(*pair)),
        st.tuples(inner, inner).map(lambda pair: "{{{}}}^{{{}}}".format(*pair)),
        inner.map(r"\sqrt{{{}}}".format),
        inner.map(r"\left({}\right]".format),
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(FORMULAS, FORMULAS)
def test_scores_are_between_0_and_1_and_equal_formulas_have_1(left, right):
    same, other = cdm(left, left), cdm(left, right)
    assert same.f1 == same.recall == same.precision == 1
    assert 0 <= other.matched <= min(other.reference, other.formula)
    assert (other.reference, other.formula) == (len(names(left)), len(names(right)))


def test_formulas_are_paired_by_their_latex():
    """Both are there in another order, one of them with 5 of 6 characters; a third one is missing."""
    expected = ["a + b = cd", r"\frac{x}{y}", r"\sum_i z_i^2"]
    assert formulas_cdm(expected, [r"\frac{x}{y}", "a + b = ce"]) == pytest.approx((1 + 10 / 12 + 0) / 3)
    assert (formulas_cdm([], []), formulas_cdm(["x"], []), formulas_cdm([], ["x"])) == (1, 0, 0)
    assert formulas_cdm([r"\unknown"], [r"\unknown"]) == 1


def test_the_part_cdm_is_of_pages_with_formulas():
    rubric = Rubric(weights={"cdm": 1.0}, gates={})
    page = "Let\n\n$$a + b = cd$$\n\nbe."
    assert rubric.score(page.replace("cd", "ce"), reference=page).parts["cdm"] == pytest.approx(10 / 12)
    assert rubric.score("Let be.", reference=page).reward == 0
