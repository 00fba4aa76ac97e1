"""Pages to transcribe from folders of images and PDFs."""

import os
from pathlib import Path

import pytest
from PIL import Image

from ocr_rl.data.unlabelled import walk_pages


def test_the_pages_of_a_folder_come_in_the_order_of_their_sorted_paths(tmp_path):
    names = "b.png a/z.PNG a/b/c.jpg a.png a-b/x.tif ab.webp a/notes.txt .hidden.png B.png é.png c.d/e.png c.png"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    save_pdf(tmp_path / "a/book.pdf", 3)
    pages = list(walk_pages(tmp_path, "Read."))
    books = [f"a/book.pdf#{number}" for number in (1, 2, 3)]
    others = "a-b/x.tif a.png ab.webp b.png c.d/e.png c.png é.png".split()
    assert [page.id for page in pages] == ["B.png", "a/b/c.jpg", *books, "a/z.PNG", *others]
    paths = [tmp_path / page.id.partition("#")[0] for page in pages]
    assert paths == sorted(paths) == [page.open_image.path for page in pages]
    assert [page.open_image.index for page in pages if "#" in page.id] == [0, 1, 2]
    assert {page.prompt for page in pages} == {"Read."}


def save_pdf(path, pages):
    first, *others = [Image.new("RGB", (40, 30), "white") for _ in range(pages)]
    first.save(path, save_all=True, append_images=others)


def test_a_pdf_that_cannot_be_opened_is_one_unread_page(tmp_path):
    (tmp_path / "b.pdf").write_bytes(b"nothing")
    for name in ("a.png", "c.png"):
        (tmp_path / name).touch()
    first, broken, last = walk_pages(tmp_path)
    assert (first.id, last.id) == ("a.png", "c.png")
    assert broken.id == "b.pdf"
    assert broken.why.startswith("cannot be read as a PDF: ")


def test_a_single_file_can_be_read_and_no_pages_are_an_error(tmp_path):
    save_pdf(tmp_path / "book.pdf", 2)
    assert [page.id for page in walk_pages(tmp_path / "book.pdf")] == ["book.pdf#1", "book.pdf#2"]
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"notes.txt: no image or PDF here; a file must end in one of .bmp"):
        next(walk_pages(tmp_path / "notes.txt"))


def test_folders_are_not_read_before_their_pages_are_needed(tmp_path, monkeypatch):
    for n in range(50):
        (tmp_path / f"{n:02d}").mkdir()
        (tmp_path / f"{n:02d}" / "p.png").touch()
    opened, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(Path(path).name), scandir(path))[1])
    assert next(walk_pages(tmp_path)).id == "00/p.png"
    assert opened == [tmp_path.name, "00"]


def test_every_frame_of_a_tiff_is_a_page(tmp_path):
    first, *rest = [Image.new("L", (4, 4), grey) for grey in (10, 20, 30)]
    first.save(tmp_path / "book.tif", save_all=True, append_images=rest)
    first.save(tmp_path / "letter.tif")
    pages = list(walk_pages(tmp_path))
    assert [page.id for page in pages] == ["book.tif#1", "book.tif#2", "book.tif#3", "letter.tif"]
    assert [page.image.getpixel((0, 0))[0] for page in pages] == [10, 20, 30, 10]
