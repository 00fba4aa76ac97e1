"""What parts that look at one side of a page pay at most."""

import pytest

from ocr_verifiers import Rubric, load_rubric
from ocr_verifiers.markup import katex
from ocr_verifiers.rewards.support import LIMITED

TABLE = "| item | price |\n|---|---|\n| pen | 12.50 |\n| ink | 7.25 |"
PAGE = f"Prices of the shop by the river\n\n{TABLE}"


@pytest.mark.parametrize("part", ["numbers", "tables", "paragraphs", "grits_con", "length"])
def test_one_side_of_a_page_pays_its_similarity(part):
    """The table is right, and the page is there a second time: half of what is read is wrong."""
    score = Rubric({part: 1.0}, gates={}).score(f"{PAGE}\n\n{PAGE}", reference=PAGE)
    similarity = score.parts["similarity"]
    assert similarity == pytest.approx(0.5, abs=0.01)
    assert score.reward == min(score.parts[part], similarity)


def test_a_page_like_its_reference_is_paid_in_full():
    for name in ("layout", "ledger", "format_decoupled"):
        if name != "format_decoupled" or katex.installed():
            assert load_rubric(name).score(PAGE, reference=PAGE).reward == 1


def test_at_an_unsupported_of_1_there_is_no_limit():
    hidden = f"{TABLE}\n\n<!-- {'no ' * 400}-->"
    free, limited = (Rubric({"tables": 1.0}, gates={}, unsupported=share) for share in (1.0, 0.35))
    assert free.score(hidden, reference=PAGE).reward == 1
    score = limited.score(hidden, reference=PAGE)
    assert (score.reward, score.parts["tables"]) == (0.35, 1)
    assert score.why["tables"].startswith("pays 0.35: the similarity to the reference is")


def test_the_right_formulas_in_another_notation_are_paid_in_full():
    pytest.importorskip("py_mini_racer")
    page = "We have\n\n$$\\frac{a+b}{c} \\le \\mathrm{d}$$\n\nas before."
    other = "We have\n\n$$ {{a+b} \\over c} \\leq {\\rm d} $$\n\nas before."
    score = load_rubric("format_decoupled").score(other, reference=page)
    assert score.parts["similarity"] < 0.9
    assert score.reward == 1


def test_the_parts_without_a_limit_are_those_of_the_text_itself():
    assert LIMITED.isdisjoint({"similarity", "word_similarity", "anls", "consensus", "front_matter"})
