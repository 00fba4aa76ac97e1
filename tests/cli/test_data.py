"""`ocr-rl data check`: every problem with its place, and exit code 2."""

import json
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run, write_rows


def test_data_check_reports_all_problems_on_stdout_and_exits_with_2(pages):
    rows = rows_of(pages / "metadata.jsonl")
    for row in rows:
        row["file_name"] = str(pages / row["file_name"])
    rows[0]["file_name"] = "gone.png"
    rows[4]["text"] = 5
    write_rows(Path("metadata.jsonl"), rows)
    result = run("data", "check", "metadata.jsonl", "--json", "report.json")
    assert result.exit_code == 2
    problems = [
        'metadata.jsonl:1: "file_name" names gone.png, which does not exist; paths are relative to the JSONL file',
        'metadata.jsonl:5: "text" is 5, not a string',
    ]
    assert json.loads(Path("report.json").read_text())["problems"] == problems
    assert [line for line in result.stdout.splitlines() if line.startswith("error")] == [
        f"error: {p}" for p in problems
    ]


def test_data_check_looks_at_the_pages_asked_for(pages):
    result = run("data", "check", pages, "--where", "doc=rendered_00000,rendered_00003", "--validation", "0.5")
    assert result.stdout.startswith(f"{pages}: 2 pages of 2 documents")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scans"], "scans: no such file or folder"),
        (["notes.txt"], "notes.txt: a dataset is a folder, a .jsonl file or a .parquet file"),
        (["empty"], "empty: no pages here: no metadata.jsonl, "),
        (["scans", "--where", "level"], 'filter "level": write key=value, '),
        (["scans", "--validation", "1"], "Invalid value for '--validation': 1.0 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_a_dataset_is_an_error(arguments, message):
    Path("notes.txt").write_text("")
    Path("empty").mkdir()
    assert refused("data", "check", *arguments).startswith(message)


def test_data_check_names_what_the_model_cannot_write(pages):
    rows = rows_of(pages / "metadata.jsonl")
    for row in rows:
        row["file_name"] = str(pages / row["file_name"])
    rows[0]["text"] = "\u65e5\u672c"
    write_rows(Path("metadata.jsonl"), rows)
    result = run("data", "check", "metadata.jsonl", "--model", "tiny", "--max-tokens", "2")
    assert result.exit_code == 0
    warnings = [line for line in result.stdout.splitlines() if line.startswith("warning: metadata.jsonl: ")]
    assert "the model's tokenizer cannot write 2 characters of the references: '\u65e5' 1 times" in warnings[0]
    assert f"{len(rows)} references are longer than the 2 tokens of rollout.max_tokens" in warnings[1]


def test_a_split_that_does_not_exist_names_those_that_do(pages):
    assert "its pages name none; leave out --split" in refused("data", "check", pages, "--split", "nosuch")
