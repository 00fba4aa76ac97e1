"""Formulas that print alike are equal, and others are not: operators and limits, spellings of one sign, packages."""

import pytest

from ocr_verifiers.markup import katex
from ocr_verifiers.markup.mathml import printed

pytestmark = pytest.mark.skipif(not katex.installed(), reason="needs the extra math")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\underset{\theta}{\operatorname{arg\,min}} L", r"\operatorname*{arg\,min}_\theta L"),
        (r"\mathop{\rm argmin}\limits_{x}", r"\underset{x}{\operatorname{argmin}}"),
        (r"\underset{i=1}{\overset{n}{\sum}} i", r"\sum_{i=1}^{n} i"),
        (r"\overset{n}{\underset{i=1}{\prod}} i", r"\prod\limits_{i=1}^{n} i"),
        (r"\underset{x\to 0}{\lim} f", r"\lim\limits_{x \rightarrow 0} f"),
        (r"\inf\limits_x f", r"\underset{x}{\inf} f"),
        (r"\stackrel{\text{def}}{=}", r"\overset{\mathrm{def}}{=}"),
        (r"\int\limits_a^b f", r"\int_a^b f"),
        (r"\iint_D f", r"\int\!\!\int_D f"),
        (r"A \longrightarrow B", r"A \to B"),
        (r"A \iff B", r"A \Leftrightarrow B"),
        (r"x \coloneqq y", "x := y"),
        (r"\begin{split} a \end{split}", "a"),
        (r"1{,}000", "1,000"),
        (r"\left<x\right>", r"\langle x \rangle"),
        (r"\not\in", r"\notin"),
        (r"\pmb{\nu}", r"\boldsymbol{\nu}"),
        (r"\mbox{if } x", r"\text{if }x"),
        (r"\ce{H2SO4}", r"\mathrm{H_2SO_4}"),
        (r"\ce{SO4^2-}", r"\mathrm{SO_4^{2-}}"),
        (r"\ce{2H2 + O2 -> 2H2O}", r"\mathrm{2H_2 + O_2 \rightarrow 2H_2O}"),
        (r"\qty{5}{\kilo\gram}", r"5\,\mathrm{kg}"),
        (r"\dv{x}{t}", r"\frac{dx}{dt}"),
        (r"\pdv{u}{t}", r"\frac{\partial u}{\partial t}"),
        (r"\upalpha", r"\alpha"),
        (r"\prescript{14}{6}{C}", r"{}^{14}_{6}C"),
        (r"{n \choose k}", r"\binom{n}{k}"),
        (r"f'", r"f^{\prime}"),
    ],
)
def test_two_spellings_of_what_prints_are_equal(one, other):
    assert printed(one).error is printed(other).error is None
    assert printed(one).whole == printed(other).whole


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\underset{\theta}{\operatorname{argmin}} L", r"\operatorname{argmin} \theta L"),
        (r"\overset{iid}{\sim}", r"iid \sim"),
        (r"\overset{a}{b}", "b^a"),
        (r"\underset{a}{b}", "b_a"),
        (r"\lim_{x\to 0} f", r"\lim x\to 0 f"),
        (r"\not\to", r"\to"),
        (r"\cancel{x}", "x"),
        (r"\bcancel{x} y", "x y"),
        (r"\underbrace{x}_{n}", "x_n"),
        (r"\overbrace{x}^{n}", "x^n"),
        (r"\xrightarrow{f}", r"\rightarrow f"),
        (r"\sum_i^n", r"\sum_n^i"),
        (r"\mathbf{x}", "x"),
        (r"\subset", r"\subseteq"),
        (r"\ce{CO2}", r"\mathrm{CO^2}"),
        (r"\iint", r"\int"),
    ],
)
def test_what_prints_otherwise_differs(one, other):
    assert printed(one).error is printed(other).error is None
    assert printed(one).whole != printed(other).whole
