"""What docs/verifiers shows beside commands is what happens: tests and pages, rubrics, snippets for trainers."""

import json

import pytest

from helpers.markdown import CHECKOUT, blocks
from ocr_verifiers import PreparedPage, load_rubric, parse_test, run_test
from ocr_verifiers.markup import katex
from ocr_verifiers.unit_tests.records import KINDS

DOCS = CHECKOUT / "docs" / "verifiers"


def texts(name, language):
    return [block.text for block in blocks(DOCS / name) if block.language == language]


def examples():
    """(test, page, olmOCR's mode or the default one, passes) for each line of the blocks of tests and pages."""
    record = None
    for line in "".join(texts("tests.md", "jsonl")).splitlines():
        row = json.loads(line)
        if "type" in row:
            record = row
            continue
        assert row.keys() <= {"page", "passes", "olmocr"}
        assert row.get("olmocr") != row["passes"], f"olmOCR decides no differently: {line}"
        yield record, row["page"], None, row["passes"]
        yield record, row["page"], "olmocr", row.get("olmocr", row["passes"])


@pytest.mark.parametrize(("record", "page", "compat", "passes"), examples())
def test_every_example_passes_or_fails_as_it_says(record, page, compat, passes):
    if record["type"] == "math" and not katex.installed():
        # the engine is an extra; `make test` installs it, a plain installation does not
        pytest.skip(katex.INSTALL)
    test = parse_test({"pdf": "p1.png", "page": 1, "id": "t1"} | record, "tests.md", compat)
    assert run_test(test, PreparedPage(page), compat).passed == passes


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_that_passes_and_one_that_fails(kind):
    verdicts = {passes for record, _, compat, passes in examples() if record["type"] == kind and not compat}
    assert verdicts == {True, False}


@pytest.mark.parametrize("snippet", texts("trainers.md", "python"))
def test_every_snippet_makes_a_reward(snippet):
    names = {}
    exec(snippet, names)
    reward = names.get("reward") or names["compute_score"]
    assert callable(reward)


@pytest.mark.parametrize("name", ["rewards.md", "cheats.md"])
def test_every_rubric_can_be_loaded(tmp_path, name):
    for text in texts(name, "toml"):
        (tmp_path / "rubric.toml").write_text(text, encoding="utf-8")
        load_rubric(tmp_path / "rubric.toml")
