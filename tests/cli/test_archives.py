"""Exports of archives through the commands, with the embedded policy: in as PAGE-XML, ALTO or hOCR, and out again."""

import json
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.commands import refused
from helpers.layouts import letter, write_page
from ocr_rl.cli.main import main
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.pages import read_archive
from ocr_rl.data.loading import load_pages

LINES = ["0042.xml#r1l1", "0042.xml#r2l1", "0042.xml#r2l2"]


def run(*arguments, code=0):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert isinstance(result.exception, SystemExit | None), result.exception
    assert result.exit_code == code, result.output
    return result


def transcribe(*arguments, code=0):
    return run("transcribe", *arguments, "--max-tokens", 12, code=code)


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="ascii").splitlines()]


@pytest.fixture
def export():
    write_page(Path("export"), "0042.xml", letter())
    return Path("export")


def test_a_dataset_is_checked_line_by_line(export):
    checked = run("data", "check", export, "--level", "line", "--cut", "deskew", "--cut", "padding=2").stdout
    assert "export: 3 pages of 1 documents" in checked
    assert "levels       line 3" in checked
    file = export / "0042.xml"
    file.write_text(file.read_text().replace("10,5 60,5", "nan,5 60,5"))
    checked = run("data", "check", export, "--level", "line", code=2).stdout
    assert 'error: export/0042.xml#r1l1: polygon holds nan, which is no coordinate; write "x,y x,y x,y"\n' in checked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cut", "deskew"], "--cut deskew has no effect: whole pages are read; add --level region or --level line"),
        (["--level", "region", "--cut", "deskew"], "--cut deskew has no effect: regions have no baseline; use --level"),
        (
            ["--level", "line", "--cut", "skew"],
            "--cut skew: write box, deskew, or padding=PIXELS with up to 1000 pixels",
        ),
        (["--level", "line", "--cut", "padding=1001"], "--cut padding=1001: write box, deskew, or padding=PIXELS"),
    ],
)
def test_a_cut_that_is_none_or_has_no_effect_is_refused(export, options, message):
    assert message in refused("data", "check", export, *options)


def test_a_recipe_takes_lines_and_says_what_has_no_effect(export):
    for number in range(3):
        write_page(Path("lines"), f"{number}.xml", letter(image=f"{number}.png"))
    said = run("train", "--data", "lines", "--level", "line", "--cut", "box", "--out", "run", "--dry-run")
    assert "has no effect" not in said.output
    said = run("train", "--data", "lines", "--set", "data.padding=4", "--out", "run", "--dry-run")
    assert "data.padding = 4 has no effect: data.level is page" in said.output


def test_lines_are_transcribed_and_scored_by_their_ids(export):
    assert transcribe(export, "--level", "line", "--out", "out.jsonl").exit_code == 0
    assert [row["id"] for row in rows_of("out.jsonl")] == LINES
    run("eval", "--predictions", "out.jsonl", "--data", export, "--level", "line", "--json", "e.json")
    evaluated = json.loads(Path("e.json").read_text())
    assert (evaluated["n"], evaluated["settings"]["level"]) == (3, "line")


@pytest.mark.parametrize("kind", ["page-xml", "alto", "hocr"])
def test_a_transcription_of_lines_is_put_on_them_and_can_be_read_again(export, kind):
    transcribe(export, "--level", "line", "--as", kind, "--out", "out")
    texts = {row["id"].partition("#")[2]: " ".join(row["text"].split()) for row in rows_of("out/pages.jsonl")}
    assert set(texts) == {"r1l1", "r2l1", "r2l2"}
    [name] = {"hocr": ["0042.hocr"]}.get(kind, ["0042.xml"])
    Image.new("L", (100, 80), 255).save("out/0042.png")
    back = load_pages(f"out/{name}", crop=Crop("line"), labels=False)
    assert {page.id.partition("#")[2]: page.text or "" for page in back} == texts
    assert [page.image.size for page in back] == [(50, 10), (80, 10), (70, 10)]
    again = transcribe(export, "--level", "line", "--as", kind, "--out", "out")
    assert "3 pages are in out/pages.jsonl already" in again.stderr


def test_a_transcription_of_a_page_is_put_on_its_lines(export):
    transcribe(export, "--as", "page-xml", "--out", "out")
    [row] = rows_of("out/pages.jsonl")
    [page] = read_archive(Path("out"))
    assert page.layout.text.split() == row["text"].split()
    assert [line.id for line in page.layout.lines] == ["r1l1", "r2l1", "r2l2"]


