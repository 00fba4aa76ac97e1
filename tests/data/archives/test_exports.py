"""Exports as programs pack them: folders, METS and zips become pages, regions or lines with readable ids."""

import os
import pickle
import re
import zipfile
from dataclasses import replace

import pytest
from PIL import Image

from helpers.layouts import letter, write_page
from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.layout import Layout, Line, Region
from ocr_rl.data.archives.reading import walk_archive
from ocr_rl.data.check import check_dataset
from ocr_rl.data.loading import load_pages
from ocr_rl.data.splits import document_of, split_pages
from ocr_rl.evaluation.transcribe import pages_of

LINES = Crop("line")


def packed(folder, name="export.zip"):
    path = folder.parent / name
    with zipfile.ZipFile(path, "w") as file:
        for one in sorted(folder.rglob("*")):
            if one.is_file():
                file.write(one, one.relative_to(folder).as_posix())
    return path


def write_mets(folder, *files, group="PAGE"):
    """The pages in this order, which is not the order of the files' list."""
    xlink = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    numbered = reversed(list(enumerate(files)))
    listed = "".join(f'<file ID="F{n}"><FLocat LOCTYPE="URL" xlink:href="{name}"/></file>' for n, name in numbered)
    pages = "".join(f'<div TYPE="page" ORDER="{n}"><fptr FILEID="F{n}"/></div>' for n in range(len(files)))
    (folder / "mets.xml").write_text(
        f'<mets xmlns="http://www.loc.gov/METS/" {xlink}><fileSec><fileGrp USE="{group}">{listed}</fileGrp></fileSec>'
        f'<structMap TYPE="PHYSICAL"><div>{pages}</div></structMap></mets>'
    )


def messages(path, **options):
    return [str(problem).replace(f"{path}", "D") for problem in check_dataset(path, **options).problems]


@pytest.fixture
def folder(tmp_path):
    """One page as eScriptorium exports it: XML and image side by side."""
    write_page(tmp_path / "export", "0042.xml", letter())
    return tmp_path / "export"


def test_a_page_has_the_texts_of_its_regions_as_paragraphs(folder):
    [page] = load_pages(folder)
    assert (page.id, page.text) == ("0042.xml", "Dear Sir\n\nthank you for\nyour letter.")
    assert page.image.size == (100, 80)
    assert page.metadata == {"level": "page", "regions": ["heading", "paragraph"]}


def test_lines_and_regions_are_cut_out_and_keep_the_kind_of_their_region(folder):
    lines = load_pages(folder, crop=LINES)
    assert [(line.id, line.text, line.image.size) for line in lines] == [
        ("0042.xml#r1l1", "Dear Sir", (50, 10)),
        ("0042.xml#r2l1", "thank you for", (80, 10)),
        ("0042.xml#r2l2", "your letter.", (70, 10)),
    ]
    assert lines[0].metadata == {"doc": "0042.xml", "level": "line", "page": "0042.xml", "region": "heading"}
    regions = load_pages(folder, crop=Crop("region"))
    assert [(one.id, one.text, one.image.size) for one in regions] == [
        ("0042.xml#r1", "Dear Sir", (90, 20)),
        ("0042.xml#r2", "thank you for\nyour letter.", (90, 35)),
    ]
    assert [one.id for one in load_pages(folder, crop=LINES, where={"region": "heading"})] == ["0042.xml#r1l1"]
    assert pickle.loads(pickle.dumps(lines))[2].image.size == (70, 10)


@pytest.mark.parametrize("kind", ["page-xml", "alto", "hocr"])
def test_a_file_a_folder_and_a_zip_of_each_format_are_the_same_dataset(tmp_path, kind):
    suffix = ".hocr" if kind == "hocr" else ".xml"
    write_page(tmp_path / "export", f"0042{suffix}", letter(), kind)
    found = [
        [(page.id, page.text, page.image.size) for page in load_pages(path, crop=LINES)]
        for path in (tmp_path / "export", tmp_path / "export" / f"0042{suffix}", packed(tmp_path / "export"))
    ]
    assert found[0] == found[1] == found[2]
    assert [name for name, _, _ in found[0]] == [f"0042{suffix}#{line}" for line in ("r1l1", "r2l1", "r2l2")]


