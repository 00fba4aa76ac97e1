"""Outputs are checked before anything is loaded, let alone trained."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.commands import refused
from ocr_rl.models.policy import Policy
from ocr_verifiers.cli.main import main as verify

UNWRITABLE = "the folder /proc cannot be written to: "


@pytest.fixture(autouse=True)
def no_model(monkeypatch):
    def load(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(Policy, "load", load)


COMMANDS = {
    "train": ["train", "--out", "OUT/run"],
    "train --dry-run": ["train", "--dry-run", "--out", "OUT/run"],
    "compare": ["compare", "--recipe", "grpo", "--out", "OUT/runs"],
    "eval --json": ["eval", "tiny", "--data", "scans", "--json", "OUT/x.json"],
    "eval --html": ["eval", "tiny", "--data", "scans", "--html", "OUT/x.html"],
    "rollout": ["rollout", "tiny", "--data", "scans", "--out", "OUT/x.jsonl"],
    "transcribe, rows": ["transcribe", "a.png", "--out", "OUT/x.jsonl"],
    "transcribe, files": ["transcribe", "a.png", "--out", "OUT/x"],
    "pairs": ["pairs", "a.png", "--out", "OUT/x.jsonl"],
    "render": ["render", "OUT/pages"],
    "merge": ["merge", "run", "--out", "OUT/merged"],
    "soup": ["soup", "a", "b", "--out", "OUT/soup"],
    "data check": ["data", "check", "scans", "--json", "OUT/x.json"],
    "report": ["report", "run", "--html", "OUT/x.html"],
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_an_output_that_cannot_be_written_ends_a_command_at_once(arguments):
    Path("a.png").write_bytes(b"")
    Path("file").write_text("")
    assert UNWRITABLE in refused(*(argument.replace("OUT", "/proc") for argument in arguments))
    message = refused(*(argument.replace("OUT", "file") for argument in arguments))
    assert "the folder file is a file" in message or f"{Path('file').absolute()} is a file, not a folder" in message
    assert sorted(path.name for path in Path().iterdir()) == ["a.png", "file"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["review", "x.jsonl", "--html", "x.jsonl"],
        ["review", "y.jsonl", "--only", "x.jsonl", "--html", "d/../x.jsonl"],
        ["select", "x.jsonl", "--count", "1", "--out", "x.jsonl"],
        ["calibrate", "tiny", "--data", "d/metadata.jsonl", "--out", "d/metadata.jsonl"],
        ["calibrate", "tiny", "--data", "d", "--out", "d/metadata.jsonl"],
        ["probe", "x.jsonl", "--out", "x.jsonl"],
        ["probe", "y.jsonl", "--scores", "x.jsonl", "--out", "x.jsonl"],
        ["pairs", "x.jsonl", "--out", "x.jsonl"],
        ["eval", "--predictions", "x.jsonl", "--data", "d", "--json", "x.jsonl"],
        ["eval", "tiny", "--data", "d", "--against", "x.jsonl", "--html", "x.jsonl"],
        ["rollout", "tiny", "--data", "x.jsonl", "--out", "x.jsonl"],
        ["data", "check", "x.jsonl", "--json", "x.jsonl"],
    ],
    ids=" ".join,
)
def test_an_output_is_no_input(arguments):
    Path("d").mkdir()
    files = [Path(name) for name in ("x.jsonl", "y.jsonl", "d/metadata.jsonl")]
    for file in files:
        file.write_text('{"id": "a"}\n')
    assert refused(*arguments) == f"{arguments[-1]}: is also read; write to another file"
    assert {file.read_text() for file in files} == {'{"id": "a"}\n'}


def test_two_outputs_are_two_files():
    expected = "x: is given for two outputs; write to two files"
    assert refused("eval", "tiny", "--data", "d", "--json", "x", "--html", "x") == expected


@pytest.mark.parametrize(
    "arguments",
    [["score", "x", "--json"], ["bench", "x", "--html"], ["diff", "x", "y", "--json"]],
    ids=lambda arguments: arguments[0],
)
def test_so_it_does_for_ocr_verify(arguments):
    Path("x").write_text("")
    Path("y").write_text("")
    done = CliRunner().invoke(verify, [*arguments, "/proc/out"])
    assert done.exit_code == 2
    assert UNWRITABLE in done.stderr