def test_a_plain_image_becomes_a_page_of_one_region(pages):
    source = pages / "images" / "rendered_00003.png"
    text = transcribe(source, "--as", "text").stdout
    transcribe(source, "--as", "alto", "--out", "out")
    Image.open(source).save("out/rendered_00003.png")
    [page] = load_pages("out", labels=False)
    assert (page.id, (page.text or "").split()) == ("rendered_00003.xml", text.split())


def test_text_and_rows_are_written_and_printed(export):
    transcribe(export, "--as", "text", "--level", "line", "--out", "out")
    assert sorted(path.name for path in Path("out").glob("*.txt")) == [
        f"0042.xml_{n}.txt" for n in ("r1l1", "r2l1", "r2l2")
    ]
    printed = transcribe(export, "--as", "jsonl", "--level", "line").stdout
    transcribe(export, "--as", "jsonl", "--level", "line", "--out", "rows.jsonl")
    assert [json.loads(line) for line in printed.splitlines()] == rows_of("rows.jsonl")


def test_formats_that_need_another_out_are_refused_before_a_model_is_loaded(export):
    assert "--as alto writes a file for each page; add --out FOLDER" in refused("transcribe", export, "--as", "alto")
    assert "name a folder" in refused("transcribe", export, "--as", "alto", "--out", "a.jsonl")
    assert "name it *.jsonl" in refused("transcribe", export, "--as", "jsonl", "--out", "rows")
    kept = (export / "0042.xml").read_bytes()
    assert "whose files would be replaced" in refused("transcribe", export, "--as", "page-xml", "--out", export)
    assert (export / "0042.xml").read_bytes() == kept


def test_a_line_that_cannot_be_cut_out_is_named_and_the_others_are_transcribed(export):
    file = export / "0042.xml"
    file.write_text(file.read_text().replace("10,5 60,5", "nan,5 60,5"))
    with zipfile.ZipFile("export.zip", "w") as packed:
        for path in sorted(export.iterdir()):
            packed.write(path, path.name)
    transcribe("export.zip", "--level", "line", "--as", "page-xml", "--out", "out", code=1)
    rows = rows_of("out/pages.jsonl")
    assert rows[0] == {
        "id": LINES[0],
        "text": "",
        "error": 'polygon holds nan, which is no coordinate; write "x,y x,y x,y"',
    }
    assert [row["id"] for row in rows] == LINES
    assert Path("out/0042.xml").is_file()


# data convert


@pytest.mark.parametrize("kind", ["page-xml", "alto", "hocr"])
def test_layout_files_become_those_of_another_format_in_pixels_of_their_image(kind):
    write_page(Path("export/page"), "0042.xml", letter(), size=(200, 160))
    assert run("data", "convert", "export", "--to", kind, "--out", "out").stdout == "1 pages in out\n"
    [page] = read_archive(Path("out"))
    assert page.layout.text == letter().text
    assert page.layout.size == page.image().size == (200, 160)
    assert [(line.id, line.polygon) for line in page.layout.lines] == [
        (line.id, tuple((2 * x, 2 * y) for x, y in line.polygon)) for line in letter().lines
    ]
    assert page.file == f"page/0042{'.hocr' if kind == 'hocr' else '.xml'}"


@pytest.mark.parametrize("out", ["lines", "lines.parquet"])
def test_lines_become_rows_with_their_images_ids_and_metadata(export, out):
    form = "parquet" if out.endswith("parquet") else "imagefolder"
    run("data", "convert", export, "--level", "line", "--to", form, "--out", out)
    before, after = load_pages("export", crop=Crop("line")), load_pages(out, columns={"id": "id"})
    assert [(page.id, page.text, dict(page.metadata)) for page in after] == [
        (page.id, page.text, dict(page.metadata)) for page in before
    ]
    assert [page.image.tobytes() for page in after] == [page.image.tobytes() for page in before]


def test_rows_become_layout_files_of_one_region(pages):
    run("data", "convert", pages, "--to", "page-xml", "--out", "out")
    before, after = load_pages(pages), load_pages("out")
    assert [(page.text or "").split() for page in after] == [(page.text or "").split() for page in before]
    assert [page.image.size for page in after] == [page.image.size for page in before]


def test_a_conversion_that_cannot_be_is_refused_and_writes_nothing(export):
    assert "has no effect" in refused("data", "convert", export, "--to", "alto", "--level", "line", "--out", "out")
    assert "name it *.parquet" in refused("data", "convert", export, "--to", "parquet", "--out", "out")
    assert "is there already" in refused("data", "convert", export, "--to", "alto", "--out", export)
    (export / "0042.png").unlink()
    message = refused("data", "convert", export, "--to", "alto", "--out", "out")
    assert message.startswith("export/0042.xml: names 0042.png, which is neither beside it nor in ..")
    assert not list(Path().glob("out*"))
