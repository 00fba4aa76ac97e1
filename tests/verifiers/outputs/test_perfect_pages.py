"""A page without a mistake, as each family writes it, earns everything: the default rubric's 1.0 and every test."""

import pytest

from helpers.perfect_pages import MARKDOWN, PERFECT, RECORDS
from ocr_verifiers import OUTPUT_FORMATS, Rubric, parse_test, to_markdown
from ocr_verifiers.markup import katex

TESTS = [
    parse_test({"pdf": "a.pdf", "page": 1, "id": str(n), **record}, "here")
    for n, record in enumerate(RECORDS)
    if record["type"] != "math" or katex.installed()
]


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_a_perfect_page_earns_everything_in_each_format(output):
    score = Rubric(output=output).score(PERFECT[output], reference=MARKDOWN, tests=TESTS)
    assert score.malformed == ""
    assert [verdict.why for _, verdict in score.verdicts if not verdict.passed] == []
    assert (score.reward, score.parts["similarity"], score.parts["pass_rate"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("output", sorted(set(OUTPUT_FORMATS) - {"markdown", "front_matter"}))
def test_the_same_page_earns_less_when_its_format_is_not_known(output):
    page = Rubric().prepare(MARKDOWN, TESTS)
    assert page.score(PERFECT[output]).reward < 0.99


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_the_lines_of_the_page_come_back_too(output):
    """White space at the ends of lines, and lines without text, aside."""
    lines = [line.rstrip() for line in to_markdown(PERFECT[output], output).text.splitlines() if line.strip()]
    assert lines == [line for line in MARKDOWN.splitlines() if line]


def test_the_front_matter_is_scored_as_it_is_without_a_format():
    """Its five fields are right, and two of the reference's differ: 0.5 + 0.5 * 3/5."""
    reference = PERFECT["front_matter"].replace("en\n", "de\n").replace("is_table: False", "is_table: True")
    weights = {"similarity": 1.0, "front_matter": 1.0}
    plain = Rubric(weights).score(PERFECT["front_matter"], reference=reference)
    assert plain.parts["front_matter"] == 0.8
    assert Rubric(weights, output="front_matter").score(PERFECT["front_matter"], reference=reference) == plain