@pytest.mark.parametrize(
    ("written", "there"),
    [
        ("0042.png", "export/page/0042.png"),
        ("0042.png", "export/0042.png"),  # Transkribus
        ("0042.png", "export/images/0042.png"),
        ("0042.png", "export/page/images/0042.png"),
        ("OCR-D-IMG/0042.png", "export/OCR-D-IMG/0042.png"),  # OCR-D
        ("C:\\scans\\0042.png", "export/page/0042.png"),
        ("/scans/0042.png", "export/page/0042.png"),
        ("file:///scans/0042.png", "export/page/0042.png"),
        ("https://example.org/iiif/7/full/full/0/default.jpg", "export/page/0042.png"),  # by the stem of the XML
        ("0042.tif", "export/page/0042.png"),
        ("Lettre é.png", "export/Lettre e\u0301.png"),
        ("", "export/page/0042.png"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_the_image_is_found_where_programs_put_it(tmp_path, written, there, zipped):
    write_page(tmp_path / "export/page", "0042.xml", replace(letter(), image="x.png"))
    (tmp_path / "export/page/x.png").unlink()
    xml = tmp_path / "export/page/0042.xml"
    xml.write_text(xml.read_text().replace("x.png", written))
    (tmp_path / there).parent.mkdir(exist_ok=True)
    Image.new("L", (100, 80)).save(tmp_path / there)
    [page] = load_pages(packed(tmp_path / "export") if zipped else tmp_path / "export")
    assert (page.id, page.image.size) == ("page/0042.xml", (100, 80))


@pytest.mark.parametrize("written", ["../../secret.png", "/secret.png", "..\\..\\secret.png"])
def test_an_image_farther_up_is_not_opened(tmp_path, written):
    write_page(tmp_path / "a/export", "0042.xml", replace(letter(), image="x.png"))
    (tmp_path / "a/export/x.png").rename(tmp_path / "secret.png")
    xml = tmp_path / "a/export/0042.xml"
    xml.write_text(xml.read_text().replace("x.png", written))
    [message] = messages(tmp_path / "a/export")
    assert message.startswith(f"D/0042.xml: names {written}, which is neither beside it nor in ..")


# Documents


def test_pages_of_a_folder_or_mets_are_one_document_which_no_split_cuts(tmp_path):
    for name in ("letters", "diary", "ledger"):
        for number in (1, 2, 3):
            write_page(tmp_path / name / "page", f"{number}.xml", letter(image=f"{number}.png"))
    pages = load_pages(tmp_path, crop=LINES)
    assert {document_of(page) for page in pages} == {"letters", "diary", "ledger"}
    train, held_out = split_pages(pages, 0.3, 0)
    assert not {document_of(page) for page in train} & {document_of(page) for page in held_out}
    assert {page.metadata["doc"] for page in load_pages(tmp_path)} == {"letters", "diary", "ledger"}


def test_pages_of_a_single_document_are_documents_of_their_own_and_keep_their_lines_together(tmp_path):
    for number in (1, 2):
        write_page(tmp_path, f"{number}.xml", letter(image=f"{number}.png"))
    write_mets(tmp_path, "1.xml", "2.xml")
    assert [document_of(page) for page in load_pages(tmp_path)] == ["1.xml", "2.xml"]
    assert {document_of(page) for page in load_pages(tmp_path, crop=LINES)} == {"1.xml", "2.xml"}


def test_a_mets_gives_the_order_and_a_file_that_it_names_has_to_exist(tmp_path):
    for name in ("a.xml", "b.xml", "c d.xml"):
        write_page(tmp_path, name, letter(image=f"{name}.png"))
    write_mets(tmp_path, "c%20d.xml", "a.xml")
    assert [page.id for page in load_pages(tmp_path)] == ["c d.xml", "a.xml", "b.xml"]
    assert [page.id for page in load_pages(tmp_path / "mets.xml")] == ["c d.xml", "a.xml"]
    assert [page.id for page in load_pages(packed(tmp_path, "../e.zip"))] == ["c d.xml", "a.xml", "b.xml"]
    write_mets(tmp_path, "a.xml", "gone.xml")
    assert messages(tmp_path) == ["D/mets.xml: names gone.xml, which does not exist"]


def test_a_book_in_one_hocr_file_is_several_pages_of_one_document(tmp_path):
    for number in (1, 2):
        page = replace(letter(f"p{number}", f"{number}.png"), id=f"page_{number}")
        write_page(tmp_path, f"{number}.hocr", page, "hocr")
    first, second = ((tmp_path / f"{number}.hocr").read_text() for number in (1, 2))
    body = second[second.index("<div") : second.index("</body>")]
    (tmp_path / "book.hocr").write_text(first.replace("</body>", f"{body}</body>"))
    (tmp_path / "1.hocr").unlink()
    (tmp_path / "2.hocr").unlink()
    write_page(tmp_path, "other.hocr", letter(image="3.png"), "hocr")
    pages = load_pages(tmp_path)
    assert [page.id for page in pages] == ["book.hocr#page_1", "book.hocr#page_2", "other.hocr"]
    assert [document_of(page) for page in pages] == ["book.hocr", "book.hocr", "other.hocr"]
    assert load_pages(tmp_path, crop=LINES)[3].id == "book.hocr#p2r1l1"


def test_the_same_page_in_two_formats_is_a_problem_that_says_what_to_give(tmp_path):
    """Transkribus exports PAGE-XML and ALTO at once, in two folders beside the images."""
    for kind in ("page", "alto"):
        write_page(tmp_path / kind, "1.xml", letter(image="1.png"), "alto" if kind == "alto" else "page-xml")
        (tmp_path / kind / "1.png").replace(tmp_path / "1.png")
    assert messages(tmp_path) == ["D/page/1.xml: is of the same image as alto/1.xml; give the folder of one of them"]
    assert load_pages(tmp_path / "page", crop=LINES)[0].id == "1.xml#r1l1"


# Problems


def spoil(folder, old, new, name="0042.xml"):
    file = folder / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))


def test_every_problem_has_the_file_and_the_element(folder):
    write_page(folder, "2.xml", letter(image="2.png"))
    write_page(folder, "3.xml", letter(image="3.png"))
    (folder / "4.xml").write_text("<PcGts>\n<Page>")
    (folder / "3.png").unlink()
    spoil(folder, "10,5 60,5 60,15 10,15", "10,nan 60,5 60,15 10,15")
    spoil(folder, "your letter.", "", "2.xml")
    skip = 'or leave such ones out: data.on_error = "skip"'
    empty = f"has lines without a text: r2l2; transcribe or delete them, use --level line, {skip}"
    gone = "D/3.xml: names 3.png, which is neither beside it nor in .., images or ../images; put it there"
    nan = 'D/0042.xml#r1l1: polygon holds nan, which is no coordinate; write "x,y x,y x,y"'
    found = messages(folder)
    assert found[:3] == [nan, f"D/2.xml: {empty}", gone]
    assert found[3].startswith("D/4.xml:2: is not well-formed: ")
    line = f"D/2.xml#r2l2: has no text; transcribe it, {skip}"
    assert messages(folder, crop=LINES)[:3] == [nan, line, gone]


def test_skipping_leaves_out_the_lines_with_a_problem_and_lists_them(folder):
    write_page(folder, "2.xml", letter(image="2.png"))
    (folder / "3.xml").write_text("<PcGts>")
    spoil(folder, "10,5 60,5 60,15 10,15", "")
    spoil(folder, "your letter.", "", "2.xml")
    skipped = []
    kept = load_pages(folder, crop=LINES, skip=skipped.append)
    assert [page.id for page in kept] == ["0042.xml#r2l1", "0042.xml#r2l2", "2.xml#r1l1", "2.xml#r2l1"]
    assert len(skipped) == 3
    with pytest.raises(ValueError, match=r"0042\.xml#r1l1: polygon has 0 points; .*\nand 2 more; `ocr-rl data check "):
        load_pages(folder, crop=LINES)


def test_a_line_without_an_outline_is_a_problem_only_where_lines_are_cut_out(folder):
    spoil(folder, '<Coords points="10,5 60,5 60,15 10,15"/>', "")
    assert load_pages(folder)[0].text.startswith("Dear Sir")
    assert messages(folder, crop=LINES) == ["D/0042.xml#r1l1: has no polygon; make one, or use --level page"]


def test_the_same_id_twice_is_a_problem(folder):
    spoil(folder, "r2l2", "r2l1")
    assert messages(folder, crop=LINES) == ["D/0042.xml#r2l1: the page 0042.xml#r2l1 is already at D/0042.xml#r2l1"]


def test_an_image_that_is_none_or_of_another_shape_is_a_problem(folder):
    (folder / "0042.png").write_bytes(b"no image")
    assert messages(folder) == ["D/0042.xml: is not an image in a format that Pillow knows"]
    Image.new("L", (80, 100)).save(folder / "0042.png")
    shape = "says that the page is 100 x 80, but its image is 80 x 100: another shape"
    assert messages(folder) == [f"D/0042.xml: {shape}"]
    assert messages(folder, crop=LINES)[0] == f"D/0042.xml#r1l1: {shape}"


def test_without_labels_a_text_that_is_not_whole_is_none(folder):
    spoil(folder, "your letter.", "")
    assert [page.text for page in load_pages(folder, labels=False)] == [None]
    assert [page.text for page in load_pages(folder, labels=False, crop=LINES)] == ["Dear Sir", "thank you for", None]


def test_pages_to_transcribe_need_no_text_and_name_what_cannot_be_read(folder):
    write_page(folder, "2.xml", letter(image="2.png"))
    spoil(folder, "your letter.", "")
    (folder / "2.png").unlink()
    (folder / "3.xml").write_text("<PcGts>")
    found = list(walk_archive(folder, Crop(), "Read."))
    assert [one.id for one in found] == ["0042.xml", "2.xml", "3.xml"]
    assert found[0].prompt == "Read."
    assert found[1].why.startswith("names 2.png, which is neither")
    assert found[2].why.startswith("is not well-formed: ")


def test_levels_are_refused_where_there_is_no_layout(tmp_path):
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "notes.xml").write_text("<notes/>")
    assert load_pages(tmp_path)[0].id == "a.png"
    with pytest.raises(ValueError, match="holds no PAGE-XML, ALTO or hOCR that regions or lines could be cut from"):
        load_pages(tmp_path, crop=LINES)


