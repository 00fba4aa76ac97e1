"""What verifiers/README.md shows is what happens: its tests and pages, its Python, its lines for trainers."""

import doctest
import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_verifiers import PreparedPage, load_rubric, parse_test, run_test
from ocr_verifiers.cli.main import main
from ocr_verifiers.markup import katex
from ocr_verifiers.unit_tests.records import KINDS

README = (Path(__file__).resolve().parents[2] / "verifiers" / "README.md").read_text(encoding="utf-8")


def blocks(language):
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for name, text in fenced if name == language]


def examples():
    """(test, page, olmOCR's mode or the default one, passes) for each line of the blocks of tests and pages."""
    record = None
    for line in "".join(blocks("jsonl")).splitlines():
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
    test = parse_test({"pdf": "p1.png", "page": 1, "id": "t1"} | record, "README.md", compat)
    assert run_test(test, PreparedPage(page), compat).passed == passes


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_page_that_passes_and_one_that_fails(kind):
    verdicts = {passes for record, _, compat, passes in examples() if record["type"] == kind and not compat}
    assert verdicts == {True, False}


def test_the_interpreter_answers_what_is_shown():
    (session,) = blocks("pycon")
    example = doctest.DocTestParser().get_doctest(session, {}, "README.md", "README.md", 0)
    assert len(example.examples) > 5
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@pytest.mark.parametrize("snippet", blocks("python"))
def test_every_snippet_runs(snippet):
    names = {}
    exec(snippet, names)
    reward = names.get("reward") or names["compute_score"]
    assert callable(reward)


def test_groups_answers_the_line_that_goes_in_with_the_line_that_comes_out(tmp_path):
    line, answer = blocks("json")
    (tmp_path / "rollout.jsonl").write_text(line, encoding="utf-8")
    result = CliRunner().invoke(main, ["groups", str(tmp_path / "rollout.jsonl")])
    assert result.stdout == answer


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_rubric_can_be_loaded(tmp_path, text):
    (tmp_path / "rubric.toml").write_text(text, encoding="utf-8")
    load_rubric(tmp_path / "rubric.toml")


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for line in "".join(blocks("")).splitlines() + re.findall(r"`(ocr-verify [^`\n]*)`", README)
    if line.startswith("ocr-verify ") and "COMMAND" not in line
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_and_its_options_exist(command):
    known = main.commands[command[0]]
    options = {option for parameter in known.params for option in parameter.opts}
    assert {word for word in command[1:] if word.startswith("--")} <= options


def test_every_command_is_shown():
    assert {command[0] for command in COMMANDS} == set(main.commands)
