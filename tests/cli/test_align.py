"""`ocr-rl data align`, on a rendered page cut into lines, with the embedded policy."""

from pathlib import Path
from shutil import make_archive

import pytest

from helpers.commands import refused, run
from helpers.layouts import letter, write_page
from ocr_rl.data.archives.layout import Layout, Line, Region, box_points
from ocr_rl.data.archives.page_xml import write_page_xml
from ocr_rl.data.archives.pages import read_archive
from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, render_collection
from ocr_rl.data.synthetic.render import Layout as Drawn


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(a rendered page of three lines, its text)"""
    folder = tmp_path_factory.mktemp("align")
    render_collection(folder, 1, seed=3, layouts=[Drawn(lines=(3, 3))], style=STYLES["clean"])
    [found] = load_pages(folder)
    return found


def export(page, text, own=True, first=3):
    """A layout file with a box for each of three lines, and the text as that of its region or in a file.

    The `first` lines are of the region r1; r2 has the others.
    """
    image = page.image
    height = image.height // 3
    lines = tuple(Line(f"l{n}", polygon=box_points(0, n * height, image.width, (n + 1) * height)) for n in range(3))
    box = box_points(0, 0, *image.size)
    regions = Region("r1", "heading", box, lines[:first], text if own else ""), Region("r2", "", box, lines[first:])
    Path("export").mkdir()
    image.save("export/p.png")
    Path("export/p.xml").write_bytes(write_page_xml(Layout("p.png", image.size, regions[: 1 + (first < 3)])))
    if not own:
        Path("export/p.txt").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("own", [True, False])
def test_each_line_gets_its_part_of_a_text_without_line_ends(page, own):
    """The policy reads the lines with some errors; the parts are those of the true text nevertheless."""
    expected = [" ".join(line.split()) for line in page.text.split("\n")]
    export(page, " ".join(expected), own)
    result = run("data", "align", "export", "--out", "aligned", "--max-tokens", "48")
    assert result.exit_code == 0, result.output
    assert result.stdout == "3 lines of 1 pages have their text in aligned\n"
    [found] = read_archive(Path("aligned"))
    assert [line.text for line in found.layout.lines] == expected
    assert Path("aligned/p.xml").read_text(encoding="utf-8").count(' conf="') == 3
    run("data", "check", "aligned", "--level", "line")


def test_a_text_of_a_page_in_a_zip_leaves_lines_in_their_regions(page):
    """One line in the heading, two in the paragraph below it."""
    expected = [" ".join(line.split()) for line in page.text.split("\n")]
    export(page, " ".join(expected), own=False, first=1)
    make_archive("al", "zip", "export")
    result = run("data", "align", "al.zip", "--out", "aligned", "--max-tokens", "48")
    assert result.exit_code == 0, result.output
    [found] = read_archive(Path("aligned"))
    assert [(region.id, region.kind, region.text) for region in found.layout.regions] == [
        ("r1", "heading", expected[0]),
        ("r2", "", "\n".join(expected[1:])),
    ]
    assert all(region.polygon for region in found.layout.regions)


def test_a_text_beside_a_file_of_several_pages_is_refused(monkeypatch):
    """Nothing says which part of it is whose."""
    monkeypatch.setattr("ocr_rl.models.policy.Policy.load", None)
    Path("export").mkdir()
    pages = "".join(
        f"<div class='ocr_page' id='{page}' title='image \"{page}.png\"; bbox 0 0 90 90'>"
        "<p class='ocr_par' title='bbox 0 0 90 90'><span class='ocr_line' title='bbox 0 0 90 30'></span></p></div>"
        for page in ("p1", "p2")
    )
    Path("export/book.hocr").write_text(f"<html><body>{pages}</body></html>")
    Path("export/book.txt").write_text("one\ntwo")
    message = refused("data", "align", "export", "--out", "aligned")
    assert "export/book.txt: is the text of one page, but book.hocr has several" in message
    assert not Path("aligned").exists()


def test_a_line_that_the_policy_reads_otherwise_gets_no_text(page):
    export(page, "nothing of this is on the page at all, not a single word of it")
    result = run("data", "align", "export", "--out", "aligned", "--max-tokens", "48")
    assert result.exit_code == 0, result.output
    assert "3 are too unsure and have none, such as p.xml#l0" in result.stderr
    [found] = read_archive(Path("aligned"))
    assert found.layout.text == ""


def test_pages_without_such_a_text_are_refused_before_a_model_is_loaded(monkeypatch):
    monkeypatch.setattr("ocr_rl.models.policy.Policy.load", None)
    write_page(Path("export"), "0042.xml", letter())
    expected = "export: no page has a text whose lines have none"
    assert expected in refused("data", "align", "export", "--out", "aligned")
    assert not Path("aligned").exists()
    Path("there").mkdir()
    assert "there: is there already" in refused("data", "align", "export", "--out", "there")
