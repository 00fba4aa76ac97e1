"""`ocr-rl transcribe` of pages whose lines are found on the image, with the embedded policy for scanned lines."""

import json
import shutil
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run
from ocr_rl import load_pages
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.synthetic.render import Layout, Style, render_collection
from ocr_verifiers import char_edits


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Two pages of twelve lines each, which are too many to be read at once."""
    folder = tmp_path_factory.mktemp("scans") / "scans"
    layout = Layout(lines=(12, 12), characters=(34, 44), random_strings=0.0)
    render_collection(folder, 2, seed=5, layouts=[layout], style=Style(font_size=(15, 18), paper=(215, 245)))
    return folder


def errors(rows, scans):
    texts = {row["file_name"]: row["text"] for row in map(json.loads, (scans / "metadata.jsonl").open())}
    return [char_edits(texts["images/" + row["id"]], row["text"]).error_rate for row in rows]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_lines_are_found_and_read_one_by_one(scans, tmp_path, workers):
    out = tmp_path / "out.jsonl"
    result = run("transcribe", scans / "images", "--out", out, "--workers", workers)
    assert result.exit_code == 0, result.output
    assert "lines are found on each page and read one by one" in result.output
    rows = rows_of(out)
    assert [row["found_lines"] for row in rows] == [12] * 2
    assert all(row["text"].count("\n") == 11 for row in rows)
    assert max(errors(rows, scans)) < 0.35


def test_pages_can_be_read_as_a_whole(scans, tmp_path):
    out = tmp_path / "out.jsonl"
    assert run("transcribe", scans / "images", "--whole-pages", "--out", out).exit_code == 0
    rows = rows_of(out)
    assert all("found_lines" not in row for row in rows)
    assert min(errors(rows, scans)) > 0.35


@pytest.mark.parametrize("form", ["page-xml", "alto", "hocr"])
def test_layout_files_have_the_lines_with_their_texts_and_become_a_dataset(scans, tmp_path, form):
    pages = tmp_path / "pages"
    shutil.copytree(scans / "images", pages)
    result = run("transcribe", pages, "--as", form, "--out", pages / "page")
    assert result.exit_code == 0, result.output
    rows = rows_of(pages / "page" / "pages.jsonl")
    lines = load_pages(pages, crop=Crop("line"))
    assert [line.text for line in lines] == [text for row in rows for text in row["text"].split("\n") if text]
    assert all(line.image.width > 4 * line.image.height for line in lines)


def test_an_output_of_whole_pages_is_not_continued_line_by_line(scans, tmp_path):
    """Nor the other way round; what is the default and what is stated are the same."""
    whole, lines = tmp_path / "whole.jsonl", tmp_path / "lines.jsonl"
    assert run("transcribe", scans / "images", "--whole-pages", "--out", whole).exit_code == 0
    settings = tmp_path / "whole.settings.json"
    assert "find_lines" not in settings.read_text()  # as versions wrote it that could not find lines
    assert "find_lines" in refused("transcribe", scans / "images", "--out", whole)
    assert run("transcribe", scans / "images", "--out", lines).exit_code == 0
    assert run("transcribe", scans / "images", "--find-lines", "--out", lines).exit_code == 0


def test_every_form_has_a_line_for_each_that_was_found(scans, tmp_path):
    for form in ("raw", "text", "markdown"):
        out = tmp_path / form
        assert run("transcribe", scans / "images", "--as", form, "--out", out).exit_code == 0
        assert all(file.read_text().count("\n") == 12 for file in out.rglob("*.*") if file.suffix in (".md", ".txt"))
    out = tmp_path / "sure.jsonl"
    options = ("--samples", 2, "--confidence", "--consensus")
    assert run("transcribe", scans / "images", *options, "--out", out).exit_code == 0
    for row in rows_of(out):
        assert [row["text"][a:b] for a, b, _ in row["lines"]] == row["text"].split("\n")
        assert [row["text"][a:b] for a, b, _ in row["words"]] == row["text"].split()


def test_where_layout_files_say_where_lines_are_none_are_looked_for(scans):
    for option in ("--find-lines", "--whole-pages"):
        message = refused("transcribe", scans / "images", "--level", "line", option)
        assert f"{option} has no effect with --level line" in message


def test_models_that_write_a_page_in_a_format_are_not_given_lines(scans):
    message = refused("eval", "tiny-scans", "--data", scans, "--find-lines", "--output", "doctags")
    assert "for models that write text or markdown; tiny-scans writes doctags: write --whole-pages" in message


def test_a_policy_that_was_trained_on_whole_pages_reads_them_as_a_whole(scans, tmp_path):
    """The start of training says where most of them are too large for that."""
    short, large = tmp_path / "short", tmp_path / "large"
    render_collection(short, 6, seed=5, layouts=[Layout(lines=(3, 3))], style=Style(font_size=(15, 18)))
    render_collection(large, 6, seed=5, layouts=[Layout(lines=(9, 9))], style=Style(font_size=(60, 64)))
    assert run("transcribe", short / "images", "--as", "page-xml", "--out", short / "images" / "page").exit_code == 0
    data = {
        "short": (short,),
        "large": (large,),
        "lines": (short / "images", "--level", "line"),
        "tags": (short / "images", "--level", "line", "--set", "model.output=tags"),
    }
    settings = [f"--set={it}" for it in ("rollout.max_tokens=8", "reward.processes=0", "data.validation=0.5")]
    for name, given in data.items():
        out = tmp_path / "runs" / name
        recipe = ("grpo", "--set=rollout.group_size=2") if name == "tags" else ("sft",)
        trained = run("train", *recipe, "--data", *given, *settings, "--steps", "1", "--out", out)
        assert trained.exit_code == 0, trained.output
        assert ("most pages are too large for the model" in trained.output) == (name == "large"), name
        model = out / "checkpoints" / "step_000001"
        read = run("transcribe", scans / "images", "--model", model, "--max-tokens", "4", "--out", out / "read.jsonl")
        assert read.exit_code == 0, read.output
        assert ("read one by one" in read.output) == (name == "lines"), name


def test_an_evaluation_reads_lines_on_request(scans, tmp_path):
    rates = {}
    for name, options in {"whole": (), "lines": ("--find-lines",)}.items():
        file = tmp_path / f"{name}.json"
        assert run("eval", "tiny-scans", "--data", scans, *options, "--json", file).exit_code == 0
        rates[name] = json.loads(Path(file).read_text())["cer"]
    assert rates["lines"] < 0.35 < rates["whole"]
    message = refused("eval", "--predictions", scans / "metadata.jsonl", "--data", scans, "--find-lines")
    assert "--find-lines is for a MODEL" in message
