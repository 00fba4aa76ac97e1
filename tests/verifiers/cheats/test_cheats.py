"""What degenerate policies earn: the cheating table, and the bounds that must hold in it."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_verifiers import PreparedPage, Rubric, load_rubric, parse_test
from ocr_verifiers.authoring.make_tests import Rarity, make_page_tests
from ocr_verifiers.cheats.pages import PROMPT, cheated_pages
from ocr_verifiers.cheats.policies import CHEATS, completions
from ocr_verifiers.cheats.table import BOUND, HONEST, Earned, cheat_table, markdown
from ocr_verifiers.cli.main import main
from ocr_verifiers.files.jsonl import read_jsonl
from ocr_verifiers.rewards.coherence import asked_for, coherence
from ocr_verifiers.text.repetition import MAX_REPEATS

PAGE = Path(__file__).parents[3] / "docs" / "verifiers" / "cheats.md"

OPEN_TO_TESTS = {
    "dictionary: the words of all pages, sorted",
    "words sorted, each once",
    "words shuffled",
    "lines shuffled",
    "backwards, by words",
    "backwards, by lines",
    "prose as a table of words",
    "cells of tables (or else lines) shuffled",
    "each line twice",
    "`order` texts, one per line",
    "all tests, each in its form, nothing twice",
    "the page's first half, then all tests",
    "every word bold",
    "a zero-width space between all characters",
    "all in one table cell",
    "all in the alt text of an image",
    "all in an attribute",
}
"""What tests alone cannot tell from a page; docs/verifiers/cheats.md says why."""


@pytest.fixture(scope="module")
def table():
    pytest.importorskip("py_mini_racer")
    return cheat_table()


def mean(earned, column):
    return sum(getattr(each, column) for each in earned) / len(earned)


def test_there_are_at_least_forty_degenerate_policies():
    assert len(CHEATS) >= 40


def test_the_pages_are_of_several_kinds_and_have_tests_of_every_kind():
    pytest.importorskip("py_mini_racer")
    pages = cheated_pages()
    assert len(pages) >= 5
    assert {test.type for page in pages for test in page.tests} >= {
        *("present", "absent", "order", "baseline", "table", "math", "format", "footnote")
    }


def test_the_true_text_earns_everything(table):
    assert table.rows[HONEST] == [Earned(1.0, 1.0, 1.0, 1.0, 1.0)] * len(table.pages)


@pytest.mark.parametrize("policy", CHEATS)
def test_no_cheat_earns_more_than_its_similarity_or_a_third_of_the_honest_reward(table, policy):
    """On every page whose text is known, with tests and without."""
    for page, honest, earned in zip(table.pages, table.rows[HONEST], table.rows[policy], strict=True):
        bound = max(BOUND, earned.similarity) + 1e-9
        assert earned.text_only <= bound * honest.text_only, page
        assert earned.text_and_tests <= bound * honest.text_and_tests, page


@pytest.mark.parametrize("name", ["layout", "ledger", "format_decoupled"])
@pytest.mark.parametrize("which", ["accounts", pytest.param("", marks=pytest.mark.slow)])
def test_neither_does_it_under_the_other_rubrics(name, which):
    rubric = load_rubric(name)
    pages = cheated_pages()
    for page in pages:
        if which in page.name:
            elsewhere = [other.reference for other in pages if other is not page]
            prepared = rubric.prepare(page.reference)
            for policy, text in completions(page, elsewhere, PROMPT):
                score = prepared.score(text)
                assert score.reward <= max(BOUND, score.parts["similarity"]) + 1e-9, (policy, page.name)


@pytest.mark.parametrize("policy", sorted(CHEATS.keys() - OPEN_TO_TESTS))
def test_with_tests_alone_a_cheat_earns_little_more_than_its_similarity(table, policy):
    """On average over the pages, and within a tenth: tested texts are not spread evenly over a page."""
    earned = table.rows[policy]
    assert mean(earned, "tests_only") <= max(BOUND, mean(earned, "similarity")) + 0.1


def test_with_tests_alone_every_cheat_earns_at_most_what_olmocr_pays_and_a_little(table):
    """Strict tests read what a reader of markdown sees: through zero-width characters, entities and block quotes."""
    read_by_strict_tests = {"a zero-width space between all characters", "character entities", "every line a quotation"}
    for policy, earned in table.rows.items():
        if policy not in read_by_strict_tests:
            assert mean(earned, "tests_only") <= mean(earned, "olmocr") + 0.03, policy


@pytest.mark.parametrize("policy", ["all tests, each in its form", "all tests in an HTML comment", "the page 3 times"])
def test_what_olmocr_pays_in_full_is_closed(table, policy):
    earned = table.rows[policy]
    assert mean(earned, "olmocr") == 1.0
    assert mean(earned, "tests_only") <= BOUND + 0.1
    assert mean(earned, "text_and_tests") <= BOUND


def test_a_policy_writes_the_same_with_the_same_seed_and_something_else_with_another():
    page, *others = cheated_pages()
    elsewhere = [other.reference for other in others]
    first, again, other = (dict(completions(page, elsewhere, PROMPT, seed)) for seed in (0, 0, 1))
    assert first == again
    assert {name for name in first if first[name] != other[name]} >= {"words shuffled", "lines shuffled"}


def test_a_rubric_that_cannot_score_tests_alone_has_no_value_there(table):
    similarity_alone = cheat_table(Rubric({"similarity": 1.0}), cheated_pages()[-1:])
    assert similarity_alone.rows[HONEST] == [Earned(1.0, 1.0, 1.0, None, 1.0)]
    assert f"| {HONEST} | 1.00 | 1.00 | 1.00 | - | 1.00 |" in list(markdown(similarity_alone))


def test_the_table_in_the_docs_is_that_of_the_command(table):
    """`ocr-verify cheats` prints it anew."""
    text = PAGE.read_text(encoding="utf-8")
    written = text.partition("checked by a test -->\n")[2].partition("\n<!-- end")[0]
    assert written.splitlines() == list(markdown(table))


def test_the_command_prints_the_table_of_a_rubric(tmp_path, monkeypatch):
    monkeypatch.setattr("ocr_verifiers.cheats.table.cheated_pages", lambda: cheated_pages()[:1])
    rubric = tmp_path / "exact.toml"
    rubric.write_text("[weights]\nexact = 1\n")
    result = CliRunner().invoke(main, ["cheats", "--rubric", str(rubric)])
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert len(lines) == len(CHEATS) + 3
    assert lines[2].startswith(f"| {HONEST} | 1.00 | 1.00 | 1.00 | - |")
    assert "| a hundred spaces for each | 1.00 | 1.00 | 1.00 | - |" in result.output


def test_a_rubric_that_is_not_there_is_one_line_and_exit_code_2():
    result = CliRunner().invoke(main, ["cheats", "--rubric", "nowhere"])
    assert result.exit_code == 2
    assert 'no rubric "nowhere"; write one of default' in result.output


def test_groups_are_scored_by_a_rubric_of_that_name(tmp_path):
    """Paragraphs 1 - 1/2, order 0, similarity 1 - 7/12."""
    file = tmp_path / "groups.jsonl"
    file.write_text('{"id": 1, "reference": "aaaaa\\n\\nbbbbb", "completions": ["aaaaa"]}\n')
    result = CliRunner().invoke(main, ["groups", str(file), "--rubric", "layout"])
    assert result.exit_code == 0
    assert '"paragraphs": 0.5, "reading_order": 0.0' in result.output
    both = CliRunner().invoke(main, ["groups", str(file), "--rubric", "layout", "--compat", "olmocr"])
    assert (both.exit_code, "leave out --compat or --rubric" in both.output) == (2, True)


def test_true_pages_are_coherent(real_data):
    """Of 1,792 real references with tests made of them, none is taken for a cheat."""
    rows = [row for _, row in read_jsonl(real_data / "metadata.jsonl") if row.get("text")]
    rarity = Rarity()
    for row in rows:
        rarity.add(row["text"])
    cheats = []
    for row in rows:
        records = make_page_tests("a.pdf", 1, row["text"], rarity).records
        tests = [parse_test(record, "-") for record in records]
        max_repeats = max([test.max_repeats for test in tests if test.type == "baseline"], default=MAX_REPEATS)
        if coherence(PreparedPage(row["text"]), asked_for(tests), max_repeats).value < 1:
            cheats.append(row["file_name"])
    assert cheats == []


def test_the_outputs_of_real_systems_are_coherent(real_data):
    """Ten systems on the sample pages of olmOCR-bench, each with the strings that its page is tested for."""
    bench = real_data / "olmocr_bench"
    tests = [parse_test(record, "-") for _, record in read_jsonl(bench / "tests.jsonl")]
    outputs = sorted(bench.rglob("*_repeat1.md"))
    assert len(outputs) > 60
    for path in outputs:
        own = [test for test in tests if path.name.startswith(Path(test.pdf).stem)]
        assert coherence(PreparedPage(path.read_text("utf-8")), asked_for(own), MAX_REPEATS).value == 1, path


def test_the_rubric_of_the_table_is_the_default_one():
    assert load_rubric("default").weights == {"similarity": 1.0, "pass_rate": 1.0}