# Folders that also hold something else


@pytest.fixture
def scans(tmp_path):
    """Three images, each with its text."""
    for name in "abc":
        Image.new("L", (100, 80)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"true text {name}")
    return tmp_path


def add_layout(folder, name, image):
    """A layout file of an image that is there already."""
    kept = (folder / image).read_bytes() if (folder / image).exists() else None
    write_page(folder, name, letter(image=image), "hocr" if name.endswith(".hocr") else "page-xml")
    if kept is None:
        (folder / image).unlink()
    else:
        (folder / image).write_bytes(kept)


@pytest.mark.parametrize(
    ("stray", "image", "other"),
    [("a.hocr", "a.png", "b.png"), ("old/notes.xml", "gone.png", "a.png"), ("x.hocr", "gone.png", "a.png")],
)
@pytest.mark.parametrize("texts", [True, False])
def test_images_beside_a_stray_layout_file_are_refused(scans, stray, image, other, texts):
    (scans / stray).parent.mkdir(exist_ok=True)
    add_layout((scans / stray).parent, (scans / stray).name, image)
    for text in () if texts else scans.glob("*.txt"):
        text.unlink()
    message = f"{scans}: holds {other}, which no layout file covers, and the layout file {stray}; give the folder or "
    for read in (load_pages, pages_of):
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            read(scans)


