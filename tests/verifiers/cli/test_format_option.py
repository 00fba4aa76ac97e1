"""`--output`: completions in another format than markdown, in every command that reads them."""

import json

import pytest
from click.testing import CliRunner

from ocr_verifiers.cli.main import main

TEXT = "# Annual Report\n\nSales rose."
DOCTAGS = "<doctag><title>Annual Report</title><text>Sales rose.</text></doctag>"
BROKEN = "<doctag><title>Annual Report"
WHY = "<title> is not closed"
RECORD = {"pdf": "a.pdf", "page": 1, "id": "1", "type": "format", "format": "heading", "text": "Annual Report"}
NOT_HEADING = {"pdf": "a.pdf", "page": 1, "id": "2", "type": "absent", "text": "doctag"}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("references.jsonl", [{"id": name, "text": TEXT} for name in ("a.png", "b.png")])
    write("predictions.jsonl", [{"id": "a.png", "text": DOCTAGS}, {"id": "b.png", "text": BROKEN}])
    write("group.jsonl", [{"id": "a", "reference": TEXT, "completions": [DOCTAGS, BROKEN]}])
    (tmp_path / "a.md").write_text(TEXT)
    (tmp_path / "a.dt").write_text(DOCTAGS)
    (tmp_path / "b.dt").write_text(BROKEN)
    (tmp_path / "bench" / "pdfs").mkdir(parents=True)
    (tmp_path / "bench" / "mine").mkdir()
    write("bench/tests.jsonl", [RECORD, NOT_HEADING])
    (tmp_path / "bench" / "mine" / "a_pg1_repeat1.md").write_text(DOCTAGS)
    (tmp_path / "bench" / "mine" / "a_pg1_repeat2.md").write_text(BROKEN)
    return tmp_path


def write(name, rows):
    with open(name, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def run(*words, exit_code=0):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == exit_code, result.output
    return result.stdout


def read(name):
    with open(name) as file:
        return json.load(file)


def test_score_converts_predictions_and_names_malformed_pages():
    printed = run(*"score predictions.jsonl --references references.jsonl --output doctags --json scores.json".split())
    assert printed.splitlines()[-1] == (
        f"1 of 2 pages are not valid doctags and are scored as they stand, such as b.png: {WHY}"
    )
    scores = read("scores.json")
    assert (scores["output"], scores["malformed"]) == ("doctags", {"b.png": WHY})
    assert [page["exact"] for page in scores["pages"]] == [True, False]


def test_score_of_markdown_says_nothing_of_formats():
    printed = run(*"score predictions.jsonl --references references.jsonl --json scores.json".split())
    again = run(*"score predictions.jsonl --references references.jsonl --output markdown --json same.json".split())
    assert printed == again
    assert "valid" not in printed
    assert read("scores.json") == read("same.json")
    assert {"output", "malformed"}.isdisjoint(read("scores.json"))


def test_groups_converts_completions_and_names_malformed_ones():
    printed = run("groups", "group.jsonl", "--output", "doctags", "--json", "rewards.jsonl", "--processes", "2")
    assert "2 completions" in printed
    assert "; 1 are not valid doctags and are scored as they stand" in printed
    first, second = read("rewards.jsonl")["completions"]
    assert first["reward"] == 1.0
    assert "malformed" not in first
    assert second["malformed"] == WHY


def test_the_format_of_a_rubric_holds_unless_another_is_given():
    with open("rubric.toml", "w") as file:
        file.write('output = "doctags"\n')
    rewards = [
        [
            one["reward"]
            for one in json.loads(run("groups", "group.jsonl", "--rubric", "rubric.toml", *more))["completions"]
        ]
        for more in ((), ("--output", "markdown"))
    ]
    assert rewards[0][0] == 1.0
    assert rewards[1][0] < 0.6


def test_diff_converts_the_completion():
    assert run("diff", "a.md", "a.dt", "--output", "doctags").startswith("a.dt  CER 0.0000")
    printed = run("diff", "a.md", "b.dt", "--output", "doctags", "--json", "diff.json", exit_code=1)
    assert f"not valid doctags: {WHY}" in printed.splitlines()[0]
    assert read("diff.json")["pages"][0]["malformed"] == WHY
    run(
        *"diff --references references.jsonl --predictions predictions.jsonl --output doctags --json all.json".split(),
        exit_code=1,
    )
    assert [page.get("malformed") for page in read("all.json")["pages"]] == [None, WHY]


def test_bench_converts_outputs_and_shows_what_they_became():
    printed = run("bench", "bench", "--output", "doctags", "--json", "out.json", "--html", "out.html")
    assert printed.splitlines()[-2:] == [
        "1 of 2 outputs are not valid doctags and are scored as they stand, such as",
        f"  mine, a.pdf, page 1: {WHY}",
    ]
    report = read("out.json")
    assert report["output"] == "doctags"
    assert report["malformed"] == [{"candidate": "mine", "pdf": "a.pdf", "page": 1, "repeat": 2, "why": WHY}]
    assert [test["candidates"]["mine"]["repeats"] for test in report["verdicts"]][:2] == [[True, False], [True, False]]
    with open("out.html") as file:
        assert "not valid doctags: &lt;title&gt; is not closed" in file.read()


def test_bench_of_markdown_says_nothing_of_formats():
    printed = run("bench", "bench", "--json", "out.json")
    assert "valid" not in printed
    assert {"output", "malformed"}.isdisjoint(read("out.json"))


@pytest.mark.parametrize(
    "words",
    [
        "score predictions.jsonl --references references.jsonl",
        "groups group.jsonl",
        "bench bench",
        "diff a.md a.dt",
    ],
)
def test_an_unknown_format_is_one_line_and_exit_code_2(words):
    result = CliRunner().invoke(main, [*words.split(), "--output", "layout"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == 'Error: unknown output format "layout"; did you mean "layout_json"?\n'


def test_the_help_names_the_formats():
    text = " ".join(run("score", "--help").split())
    assert "markdown, front_matter, doctags, otsl, layout_json, grounding, tags. [default: markdown]" in text
