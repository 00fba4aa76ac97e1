"""`ocr-rl transcribe`: pages in order, one way or another each exactly once, with the embedded policy."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.commands import refused
from helpers.kills import run_with_kills
from ocr_rl.cli.main import main


def run(*arguments):
    result = CliRunner().invoke(main, ["transcribe", *map(str, arguments), "--max-tokens", "12"])
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="ascii").splitlines()]


def many(pages, count, folder="scans"):
    """Small copies of the six rendered pages."""
    images = sorted((pages / "images").iterdir())
    for number in range(count):
        target = Path(folder, f"{number // 10:02d}", f"{number:03d}.png")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(images[number % len(images)]).resize((64, 48)).save(target)
    return Path(folder)


def texts(printed):
    """{page: text} of what was printed on stdout."""
    return {part.partition("\n")[0]: part.partition("\n")[2].strip() for part in printed.split("# ")[1:]}


def test_stdout_a_jsonl_file_and_a_folder_hold_the_same_transcriptions(pages):
    printed = run(pages / "images")
    assert printed.exit_code == 0
    assert list(texts(printed.stdout)) == [f"rendered_{n:05d}.png" for n in range(6)]
    assert run(pages / "images", "--out", "out.jsonl").exit_code == 0
    rows = rows_of("out.jsonl")
    assert {row["id"]: row["text"].strip() for row in rows} == texts(printed.stdout)
    assert all(row.keys() == {"id", "text", "finish_reason", "found_lines"} for row in rows)
    assert run(pages / "images", "--out", "new/out").exit_code == 0
    listed = rows_of("new/out/pages.jsonl")
    assert [row | {"text": Path("new/out", row.pop("file")).read_text().removesuffix("\n")} for row in listed] == rows
    assert run(pages / "images/rendered_00003.png").stdout.strip() == rows[3]["text"].strip()


def test_a_file_can_be_scored_as_predictions_with_an_empty_text_for_a_page_that_cannot_be_read(pages):
    folder = Path("data")
    shutil.copytree(pages, folder)
    result = run(folder, "--out", "out.jsonl")
    rows = rows_of("out.jsonl")
    cut_off = sum(row["finish_reason"] == "length" for row in rows)
    assert f"{cut_off} cut off at 12 tokens; raise --max-tokens\n" in result.stderr
    rows[2] = {"id": rows[2]["id"], "text": "", "error": "cannot be read"}
    Path("out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    evaluated = CliRunner().invoke(
        main, ["eval", "--predictions", "out.jsonl", "--data", str(folder), "--json", "e.json"]
    )
    assert evaluated.exit_code == 0, evaluated.output
    found = json.loads(Path("e.json").read_text())
    assert found["n"] == 6
    assert found["pages"][2]["cer"] == 1.0


@pytest.mark.parametrize("form", ["jsonl", "folder", "stdout"])
def test_a_page_that_cannot_be_read_is_reported_and_the_others_are_transcribed(pages, form):
    folder = many(pages, 4)
    (folder / "00/001.png").write_bytes(b"no image")
    (folder / "00/0005.pdf").write_bytes(b"no PDF")
    result = run(folder, *{"jsonl": ["--out", "out.jsonl"], "folder": ["--out", "out"], "stdout": []}[form])
    assert result.exit_code == 1
    assert "2 pages could not be read" in result.stderr
    names = ["00/000.png", "00/0005.pdf", "00/001.png", "00/002.png", "00/003.png"]
    image, pdf = "is not an image in a format that Pillow knows", "cannot be read as a PDF: "
    if form == "stdout":
        assert list(texts(result.stdout)) == [names[0], *names[3:]]
        assert f"00/001.png: {image}\n" in result.stderr
        assert f"00/0005.pdf: {pdf}" in result.stderr
        return
    rows = rows_of("out.jsonl" if form == "jsonl" else "out/pages.jsonl")
    assert [row["id"] for row in rows] == names
    assert [row["id"] for row in rows if "error" in row] == names[1:3]
    assert rows[2]["error"] == image
    assert rows[1]["error"].startswith(pdf)
    if form == "jsonl":
        assert [row["text"] for row in rows[1:3]] == ["", ""]
    else:
        files = sorted(file.relative_to("out").as_posix() for file in Path("out").rglob("*.md"))
        assert files == sorted(row["file"] for row in rows if "error" not in row)
        assert len(files) == 3
    again = run(folder, "--out", "out.jsonl" if form == "jsonl" else "out")
    assert again.exit_code == 1
    assert "2 pages could not be read" in again.stderr


def test_a_finished_run_does_nothing_and_loads_no_model(pages, monkeypatch):
    run(pages / "images", "--out", "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    monkeypatch.setattr("ocr_rl.models.policy.Policy.load", None)
    again = run(pages / "images", "--out", "out.jsonl")
    assert again.exit_code == 0
    assert again.stderr == "6 pages are in out.jsonl already\n"
    assert Path("out.jsonl").read_bytes() == before


def test_other_settings_data_or_weights_are_refused(pages, saved_model):
    folder = many(pages, 3)
    run(folder, "--out", "out", "--model", saved_model)
    before = {file: file.read_bytes() for file in Path("out").rglob("*.*")}
    weights = saved_model / "model.safetensors"
    for arguments, message in [
        (["--model", "tiny"], f'made with model = "{saved_model}", this run has "tiny"; write the same, or give'),
        (["--model", saved_model, "--max-pixels", "9000"], "made with max_pixels = 0, this run has 9000; write the"),
        (["--model", saved_model, "--prompt", "Read."], 'made with prompt = "", this run has "Read."; write the'),
    ]:
        result = run(folder, "--out", "out", *arguments)
        assert result.exit_code == 2
        assert message in result.stderr
    os.utime(weights, (time.time() + 100, time.time() + 100))
    assert "was made with weights_written = " in run(folder, "--out", "out", "--model", saved_model).stderr
    assert {file: file.read_bytes() for file in Path("out").rglob("*.*")} == before


@pytest.fixture
def saved_model(tmp_path):
    """The embedded policy in a folder of its own."""
    import ocr_rl

    return Path(shutil.copytree(Path(ocr_rl.__file__).parent / "models" / "tiny", tmp_path / "model"))


def test_pages_that_are_new_at_the_end_are_added_and_in_between_refused(pages):
    folder = many(pages, 3)
    run(folder, "--out", "out.jsonl")
    shutil.copy(folder / "00/000.png", folder / "00/009.png")
    assert run(folder, "--out", "out.jsonl").exit_code == 0
    assert [row["id"] for row in rows_of("out.jsonl")] == ["00/000.png", "00/001.png", "00/002.png", "00/009.png"]
    shutil.copy(folder / "00/000.png", folder / "00/0015.png")
    changed = run(folder, "--out", "out.jsonl")
    assert changed.exit_code == 2
    assert "out.jsonl:3: is of '00/002.png', but the page is '00/0015.png': the data has changed" in changed.stderr


def test_there_must_be_something_to_transcribe():
    Path("notes.txt").write_text("")
    Path("empty").mkdir()
    assert refused("transcribe", "scan.png") == "Invalid value for 'SOURCE': Path 'scan.png' does not exist."
    for source in ("notes.txt", "empty"):
        assert refused("transcribe", source).startswith(f"{source}: no image or PDF here; a file must end in one of ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "no/out.jsonl"], "no/out.jsonl: the folder no does not exist"),
        (["--model", "broken", "--out", "out.jsonl"], 'model.path "broken": '),
        (["--model", "broken", "--out", "out"], 'model.path "broken": '),
    ],
)
def test_a_mistake_leaves_no_rows(pages, arguments, message):
    Path("broken").mkdir()
    result = run(pages / "images", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not list(Path().rglob("*.json*"))


@pytest.mark.parametrize("form", [pytest.param("jsonl", marks=pytest.mark.slow), "folder"])
def test_killed_at_any_moment_and_run_again_every_page_is_there_once_and_in_order(pages, form):
    """The files are those of a run that nobody disturbed."""
    folder = many(pages, 70)
    assert run(folder, "--out", "calm.jsonl").exit_code == 0
    calm = rows_of("calm.jsonl")
    assert len(calm) == 70
    out, rows = ("out.jsonl", Path("out.jsonl")) if form == "jsonl" else ("out", Path("out/pages.jsonl"))
    sizes, code = run_with_kills(["transcribe", folder, "--max-tokens", "12", "--out", out], rows, 6)
    assert code == 0
    assert len(set(sizes)) > 2, f"no run was killed at work: {sizes}"
    found = rows_of(rows)
    if form == "folder":
        found = [row | {"text": Path(out, row.pop("file")).read_text().removesuffix("\n")} for row in found]
        assert len(list(Path(out).rglob("*.md"))) == 70
        assert not [file for file in Path(out).rglob("*.*") if file.suffix not in (".md", ".jsonl", ".json")]
    assert found == calm