def test_a_pdf_beside_a_stray_layout_file_is_refused(tmp_path):
    Image.new("L", (40, 60)).save(tmp_path / "book.pdf")
    (tmp_path / "book.txt").write_text("x")
    write_page(tmp_path, "1.xml", letter(image="1.png"))
    with pytest.raises(ValueError, match=r": holds book\.pdf, which no layout file .* layout file 1\.xml;"):
        load_pages(tmp_path)
    assert len(load_pages(tmp_path, crop=LINES)) == 3
    write_mets(tmp_path, "1.xml")
    assert [page.id for page in load_pages(tmp_path)] == ["1.xml"]


def test_layout_files_that_cover_every_image_are_read_and_a_broken_one_covers_its_own(scans):
    for name in "abc":
        add_layout(scans, f"{name}.xml", f"{name}.png")
    assert [page.text[:8] for page in load_pages(scans)] == ["Dear Sir"] * 3
    (scans / "b.xml").write_text("<PcGts>")
    [message] = messages(scans)
    assert message.startswith("D/b.xml:1: is not well-formed")


@pytest.mark.parametrize("under", ["", "train"])
def test_a_folder_with_rows_is_read_by_them(scans, under):
    (scans / under).mkdir(exist_ok=True)
    Image.new("L", (9, 9)).save(scans / under / "a.png")
    (scans / under / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "row"}\n')
    add_layout(scans, "a.hocr", "a.png")
    assert [page.text for page in load_pages(scans)] == ["row"]


