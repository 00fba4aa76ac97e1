"""The HTML report of `ocr-rl eval`, on six rendered pages and files of predictions."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from helpers.html_tree import Tree
from ocr_rl.cli.main import main


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(pages):
    return [json.loads(line) for line in (pages / "metadata.jsonl").read_text(encoding="utf-8").splitlines()]


def write_predictions(name, pages, read):
    """`read` takes the number of a page and its text."""
    rows = [{"file_name": row["file_name"], "text": read(i, row["text"])} for i, row in enumerate(rows_of(pages))]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return name


def report(pages, predictions, *options):
    """(the report, what --json says)"""
    arguments = ["eval", "--predictions", predictions, "--data", str(pages), "--html", "out.html", "--json", "out.json"]
    result = CliRunner().invoke(main, [*arguments, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Tree(Path("out.html").read_text(encoding="utf-8")), json.loads(Path("out.json").read_text())


def headings(tree):
    return [" ".join(e["words"]) for e in tree.all("h2")]


def test_an_evaluation_has_totals_tables_and_its_worst_pages(pages):
    tree, said = report(pages, write_predictions("it.jsonl", pages, lambda i, text: text[i:]))
    assert headings(tree) == ["Results", "By kind of test", "Errors", "Worst pages", "Settings"]
    (summary,) = tree.all("table", id="summary")
    low, high = said["cer_ci"]
    assert " ".join(summary["words"]).startswith(f"it.jsonl cer {said['cer']:.3f} {low:.3f}–{high:.3f}")
    (kinds,) = tree.all("table", id="by_kind")
    present = said["by_kind"]["present"]
    assert f"present {present['passed']} of {present['tests']} {present['pass_rate']:.3f}" in " ".join(kinds["words"])
    rewards = {row["id"]: row["reward"] for row in said["pages"]}
    shown = [e["words"][0] for e in tree.all("h3")]
    assert [rewards[id] for id in shown] == sorted(rewards.values())
    assert len(tree.all("img")) == 6


def test_a_worst_page_says_which_tests_failed_and_why(pages):
    tree, said = report(pages, write_predictions("it.jsonl", pages, lambda i, text: "Nothing of it."))
    failed = [test for row in said["pages"] for test in row["tests"] if not test["passed"]]
    reasons = [e["text"] for e in tree.all("p") if e.get("class") == "why"]
    assert sorted(reasons) == sorted(f"{test['type']}: {test['why']}" for test in failed)


def test_pages_of_several_languages_and_sources_have_tables(pages, tmp_path):
    rows = [
        row | {"language": "enfr"[2 * (i % 2) :][:2], "source": f"s{i % 3}"} for i, row in enumerate(rows_of(pages))
    ]
    file = pages / "several.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tree, said = report(file, write_predictions("it.jsonl", pages, lambda i, text: text[i:]))
    file.unlink()
    for key, names in (("source", ["s0", "s1", "s2"]), ("language", ["en", "fr"])):
        (table,) = tree.all("table", id=f"by_{key}")
        words = " ".join(table["words"])
        for name in names:
            own = said[f"by_{key}"][name]
            assert f"{name} {own['n']} {own['documents']} {own['cer']:.3f}" in words


def test_a_comparison_shows_differences_and_the_pages_that_changed_most(pages):
    """`it` reads page 0 as badly as the other, which loses 3 characters of each; all the others right."""
    other = write_predictions("other.jsonl", pages, lambda i, text: text[3:])
    it = write_predictions("it.jsonl", pages, lambda i, text: text[3:] if i == 0 else text)
    tree, said = report(pages, it, "--against", other)
    assert headings(tree)[2:4] == ["Against other.jsonl", "Pages that changed most"]
    (table,) = tree.all("table", id="against")
    cer = said["against"]["metrics"]["cer"]
    assert f"cer {cer['other']:.3f} {cer['this']:.3f} {cer['difference']:+.3f}" in " ".join(table["words"])
    changed = [e["words"][0] for e in tree.all("h3")][:5]
    assert changed == [row["id"] for row in said["against"]["pages"]]
    first = rows_of(pages)[0]
    assert first["file_name"] not in changed


def test_a_page_whose_image_cannot_be_read_has_texts(pages, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(pages, damaged)
    (damaged / rows_of(pages)[0]["file_name"]).write_bytes(b"no image")
    tree, _ = report(damaged, write_predictions("it.jsonl", pages, lambda i, text: text))
    assert len(tree.all("article")) == 6
    assert len(tree.all("img")) == 5


def test_a_folder_that_does_not_exist_is_an_error_before_anything_is_read(pages):
    arguments = ["eval", "--predictions", __file__, "--data", str(pages), "--html", "none/out.html"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "the folder none does not exist" in result.stderr


def test_in_chromium_every_row_is_there_and_the_console_stays_silent(pages, browse):
    """The one line that it has is that a script was refused, so its silence about the rest means something."""
    other = write_predictions("other.jsonl", pages, lambda i, text: text[3:])
    report(pages, write_predictions("it.jsonl", pages, lambda i, text: text), "--against", other)
    tree, console = browse(Path("out.html"), "the.last.line;")
    assert ["Content Security Policy" in line for line in console] == [True]
    assert [e["id"] for e in tree.all("table")] == ["summary", "by_kind", "against"]
    assert len(tree.all("article")) == 12
