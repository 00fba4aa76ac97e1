"""Outputs are never inputs; numbers are numbers; a page that takes too long does not stop a file."""

import json

import pytest
from click.testing import CliRunner

from ocr_verifiers.cli.main import main

ROW = '{"file_name": "p1.png", "text": "Dear Sir,"}\n'
GROUP = '{"id": "p1", "reference": "Dear Sir,", "completions": ["Dear Sir,"]}\n'
TEST = {"pdf": "p1.png", "page": 1, "id": "t", "type": "present", "text": "Dear Sir"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pages.jsonl", "predictions.jsonl"):
        (tmp_path / name).write_text(ROW)
    (tmp_path / "groups.jsonl").write_text(GROUP)
    (tmp_path / "pairs.tsv").write_text("&c.\tetc.\n")
    (tmp_path / "tests.jsonl").write_text(json.dumps(TEST) + "\n")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


@pytest.mark.parametrize(
    "command",
    [
        "make-tests pages.jsonl --out pages.jsonl",
        "make-tests pages.jsonl --out ./pages.jsonl",
        "make-tests pages.jsonl --out new.jsonl --json new.jsonl",
        "score predictions.jsonl --references pages.jsonl --json pages.jsonl",
        "score predictions.jsonl --references pages.jsonl --json predictions.jsonl",
        "score predictions.jsonl --references pages.jsonl --json tests.jsonl",
        "groups groups.jsonl --json groups.jsonl",
        "lint tests.jsonl --json tests.jsonl",
        "diff --references pages.jsonl --predictions predictions.jsonl --json pages.jsonl",
        "score predictions.jsonl --references pages.jsonl --json .",
        "groups groups.jsonl --json nowhere/scores.jsonl",
        "score predictions.jsonl --references pages.jsonl --equivalences pairs.tsv --json pairs.tsv",
    ],
)
def test_an_output_that_is_an_input_or_a_folder_is_refused_before_anything_is_written(folder, command):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run(*command.split())
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("timeout", ["inf", "nan", "1e12", "0", "-1"])
@pytest.mark.parametrize(
    "command", ["groups groups.jsonl", "score predictions.jsonl --references pages.jsonl", "lint tests.jsonl"]
)
def test_a_timeout_is_a_number_of_seconds(folder, command, timeout):
    assert run(*command.split(), "--timeout", timeout).exit_code == 2


@pytest.mark.parametrize("share", ["nan", "inf", "2"])
@pytest.mark.parametrize("command", ["groups groups.jsonl", "score predictions.jsonl --references pages.jsonl"])
def test_fail_under_is_a_number_from_0_to_1(folder, command, share):
    assert run(*command.split(), "--fail-under", share).exit_code == 2


def test_two_tests_of_a_group_have_different_ids(folder):
    (folder / "groups.jsonl").write_text(json.dumps({"id": 1, "tests": [TEST, TEST], "completions": ["x"]}) + "\n")
    result = run("groups", "groups.jsonl")
    assert (result.exit_code, 'test 2: id "t" is that of test 1 too' in result.output) == (2, True)


def test_a_page_that_takes_too_long_fails_its_tests_and_the_others_are_scored(folder):
    """Four million digits take longer than a second; a line does not."""
    slow = "".join(map(str, range(700_000)))
    rows = [{"file_name": "p1.png", "text": slow}, {"file_name": "p2.png", "text": "Dear Sir,"}]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "pages.jsonl").write_text(ROW + ROW.replace("p1", "p2"))
    tests = [TEST | {"pdf": row["file_name"], "id": row["file_name"]} for row in rows]
    (folder / "tests.jsonl").write_text("".join(json.dumps(test) + "\n" for test in tests))
    arguments = "score predictions.jsonl --references pages.jsonl --json out.json --timeout 1".split()
    assert run(*arguments).exit_code == 0
    report = json.loads((folder / "out.json").read_text())
    assert report["too_late"] == ["p1.png"]
    assert [test["passed"] for page in report["pages"] for test in page["tests"]] == [False, True]
    assert "took longer than 1 s" in report["pages"][0]["tests"][0]["why"]


def test_lint_names_a_page_whose_tests_take_too_long_and_checks_the_others(folder):
    """Five thousand searches in four million digits take most of a minute; one in a line takes no time."""
    slow = "".join(map(str, range(700_000)))
    rows = [{"file_name": "p1.png", "text": slow}, {"file_name": "p2.png", "text": "Dear Sir,"}]
    (folder / "pages.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tests = [TEST | {"id": f"t{i}", "text": f"Dear Sir number {i}", "max_diffs": 2} for i in range(5000)]
    tests += [TEST | {"pdf": "p2.png", "id": "u", "text": "Dear Madam, farewell"}]
    (folder / "tests.jsonl").write_text("".join(json.dumps(test) + "\n" for test in tests))
    result = run("lint", "tests.jsonl", "--references", "pages.jsonl", "--timeout", "1", "--json", "out.json")
    assert result.exit_code == 1
    found = json.loads((folder / "out.json").read_text())["problems"]
    problems = {row["id"]: (row["problem"], row["why"]) for row in found}
    assert problems["t0"] == ("slow", "the tests of its page took longer than 1 s")
    assert problems["u"][0] == "reference"


@pytest.fixture
def old_print(folder):
    (folder / "pages.jsonl").write_text('{"file_name": "p1.png", "text": "Beſtritt den Weg, &c."}\n')
    (folder / "predictions.jsonl").write_text('{"file_name": "p1.png", "text": "Bestritt den Weg, etc."}\n')
    return folder


GIVEN = "--references pages.jsonl --json out.json"
FOLDED = "--normalization nfc,long_s,whitespace --equivalences pairs.tsv"


def test_score_counts_no_edit_for_what_is_folded_or_equivalent(old_print):
    """A long s, and `&c` against `etc`: 1 + 2 edits of 21 characters."""
    run("score", "predictions.jsonl", *GIVEN.split())
    plain = json.loads((old_print / "out.json").read_text())
    assert (plain["totals"]["char_edits"], plain["totals"]["reference_chars"]) == (3, 21)
    assert "normalization" not in plain
    run("score", "predictions.jsonl", *GIVEN.split(), *FOLDED.split())
    folded = json.loads((old_print / "out.json").read_text())
    assert folded["totals"]["char_edits"] == 0
    assert folded["normalization"] == ["nfc", "long_s", "whitespace"]
    assert folded["equivalences"] == [["&c.", "etc."]]


def test_errors_and_diff_fold_the_same(old_print):
    run("errors", "predictions.jsonl", *GIVEN.split(), *FOLDED.split())
    assert json.loads((old_print / "out.json").read_text())["characters"]["errors"] == 0
    pages = ["diff", "--references", "pages.jsonl", "--predictions", "predictions.jsonl"]
    assert run(*pages).exit_code == 1
    assert run(*pages, *FOLDED.split()).exit_code == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--normalization nfc,long-s", 'unknown normalization "long-s"; did you mean "long_s"?'),
        ("--equivalences nothing.tsv", "nothing.tsv: No such file or directory"),
        ("--equivalences pages.jsonl", "pages.jsonl:1: has 1 columns; write a text, a tab and its equivalent"),
    ],
)
def test_a_mistake_about_what_is_folded_is_one_line(folder, option, message):
    result = run("score", "predictions.jsonl", "--references", "pages.jsonl", *option.split())
    assert (result.exit_code, message in result.output) == (2, True), result.output
