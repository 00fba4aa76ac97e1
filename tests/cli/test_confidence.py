"""`ocr-rl calibrate` and `ocr-rl transcribe --confidence`, with the embedded policy on six rendered pages."""

import json
import re
import shutil
from pathlib import Path

import pytest
from rapidfuzz.distance import Levenshtein

from helpers.commands import refused, rows_of, run
from helpers.html_tree import Tree

SAMPLES = ["--samples", "3", "--max-tokens", "12"]


@pytest.fixture(scope="module")
def fitted(pages, tmp_path_factory):
    """The calibration of the embedded policy on these pages."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")  # it is in requirements/train.txt
    file = tmp_path_factory.mktemp("fitted") / "c.json"
    result = run("calibrate", "tiny-scans", "--whole-pages", "--data", pages, *SAMPLES, "--out", file)
    assert result.exit_code == 0, result.output
    for level in ("character", "word"):
        assert re.search(rf"^{level} +\d+ +\d+ +0\.\d+ +0\.\d+  ", result.stdout, re.MULTILINE)
    assert re.search(r"^line +6 +6 +- +-  nothing: all are alike$", result.stdout, re.MULTILINE)  # 12 tokens end none
    return file


@pytest.fixture(scope="module")
def sampled(pages, tmp_path_factory):
    """The rows of a transcription without a calibration."""
    file = tmp_path_factory.mktemp("sampled") / "out.jsonl"
    result = run("transcribe", "--whole-pages", pages / "images", *SAMPLES, "--confidence", "--out", file)
    assert result.exit_code == 0, result.output
    assert "confidences are shares of samples that agree" in result.stderr
    return rows_of(file)


def test_the_text_is_the_greedy_one_and_its_units_say_how_sure_they_are(pages, sampled):
    run("transcribe", "--whole-pages", pages / "images", "--max-tokens", "12", "--out", "greedy.jsonl")
    for row, greedy in zip(sampled, rows_of(Path("greedy.jsonl")), strict=True):
        text = row["text"]
        assert greedy.items() <= row.items()
        assert [text[start:end] for start, end, _ in row["words"]] == text.split()
        covered = "".join(text[start:end] for start, end, _ in row["spans"])
        assert "".join(covered.split()) == "".join(text.split())
        assert [text[a:b] for a, b, _ in row["lines"]] == [line.strip() for line in text.splitlines() if line.strip()]
        assert all(0 < sure < 1 for name in ("lines", "words", "spans") for *_, sure in row[name])
        assert len(row["samples"]) == 3
        assert 0 < row["confidence"] < 1


def test_a_word_is_as_sure_as_the_share_of_samples_that_have_it(sampled):
    """Where all samples are the text, everything is sure; a sample that shares no character confirms none."""
    shares = {round(sure, 2) for row in sampled for *_, sure in row["words"]}
    assert shares <= {0.0, 0.33, 0.67, 1.0}
    for row in sampled:
        if set(row["samples"]) == {row["text"]}:
            assert {sure for *_, sure in row["words"]} == {0.999}


def test_a_calibration_changes_the_numbers_alone(pages, fitted, sampled):
    options = [*SAMPLES, "--confidence", "--calibration", fitted]
    assert run("transcribe", "--whole-pages", pages / "images", *options, "--out", "out.jsonl").exit_code == 0
    rows = rows_of(Path("out.jsonl"))
    for name in ("id", "text", "samples", "finish_reason"):
        assert [row[name] for row in rows] == [row[name] for row in sampled]
    assert [row["confidence"] for row in rows] != [row["confidence"] for row in sampled]
    again = run("transcribe", "--whole-pages", pages / "images", *options, "--out", "out.jsonl")
    assert "6 pages are in out.jsonl already" in again.stderr


def test_a_file_is_not_continued_with_what_was_calibrated_anew_or_for_another_model(pages, fitted, monkeypatch):
    """The same name and another content: the first half of the rows would have another scale than the second."""
    shutil.copy(fitted, "c.json")
    options = ["--samples", "3", "--max-tokens", "4", "--confidence", "--calibration", "c.json", "--out", "out.jsonl"]
    source = pages / "images" / "rendered_00000.png"
    assert run("transcribe", "--whole-pages", source, *options).exit_code == 0
    monkeypatch.setattr("ocr_rl.models.policy.Policy.load", None)
    said = json.loads(Path("c.json").read_text())
    Path("c.json").write_text(json.dumps(said, indent=8))
    assert run("transcribe", "--whole-pages", source, *options).exit_code == 0
    said["levels"]["word"]["intercept"] += 0.5
    Path("c.json").write_text(json.dumps(said))
    message = refused("transcribe", "--whole-pages", source, *options)
    assert 'out.jsonl was made with calibration_digest = "' in message
    assert message.endswith("; write the same, or give another --out")


def test_both_commands_warn_of_the_calibration_of_another_model(pages, fitted):
    Path("c.json").write_text(json.dumps(json.loads(fitted.read_text()) | {"model": "other"}))
    options = ["--samples", "3", "--max-tokens", "4", "--calibration", "c.json"]
    source = pages / "images" / "rendered_00000.png"
    expected = "c.json was fitted for other; for tiny-scans it may be wrong"
    assert expected in run("transcribe", "--whole-pages", source, *options, "--confidence", "--as", "jsonl").stderr
    assert expected in run("eval", "tiny-scans", "--data", pages, "--limit", "1", *options).stderr


def test_the_rows_of_a_folder_with_confidences_can_be_reviewed(pages):
    """Offsets are those of a text, which is in the row, also where the file of the page has it too."""
    source = pages / "images" / "rendered_00000.png"
    assert (
        run(
            "transcribe", "--whole-pages", source, *SAMPLES, "--confidence", "--as", "text", "--out", "folder"
        ).exit_code
        == 0
    )
    [row] = rows_of(Path("folder/pages.jsonl"))
    assert Path("folder", row["file"]).read_text(encoding="utf-8") == row["text"] + "\n"
    result = run("review", "folder/pages.jsonl", "--html", "review.html")
    assert result.output == "1 pages in review.html\n"
    run("transcribe", "--whole-pages", source, *SAMPLES, "--consensus", "--out", "plain")
    assert rows_of(Path("plain/pages.jsonl"))[0].keys() == {"id", "file", "finish_reason"}


def test_the_consensus_has_at_most_as_many_edits_to_the_samples(pages, sampled):
    run("transcribe", "--whole-pages", pages / "images", *SAMPLES, "--consensus", "--out", "out.jsonl")
    rows = rows_of(Path("out.jsonl"))
    assert all(row.keys() == {"id", "text", "finish_reason"} for row in rows)
    for row, greedy in zip(rows, sampled, strict=True):
        texts = [greedy["text"], *greedy["samples"]]
        edits = [sum(Levenshtein.distance(text, other) for other in texts) for text in (row["text"], *texts)]
        assert edits[0] <= min(edits[1:])


def test_a_layout_file_says_how_sure_the_words_are(pages, sampled):
    source = pages / "images" / sampled[0]["id"]
    run("transcribe", "--whole-pages", source, *SAMPLES, "--confidence", "--as", "alto", "--out", "out")
    [file] = Path("out").glob("*.xml")
    assert len(re.findall(r' WC="0\.\d+"', file.read_text(encoding="utf-8"))) == len(sampled[0]["words"])


def test_what_has_no_effect_or_does_not_fit_is_refused_before_a_model_is_loaded(pages, fitted, monkeypatch):
    monkeypatch.setattr("ocr_rl.models.policy.Policy.load", None)
    source = pages / "images"
    assert (
        refused("transcribe", "--whole-pages", source, "--confidence")
        == "--confidence needs samples to compare; add --samples 8"
    )
    printed = "--confidence has no effect: the text alone is printed; add --out, or --as jsonl"
    assert refused("transcribe", "--whole-pages", source, "--samples", "2", "--confidence") == printed
    assert refused("transcribe", "--whole-pages", source, "--samples", "2", "--confidence", "--as", "text") == printed
    seed = "--seed is that of --samples N; without samples decoding is greedy"
    assert refused("transcribe", "--whole-pages", source, "--seed", "0") == seed
    assert "--samples has no effect: add --confidence" in refused(
        "transcribe", "--whole-pages", source, "--samples", "4"
    )
    assert "--temperature is that of --samples" in refused(
        "transcribe", "--whole-pages", source, "--temperature", "0.5"
    )
    assert "--calibration has no effect" in refused(
        "transcribe", source, "--samples", "3", "--consensus", "--calibration", fitted
    )
    other = ["--samples", "4", "--confidence", "--calibration", fitted]
    expected = "was fitted with samples = 3, this run has 4; write the same, or calibrate anew"
    assert expected in refused("transcribe", "--whole-pages", source, *other, "--out", "out.jsonl")
    assert not Path("out.jsonl").exists()
    Path("c.json").write_text(json.dumps({"model": "tiny-scans"}))
    other = ["--samples", "3", "--confidence", "--calibration", "c.json"]
    assert "c.json: samples: Field required" in refused(
        "transcribe", "--whole-pages", source, *other, "--out", "out.jsonl"
    )


def test_pages_without_texts_or_of_one_document_cannot_calibrate(pages):
    rows = [row | {"doc": "one"} for row in rows_of(pages / "metadata.jsonl")]
    file = pages / "one.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "all pages are of the document one" in refused("calibrate", "tiny-scans", "--data", file, "--out", "c.json")
    del rows[1]["text"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "images/rendered_00001.png has no text, so nothing says what is right" in refused(
        "calibrate", "tiny-scans", "--data", file, "--out", "c.json"
    )
    assert not Path("c.json").exists()


def test_an_evaluation_of_samples_has_the_consensus_errors_and_confidences(pages, fitted):
    options = ["--data", pages, *SAMPLES, "--json", "out.json", "--html", "out.html"]
    result = run("eval", "tiny-scans", *options, "--calibration", fitted)
    assert result.exit_code == 0, result.output
    said = json.loads(Path("out.json").read_text())
    assert {"consensus", "confidence", "errors"} <= said.keys()
    assert said["confidence"]["calibrated"] is True
    greedy = {row["id"]: row["text"] for row in said["pages"]}
    assert said["confidence"]["word"]["units"] == sum(len(text.split()) for text in greedy.values())
    assert said["confidence"]["word"]["found"][-1][0] == 0.5
    difference = said["consensus"]["against_greedy"]["cer"]
    assert difference["this"] - difference["other"] == pytest.approx(difference["difference"])
    assert difference["other"] == pytest.approx(said["cer"])
    assert said["errors"]["characters"]["rate"] == pytest.approx(said["cer"])
    assert sum(own["errors"] for own in said["errors"]["classes"].values()) == said["errors"]["characters"]["errors"]
    assert re.search(r"^word +\d+ +\d+ +0\.\d{3} +\d+%", result.stdout, re.MULTILINE)
    assert "most often: " in result.stdout
    tree = Tree(Path("out.html").read_text(encoding="utf-8"))
    ids = [e["id"] for e in tree.all("table")]
    wanted = ["error_classes", "character_confusions", "word_confusions", "errors_by_confidence", "errors_found"]
    assert [one for one in ids if one in wanted] == wanted
    assert len(tree.all("svg")) == 3
    assert "consensus" in tree.all("table", id="summary")[0]["words"]


def test_a_calibration_needs_its_samples_in_an_evaluation(pages, fitted):
    options = ["eval", "tiny-scans", "--data", pages, "--calibration", fitted]
    assert "--calibration is for the confidences of samples" in refused(*options)
    assert "was fitted with samples = 3, this run has 2" in refused(*options, "--samples", "2")
    Path("c.json").write_text(json.dumps(json.loads(fitted.read_text()) | {"consensus": True}))
    assert refused(*options[:-1], "c.json", "--samples", "3") == (
        "c.json: was fitted with consensus = True, this run has False; confidences are those of the greedy "
        "transcription: calibrate without --consensus"
    )


def test_confidences_of_whole_pages_do_not_fit_those_of_lines(pages, fitted):
    source = pages / "images" / "rendered_00000.png"
    message = refused("transcribe", source, *SAMPLES, "--confidence", "--calibration", fitted, "--out", "out.jsonl")
    assert "was fitted with find_lines = False, this run has True" in message
    assert "one process" in refused(
        "transcribe", source, *SAMPLES, "--confidence", "--workers", "2", "--out", "o.jsonl"
    )
