"""Texts next to images, PDFs and TIFFs, and how names of files are matched."""

import pytest

from helpers.dataset_files import begins, draw, draw_pdf, draw_tiff, write_lines
from ocr_rl.data.loading import load_pages


def test_texts_lie_next_to_images_and_pdfs_of_the_same_name(tmp_path):
    draw(tmp_path / "scans/a.JPG")
    (tmp_path / "scans/a.txt").write_bytes(b"\xef\xbb\xbfDear Sir,\r\nthank you.\r\n")
    draw_pdf(tmp_path / "note.pdf", 1)
    (tmp_path / "note.md").write_text("# Note\n")
    draw_pdf(tmp_path / "book.pdf", 3)
    (tmp_path / "book_page1.txt").write_text("one")
    (tmp_path / "book_pg03.md").write_text("three")
    (tmp_path / "README.md").write_text("about these scans")
    assert {page.id: page.text for page in load_pages(tmp_path)} == {
        "scans/a.JPG": "Dear Sir,\nthank you.",
        "note.pdf#1": "# Note",
        "book.pdf#1": "one",
        "book.pdf#3": "three",
    }
    assert [page.image.size for page in load_pages(tmp_path, longest_side=60)][:2] == [(40, 60), (40, 60)]


SIDE_MISTAKES = {
    "no text": ({}, "a.png: has no transcription next to it: a.txt or a.md"),
    "two texts": ({"a.txt": b"x", "a.md": b"x"}, "a.png: has two transcriptions of a.png: a.md and a.txt"),
    "an empty text": (
        {"a.txt": b"\n"},
        "a.txt: is empty; for a blank page, add a baseline test with max_length",
    ),
    "another encoding": ({"a.txt": b"M\xfcller"}, "a.txt: not UTF-8 (byte 2)"),
}


@pytest.mark.parametrize(("texts", "message"), SIDE_MISTAKES.values(), ids=SIDE_MISTAKES)
def test_a_mistake_next_to_an_image_is_named_by_file(tmp_path, texts, message):
    draw(tmp_path / "a.png")
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    with pytest.raises(ValueError, match=begins(f"{tmp_path}/{message}")):
        load_pages(tmp_path)


def test_a_pdf_of_many_pages_needs_a_text_for_a_page(tmp_path):
    draw_pdf(tmp_path / "book.pdf", 2)
    (tmp_path / "book.txt").write_text("both pages")
    with pytest.raises(ValueError, match=r"book\.pdf: has no .*: book_pg<number>\.txt or \.md for each of its 2 pages"):
        load_pages(tmp_path)


def test_a_text_for_a_page_that_a_pdf_does_not_have_is_an_error(tmp_path):
    draw_pdf(tmp_path / "book.pdf", 2)
    (tmp_path / "book_pg1.txt").write_text("one")
    (tmp_path / "book_pg3.txt").write_text("three")
    with pytest.raises(ValueError, match=r"book_pg3\.txt: is page 3 of book\.pdf, which has 2"):
        load_pages(tmp_path)


def test_a_row_names_a_page_of_a_tiff(tmp_path):
    draw_tiff(tmp_path / "book.tif")
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": f"book.tif#{n}", "text": "x"} for n in (1, 3)])
    pages = load_pages(tmp_path)
    assert [(page.id, page.image.getpixel((0, 0))[0]) for page in pages] == [("book.tif#1", 10), ("book.tif#3", 30)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("book.tif", "names book.tif, which has 3 pages; write a row for each, book.tif#1 to book.tif#3"),
        ("book.tif#4", "names page 4 of book.tif, which has 3"),
        ("book.tif#0", "names book.tif#0, which does not exist"),
    ],
)
def test_a_tiff_of_several_pages_is_not_a_page(tmp_path, name, message):
    draw_tiff(tmp_path / "book.tif")
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": name, "text": "x"}])
    with pytest.raises(ValueError, match=begins(f'{tmp_path}/metadata.jsonl:1: "file_name" {message}')):
        load_pages(tmp_path)


def test_a_file_whose_name_ends_like_a_page_number_is_read_whole(folder):
    draw(folder / "image.png", grey=40)
    (folder / "image.png").rename(folder / "book.tif#3")
    write_lines(folder / "metadata.jsonl", [{"file_name": "book.tif#3", "text": "a"}])
    [page] = load_pages(folder)
    assert (page.id, page.image.getpixel((0, 0))) == ("book.tif#3", (40, 40, 40))


def test_a_text_lies_next_to_a_tiff_for_each_of_its_pages(tmp_path):
    draw_tiff(tmp_path / "book.tif")
    draw_tiff(tmp_path / "letter.tif", [40])
    (tmp_path / "letter.txt").write_text("letter")
    (tmp_path / "book.txt").write_text("all pages")
    with pytest.raises(ValueError, match=r"book\.tif: has no .*: book_pg<number>\.txt or \.md for each of its 3 pages"):
        load_pages(tmp_path)
    (tmp_path / "book_pg2.txt").write_text("two")
    assert [(page.id, page.text) for page in load_pages(tmp_path)] == [("book.tif#2", "two"), ("letter.tif", "letter")]


def test_file_names_are_found_however_accents_and_folders_are_written(tmp_path):
    draw(tmp_path / "scans/caf\u00e9.png")
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": "scans\\cafe\u0301.png", "text": "x"}])
    assert [page.id for page in load_pages(tmp_path)] == ["scans/caf\u00e9.png"]


def test_a_file_of_nearly_the_same_name_is_a_hint(tmp_path):
    draw(tmp_path / "P1.PNG")
    for name in ("p1.png", "p1.jpg"):
        write_lines(tmp_path / "metadata.jsonl", [{"file_name": name, "text": "x"}])
        with pytest.raises(ValueError, match=r"does not exist; paths are relative to the JSONL file; there is P1\.PNG"):
            load_pages(tmp_path)
