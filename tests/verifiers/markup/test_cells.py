"""The text of cells: formulas, units, inline HTML, entities and escapes are read, in markdown and in HTML tables."""

import pytest

from ocr_verifiers.markup.cells import cell_key, cell_text, plain_formula
from ocr_verifiers.markup.table_parsing import find_tables


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"$12.3 \pm 0.5$", "12.3 ± 0.5"),
        (r"12.3 $\pm$ 0.5", "12.3 ± 0.5"),
        (r"$12.3\pm0.5$", "12.3 ± 0.5"),
        (r"12.3 \pm 0.5", "12.3 ± 0.5"),
        (r"$3.2 \times 10^{5}$", "3.2 × 10⁵"),
        (r"3.2 \times 10^5", "3.2 × 10⁵"),
        ("3.2 × 10<sup>5</sup>", "3.2 × 10⁵"),
        (r"$10^{-3}$", "10⁻³"),
        (r"CO$_2$", "CO₂"),
        (r"$\mathrm{CO_2}$", "CO₂"),
        ("H<sub>2</sub>O", "H₂O"),
        (r"$5\,\mathrm{kg}$", "5 kg"),
        (r"$5~\text{kg}$", "5 kg"),
        (r"5\%", "5%"),
        ("5 %", "5%"),
        (r"$5^\circ$C", "5°C"),
        (r"$5\,^{\circ}\mathrm{C}$", "5 °C"),
        ("5 ℃", "5°C"),
        (r"$\mu$m", "μm"),
        (r"$1{,}000$", "1,000"),
        (r"$\frac{1}{2}$", "1/2"),
        (r"$P(A \mid B)$", "P(A | B)"),
        (r"$\leq 5$", "≤5"),
        ("p &lt; 0.05", "p < 0.05"),
        ("AT&amp;T", "AT&T"),
        (r"snake\_case", "snake_case"),
        ("<b>净利润</b>合计", "净利润合计"),
        ("**净利润**合计", "净利润合计"),
        ('<span style="color:red">7</span>', "7"),
        ("<p>7</p>", "7"),
        (r"\textbf{12.3}", "12.3"),
        (r"\textit{E. coli}", "E. coli"),
        (r"\multirow{2}{*}{Mill}", "Mill"),
        (r"\makecell{two \\ lines}", "two lines"),
        (r"$\frac12$", "1/2"),
        (r"1$\frac{1}{2}$", "1½"),
        ("½", "1/2"),
        (r"$a\_b$", "a_b"),
        (r"0.05$^{\text{a}}$", "0.05ᵃ"),
        ("0.05<sup>a</sup>", "0.05a"),
        (r"$\langle x \rangle$", "⟨x⟩"),
        (r"$x_{i}$", "xᵢ"),
        (r"$\bar{x}$", "x̄"),
        (r"$\hat y$", "ŷ"),
        (r"$\log_{10} n$", "log₁₀ n"),
        (r"$\sin \theta$", "sin θ"),
        (r"$\mathbb{R}$", "ℝ"),
        (r"$\ldots$", "..."),
        (r"m\textsuperscript{2}", "m²"),
        (r"CO\textsubscript{2}", "CO₂"),
        (r"$\phantom{0}5$", "5"),
        (r"$\textcolor{red}{5}$", "5"),
        (r"$\leqslant 5$", "≤ 5"),
        (r"$\mathrm{SO_4^{2-}}$", "SO₄²⁻"),
        (r"$12.3_{\pm 0.5}$", "12.3±0.5"),
        (r"mg L$^{-1}$", "mg L⁻¹"),
        ("&plusmn;3", "±3"),
        ("5&deg;C", "5 °C"),
        ("x&sup2;", "x²"),
        ("~~7~~", "7"),
        ("`x`", "x"),
        ('<span title="a > b">7</span>', "7"),
    ],
)
def test_two_spellings_of_what_a_reader_sees_are_one_cell(one, other):
    assert cell_key(cell_text(one)) == cell_key(cell_text(other))
    (markdown,) = find_tables(f"| {one.replace('|', chr(92) + '|')} |\n|---|").grids
    (html,) = find_tables(f"<table><tr><td>{one}</td></tr></table>").grids
    assert markdown.cells[0].text == html.cells[0].text == cell_key(cell_text(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12.3 ± 0.5", "12.3 ± 0.6"),
        ("$5 to $6", "5 to 6"),
        ("H₂O", "H₃O"),
        ("5%", "5‰"),
        ("<", ">"),
        ("½", "12"),
        ("1½", "11/2"),
        (r"$x^2$", "x^3"),
        ("±5", "5"),
        ("*", "†"),
        ("", "0"),
        ("xᵢ", "xⱼ"),
        ("1/2", "12"),
    ],
)
def test_different_cells_stay_different(one, other):
    assert cell_key(cell_text(one)) != cell_key(cell_text(other))


def test_a_cell_is_written_as_a_reader_would_write_it():
    assert cell_text(r"$3.2 \times 10^{5}$ *m*") == "3.2 × 10⁵ m"
    assert plain_formula(r"\sqrt{2} \leq \frac{a}{b}") == "√2 ≤ a/b"
    assert plain_formula(r"\unknown{x}") == r"\unknownx"