# Zips


def test_a_zip_that_is_none_or_holds_no_pages_or_leads_outside_is_one_message(tmp_path):
    path = tmp_path / "export.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"export\.zip: cannot be read as a zip: "):
        load_pages(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "x")
        file.writestr("__MACOSX/._0042.xml", "x")
    with pytest.raises(ValueError, match=r"export\.zip: holds no PAGE-XML, ALTO or hOCR"):
        load_pages(path)
    for name in ("../0042.xml", "/etc/0042.xml", "a/../../0042.xml", "..\\0042.xml", "C:/0042.xml"):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, "<PcGts/>")
        with pytest.raises(ValueError, match=r"export\.zip: holds .*0042\.xml, a file outside of it; pack it again"):
            load_pages(path)


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    """128 MiB of spaces in 130 KB: reading stops at the limit."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("0042.xml", b"<PcGts>" + b" " * (128 * 2**20))
    with pytest.raises(ValueError, match=r"export\.zip/0042\.xml: has 67,108,865 bytes; at most 67,108,864 are read"):
        load_pages(path)


def test_a_damaged_zip_names_its_file(tmp_path, folder):
    path = packed(folder)
    data = bytearray(path.read_bytes())
    at = data.index(b"IHDR")
    data[at : at + 40] = os.urandom(40)
    path.write_bytes(data)
    [message] = messages(path)
    assert message.startswith("D/0042.xml: cannot be read from the zip: Bad CRC-32")


def test_a_million_characters_of_a_line_are_only_a_long_text(tmp_path):
    box = ((0, 0), (9, 0), (9, 9), (0, 9))
    layout = Layout("1.png", (9, 9), (Region("r", "", box, (Line("l", "x" * 1_000_000, box),)),))
    write_page(tmp_path, "1.xml", layout)
    assert len(load_pages(tmp_path)[0].text) == 1_000_000
