"""`math` in strict mode: what prints alike is equal, and a part is a part."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import PreparedPage, RecordError, parse_test, run_test
from ocr_verifiers.markup import katex
from ocr_verifiers.markup.formulas import find_formulas
from ocr_verifiers.markup.latex_macros import MACROS
from ocr_verifiers.markup.mathml import contains, printed

pytest.importorskip("py_mini_racer")


def parse(math, **fields):
    return parse_test({"pdf": "a.pdf", "page": 1, "id": "t", "type": "math", "math": math, **fields}, "tests.jsonl:17")


def verdict(page, math, **fields):
    return run_test(parse(math, **fields), PreparedPage(page))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"x \le y", "x ≤ y"),
        (r"a\,b\quad c", "{a}bc"),
        (r"x_{1}^2", r"x^{2}_1"),
        (r"\sin x", r"\operatorname{sin} x"),
        (r"\text{cost} = 1", r"\mathrm{cost}=1"),
        (r"\mathrm{d}x", "dx"),
        (r"f^{\prime\prime}", "f''"),
        (r"\left(\frac{a}{b}\right)", r"(\dfrac ab)"),
        (r"\neq", r"\not="),
        (r"\mathbb{R}", "ℝ"),
        (r"\begin{aligned}x&=1\\y&=2\end{aligned}", r"x=1\\y=2"),
        (r"\begin{align*}x&=1\end{align*}", "x=1"),
        (r"\begin{equation}x=1\tag{3}\label{eq}\end{equation}", "x=1"),
        (r"\sum_{i}^n i", r"\sum\nolimits_i^n i"),
        (r"\hat x", r"\widehat x"),
        ("12", "{1}{2}"),
        ("{ab}^2", "ab^2"),
        (r"\begin{pmatrix}1&2\end{pmatrix}", r"\left(\begin{matrix}1&2\end{matrix}\right)"),
        (r"|x|", r"\vert x\vert"),
        (r"{\color{red}x}+\phantom{y}1", "x+1"),
    ],
)
def test_what_prints_alike_is_equal(one, other):
    assert contains(one, other)
    assert contains(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x+1", "x-1"),
        ("x_1", "x_2"),
        ("x_1", "x^1"),
        (r"\mathbf{x}", "x"),
        (r"\mathbb{R}", "R"),
        (r"\mathcal{L}", "L"),
        (r"\sqrt{x+1}", r"\sqrt{x}+1"),
        (r"\sqrt{x}", r"\sqrt[3]{x}"),
        (r"\frac{a}{\frac{b}{c}}", r"\frac{\frac{a}{b}}{c}"),
        (r"\vec{v}", "v"),
        (r"\hat{x}", r"\tilde{x}"),
        (r"\widehat{xy}", r"\overline{xy}"),
        (r"\binom{n}{k}", r"\frac{n}{k}"),
        (r"\begin{matrix}1&23\end{matrix}", r"\begin{matrix}12&3\end{matrix}"),
        (r"\begin{matrix}1\\2\end{matrix}", r"\begin{matrix}1&2\end{matrix}"),
        (r"\phi", r"\varphi"),
        ("a'", "a"),
        ("90^\\circ", "90°"),
    ],
)
def test_one_sign_index_or_structure_apart_differs(one, other):
    assert printed(one).whole != printed(other).whole
    assert not contains(one, other) or not contains(other, one)


@pytest.mark.parametrize(
    ("part", "formula"),
    [
        ("a+b", "z+a+b+c"),
        (r"\frac{a}{b}", r"y=\frac ab+1"),
        ("a+b", r"\frac{a+b}{c}"),
        ("y=2", r"\begin{aligned}x&=1\\y&=2\end{aligned}"),
        ("x_1", r"\sqrt{x_1+1}"),
        (r"\log_2 x", r"\log_2(xy)=\log_2 x+1"),
    ],
)
def test_a_whole_part_of_a_larger_formula_is_found(part, formula):
    assert contains(formula, part)
    assert not contains(part, formula)


@pytest.mark.parametrize(
    ("part", "formula"),
    [
        ("x", "x^2"),
        ("1", "12"),
        ("2", "12"),
        ("s", r"\sin"),
        ("x", r"\max y"),
        ("b", "b'"),
        ("x+1", r"\sqrt{x}+1"),
        ("12", "12^2"),
        ("y", r"x\\y^2"),
    ],
)
def test_a_part_ends_where_a_token_ends(part, formula):
    assert not contains(formula, part)


def test_a_formula_passes_by_its_text_or_by_its_print():
    assert verdict(r"So \(x \leq y\).", r"x \le y").passed
    assert verdict("So $x \\le y$.", r"x \le y").passed
    assert verdict("So x ≤ y.", r"x \le y").why == "no formula on the page"
    assert verdict("So $x < y$.", r"x \le y").why == r'"x \le y" not found; nearest is "x < y"'


def test_dollars_can_be_ignored_as_delimiters():
    assert not verdict("$x$", "x", ignore_dollar_delimited=True).passed
    assert verdict(r"$x$ \(x\)", "x", ignore_dollar_delimited=True).passed


def test_a_formula_of_the_page_that_cannot_be_rendered_is_the_reason():
    why = verdict(r"\(\frac{x\)", "x").why
    assert why.startswith('"x" not found; nearest is "\\frac{x", which cannot be rendered: KaTeX parse error: ')


def test_hole_closed_an_unrenderable_reference_is_an_error_when_the_test_is_loaded():
    with pytest.raises(
        RecordError, match=r'^tests.jsonl:17: "math" is "\\\\frac\{1\}\{", which cannot be rendered: KaTeX '
    ):
        parse(r"\frac{1}{")
    with pytest.raises(RecordError, match="cannot be rendered: nothing of it prints"):
        parse(r"\quad")
    assert parse(r"\frac{1}{", checked="rejected").checked == "rejected"


def test_without_the_engine_a_math_test_is_an_error_that_names_the_command(monkeypatch):
    monkeypatch.setattr(katex, "installed", lambda: False)
    with pytest.raises(RecordError, match=r"^tests.jsonl:17: .* pip install 'ocr-rl\[math\]'$"):
        parse("x")


ATOMS = st.sampled_from(["x", "y", "1", "23", r"\alpha", r"\sin", "+", "=", r"\mathbf{x}", r"\text{if }"])
FORMULAS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" ".join),
        st.tuples(inner, inner).map(lambda two: r"\frac{{{}}}{{{}}}".format(*two)),
        inner.map(r"\sqrt{{{}}}".format),
        st.tuples(st.sampled_from("xyz"), inner).map(lambda two: "{}_{{{}}}".format(*two)),
    ),
    max_leaves=6,
)


@settings(deadline=None, max_examples=50)
@given(FORMULAS, FORMULAS)
def test_a_formula_contains_itself_and_stays_a_part_beside_another_one(one, other):
    assert contains(one, one)
    assert contains(f"{one} < {other}", one)
    assert contains(f"{other} < {one}", one)
    assert contains(rf"\sqrt{{ {one} }}", one)


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="\\{}^_&$()[]xfracsqtdefbeginlign#%~'\n\x00\ud800é1 ", max_size=50))
def test_any_text_against_a_formula_gives_a_verdict_twice(text):
    for compat in (None, "olmocr"):
        first, second = (run_test(parse("x^2"), PreparedPage(f"\\({text}\\) ${text}$"), compat) for _ in range(2))
        assert first == second
        assert first.passed == (first.why == "")


@pytest.mark.parametrize(
    ("reference", "page", "same"),
    [
        (r"X \stackrel{iid}{\sim} N", r"X \sim iid N", False),
        (r"\overset{a}{=} b", r"= a b", False),
        (r"\overset{\text{def}}{=}", r"\stackrel{def}{=}", True),
        (r"\underset{\theta}{\operatorname{argmin}} L", r"\operatorname{argmin} \theta L", False),
        (r"\underset{\theta}{\operatorname{argmin}} L", r"\operatorname*{argmin}_\theta L", True),
        (r"\underset{\theta}{\operatorname{argmin}} L", r"\argmin_\theta L", True),
        (r"\max_{x \in X} f", r"\underset{x \in X}{\max} f", True),
        (r"\lim_{x \to 0} f", r"\underset{x \to 0}{\lim} f", True),
        (r"\sum_{i=1}^n x", r"\underset{i=1}{\overset{n}{\sum}} x", True),
        (r"\sum_{i=1}^n x", r"\underset{n}{\overset{i=1}{\sum}} x", False),
    ],
)
def test_what_stands_over_or_under_an_operator_is_not_beside_it(reference, page, same):
    assert contains(page, reference) is same


@pytest.mark.parametrize(
    ("reference", "page", "same"),
    [
        ("N = 1,000", "N = 1{,}000", True),
        ("3{,}14", "3,15", False),
        (r"\pmb{x}+y", "x+y", False),
        (r"\boldsymbol{\nu}", r"\pmb{\nu}", True),
        (r"\langle x \rangle", r"\left< x \right>", True),
        (r"\neq", r"\not=", True),
        ("x", r"\not x", False),
        (r"\not x", "x", False),
        ("x", r"\cancel{x}", False),
        (r"\cancel{x}", r"\cancel{x} + 1", True),
        (r"\text{if } x>0", r"\mbox{if } x>0", True),
        (r"\text{Lemma}", r"\textsc{Lemma}", True),
        ("x", r"\text{\ensuremath{x}}", True),
        ("1/2", r"\nicefrac{1}{2}", True),
        (r"5\,\mathrm{kg}", r"\SI{5}{kg}", True),
    ],
)
def test_other_spellings_of_what_prints(reference, page, same):
    assert contains(page, reference) is same


def test_plain_latex_that_katex_lacks_is_a_reference():
    failed = {}
    for name, (arguments, _) in MACROS.items():
        latex = f"a \\{name}{'{x}' * arguments} {'b' if name != 'sideset' else '{y} b'}"
        if error := printed(latex).error:
            failed[name] = error
    assert failed == {}


def test_a_tag_for_formulas_holds_latex():
    assert [formula.latex for formula in find_formulas("<math>J_1</math> <math display='block'>a &lt; b</math>")] == [
        "J_1",
        "a < b",
    ]
    assert find_formulas("<math><mi>x</mi></math>") == ()
