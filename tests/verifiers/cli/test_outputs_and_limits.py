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
    ],
)
def test_an_output_that_is_an_input_or_a_folder_is_refused_before_anything_is_written(folder, command):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = run(*command.split())
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("timeout", ["inf", "nan", "1e12", "0", "-1"])
@pytest.mark.parametrize("command", ["groups groups.jsonl", "score predictions.jsonl --references pages.jsonl"])
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
