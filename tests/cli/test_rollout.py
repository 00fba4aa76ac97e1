"""`ocr-rl rollout`: groups of completions of a dataset, scored as they come, with the embedded policy."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.kills import run_with_kills
from ocr_rl.cli.main import main
from ocr_verifiers.cli.main import main as verify

SHORT = ["--max-tokens", "12", "--group-size", "3", "--out", "out.jsonl"]


def run(*arguments):
    result = CliRunner().invoke(main, ["rollout", "tiny", *map(str, arguments)])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="ascii").splitlines()]


def dataset(pages, count, folder="data"):
    """Small copies of the six rendered pages, with their texts."""
    Path(folder).mkdir()
    known = [json.loads(line) for line in (pages / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = []
    for number in range(count):
        row = known[number % len(known)]
        Image.open(pages / row["file_name"]).resize((64, 48)).save(Path(folder, f"{number:03d}.png"))
        rows.append({"file_name": f"{number:03d}.png", "text": row["text"]})
    Path(folder, "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_rows_are_in_page_order_and_ocr_verify_gives_the_same_rewards(pages):
    assert run("--data", pages, *SHORT).exit_code == 0
    rows = rows_of("out.jsonl")
    assert [row["id"] for row in rows] == [f"images/rendered_{n:05d}.png" for n in range(6)]
    for row in rows:
        each = ("completions", "finished", "finish_reasons", "tokens", "sum_logprobs", "rewards", "parts")
        assert {len(row[name]) for name in each} == {3}
        assert all(0 < count <= 12 for count in row["tokens"])
        assert all(total < 0 for total in row["sum_logprobs"])
        assert row["finished"] == [reason == "end" for reason in row["finish_reasons"]]
        assert row["tests"]
    Path("rubric.toml").write_text(
        "unsupported = 0.35\n[weights]\nsimilarity = 0.7\npass_rate = 0.3\n[gates]\nend = 0.5\nrepetition = 0.5\n"
    )
    arguments = ["groups", "out.jsonl", "--rubric", "rubric.toml", "--json", "scores.jsonl"]
    assert CliRunner().invoke(verify, arguments).exit_code == 0
    scores = [[one["reward"] for one in row["completions"]] for row in rows_of("scores.jsonl")]
    assert scores == [row["rewards"] for row in rows]


def test_rewards_do_not_depend_on_where_they_are_made_and_can_be_left_out(pages):
    found = []
    for options in (["--processes", "0"], ["--processes", "2"], ["--no-score"]):
        assert run("--data", pages, *SHORT, "--seed", "3", *options).exit_code == 0
        found.append(rows_of("out.jsonl"))
        Path("out.jsonl").unlink()
    here, elsewhere, unscored = found
    assert here == elsewhere
    assert unscored == [{name: row[name] for name in row if name not in ("rewards", "parts")} for row in here]


def test_the_seed_and_the_temperature_decide_what_is_sampled(pages):
    def completions(*options):
        run("--data", pages, *SHORT, "--no-score", "--limit", "2", *options)
        found = [row["completions"] for row in rows_of("out.jsonl")]
        Path("out.jsonl").unlink()
        return found

    hot = ["--temperature", "1.5"]
    first = completions(*hot)
    assert len(first) == 2
    assert first == completions(*hot)
    assert first != completions(*hot, "--seed", "1")
    assert any(len(set(group)) > 1 for group in first)
    assert all(len(set(group)) == 1 for group in completions("--temperature", "0"))


def test_a_limit_can_be_raised(pages):
    run("--data", pages, *SHORT, "--limit", "2")
    before = Path("out.jsonl").read_bytes()
    result = run("--data", pages, *SHORT)
    assert result.stderr.startswith("2 pages are in out.jsonl already\n")
    assert Path("out.jsonl").read_bytes().startswith(before)
    assert len(rows_of("out.jsonl")) == 6


def test_a_page_that_cannot_be_read_has_no_completions_and_an_error(pages):
    data = dataset(pages, 4)
    Path(data, "001.png").write_bytes(b"no image")
    result = run("--data", data, *SHORT)
    assert result.exit_code == 1
    assert result.stderr.endswith("Error: 1 page could not be read; see the rows with an error in out.jsonl\n")
    rows = rows_of("out.jsonl")
    assert [len(row["completions"]) for row in rows] == [3, 0, 3, 3]
    assert rows[1]["error"] == "is not an image in a format that Pillow knows"
    assert CliRunner().invoke(verify, ["groups", "out.jsonl", "--json", "scores.jsonl"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "scans", "--out", "x.jsonl"], "Error: scans: no such file or folder"),
        (["--out", "x.jsonl"], "Missing option '--data'"),
        (["--data", "scans"], "Missing option '--out'"),
        (["--data", "scans", "--out", "no/x.jsonl"], "the folder no does not exist"),
        (["--data", "scans", "--out", "x.jsonl", "--where", "level"], 'filter "level": write key=value'),
        (["--data", "scans", "--out", "x.jsonl", "--group-size", "0"], "0 is not in the range"),
    ],
)
def test_a_mistake_is_an_error_and_leaves_no_file(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(Path().iterdir()) == []


def test_a_model_that_does_not_exist_is_the_first_error():
    result = CliRunner().invoke(main, ["rollout", "nothing", "--data", "scans", "--out", "x.jsonl"])
    assert result.exit_code == 2
    assert 'no folder "nothing"' in result.stderr


def test_the_help_has_examples():
    result = CliRunner().invoke(main, ["rollout", "--help"])
    assert "ocr-rl rollout tiny-scans --data data/sample --out groups.jsonl" in result.stdout


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again_every_group_is_there_once_and_in_order(pages):
    data = dataset(pages, 40)
    sizes, code = run_with_kills(["rollout", "tiny", "--data", data, *SHORT], Path("out.jsonl"), 4)
    assert code == 0
    assert len(set(sizes)) > 2, f"no run was killed at work: {sizes}"
    rows = rows_of("out.jsonl")
    assert [row["id"] for row in rows] == [f"{n:03d}.png" for n in range(40)]
    assert all(len(row["completions"]) == len(row["rewards"]) == 3 for row in rows)
