"""Commands of `ocr-rl` in the test's own process, and the files that they read and write."""

import json
from pathlib import Path

from click.testing import CliRunner

from ocr_rl.cli.main import main


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments):
    """The only error message of a command that a user got wrong."""
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.count("Error: ") == 1
    return result.stderr.partition("Error: ")[2].strip()


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def predictions_of(pages, change=lambda text: text):
    """A predictions.jsonl of their reference texts, each changed."""
    rows = rows_of(pages / "metadata.jsonl")
    return write_rows(
        Path("predictions.jsonl"), [{"file_name": r["file_name"], "text": change(r["text"])} for r in rows]
    )
