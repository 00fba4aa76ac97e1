"""No output format is a cheat: what degenerate policies earn when they write in it."""

from dataclasses import replace

import pytest

from ocr_verifiers import OUTPUT_FORMATS, Rubric, to_markdown
from ocr_verifiers.cheats.formats import HIDING_PLACES, in_format
from ocr_verifiers.cheats.pages import cheated_pages
from ocr_verifiers.cheats.table import BOUND, HONEST, cheat_table
from ocr_verifiers.outputs.result import MAX_DROPPED

FORMATS = sorted(set(OUTPUT_FORMATS) - {"markdown"})
TOLERANCE = 0.01
"""Of a reward: a line break between the rows of a table, and the like."""
HIDDEN = [(output, place) for output, places in HIDING_PLACES.items() for place in places]


def assert_no_policy_earns_more_than_in_markdown(pages):
    plain = cheat_table(pages=pages)
    for output in FORMATS:
        table = cheat_table(Rubric(output=output), pages)
        for policy, earned in plain.rows.items():
            for page, own, there in zip(pages, earned, table.rows[policy], strict=True):
                where = output, policy, page.name
                assert there.text_only <= own.text_only + TOLERANCE, where
                assert there.text_and_tests <= own.text_and_tests + TOLERANCE, where
                assert there.tests_only <= own.tests_only + TOLERANCE, where
        for own in table.rows[HONEST]:
            assert min(own.text_only, own.text_and_tests, own.tests_only) > 0.98, output


def test_no_policy_earns_more_in_a_format_than_in_markdown():
    """On a page with an HTML table."""
    assert_no_policy_earns_more_than_in_markdown([page for page in cheated_pages() if page.name == "ledger"])


@pytest.mark.slow
def test_no_policy_earns_more_in_a_format_than_in_markdown_on_any_page():
    pytest.importorskip("py_mini_racer")
    assert_no_policy_earns_more_than_in_markdown(cheated_pages())


@pytest.mark.parametrize(("output", "place"), HIDDEN)
def test_text_in_a_hiding_place_is_no_transcription(output, place):
    """It earns nothing; words in many empty elements are too much to drop, and earn what they earn as they stand."""
    for page in cheated_pages():
        completion = HIDING_PLACES[output][place](page.reference)
        rubric = Rubric(output=output)
        with_text = rubric.score(completion, reference=page.reference, tests=page.tests).reward
        tests_alone = rubric.score(completion, tests=page.tests).reward
        if place == "in the attributes of empty elements":
            assert with_text <= BOUND
            assert tests_alone <= Rubric().score(completion, tests=page.tests).reward
        else:
            assert (with_text, tests_alone) == (0.0, 0.0)


@pytest.mark.parametrize(("output", "place"), HIDDEN)
def test_a_hiding_place_of_more_than_2000_characters_is_malformed_and_earns_what_it_does_as_markdown(output, place):
    reference = "\n\n".join(page.reference for page in cheated_pages())
    completion = HIDING_PLACES[output][place](reference)
    assert len(reference) > MAX_DROPPED
    score = Rubric(output=output).score(completion, reference=reference)
    assert score.malformed
    assert replace(score, malformed="") == Rubric().score(completion, reference=reference)


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_a_page_in_a_format_comes_back(output):
    for page in cheated_pages():
        converted = to_markdown(in_format(page.reference, output), output)
        assert converted.problem is None
        expected = page.reference.replace("\n<tr>", "<tr>").replace("\n</table>", "</table>")
        if output not in ("doctags", "otsl"):
            expected = page.reference
        assert converted.text.split() == expected.split()


def test_the_table_of_a_format_has_its_hiding_places():
    table = cheat_table(Rubric(output="tags"), cheated_pages()[-1:])
    assert list(table.rows)[-2:] == ["tags: all in a watermark", "tags: all in a page number"]
    assert [table.rows[name][0].text_only for name in list(table.rows)[-2:]] == [0.0, 0.0]


def test_white_space_does_not_make_up_for_text_that_nobody_reads():
    """Two hundred line breaks after a page in an image's alt text: nothing more of it is read."""
    page = next(page for page in cheated_pages() if page.name == "label")
    prepared = Rubric().prepare(None, page.tests)
    hidden = f"![{' '.join(page.reference.split())}](page.png)"
    assert prepared.score(hidden + "\n" * 200).reward == prepared.score(hidden).reward < 0.6
