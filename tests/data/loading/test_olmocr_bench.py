"""Folders of olmOCR-bench."""

import pytest

from helpers.dataset_files import begins, draw_pdf, write_lines
from ocr_rl.data.loading import load_pages


@pytest.fixture
def bench(tmp_path):
    draw_pdf(tmp_path / "pdfs/old/book.pdf", 3)
    record = {"pdf": "old/book.pdf", "page": 3, "id": "b1", "type": "present", "text": "Sir"}
    write_lines(tmp_path / "scans.jsonl", [record, record | {"id": "b2", "page": 1}])
    write_lines(tmp_path / "tables.jsonl", [record | {"id": "t1", "type": "absent"}])
    (tmp_path / "some_system/old").mkdir(parents=True)
    (tmp_path / "some_system/old/book_pg1_repeat1.md").write_text("A candidate")
    return tmp_path


def test_a_bench_gives_a_page_for_each_pdf_page_with_tests_of_all_files(bench):
    pages = {page.id: page for page in load_pages(bench)}
    assert sorted(pages) == ["old/book.pdf#1", "old/book.pdf#3"]
    assert [test["id"] for test in pages["old/book.pdf#3"].tests] == ["b1", "t1"]
    assert pages["old/book.pdf#3"].metadata == {"category": ["scans", "tables"]}
    assert pages["old/book.pdf#3"].text is None


def test_bench_pages_are_drawn_1288_pixels_long_by_default(bench):
    assert load_pages(bench)[0].image.height == 1288
    assert load_pages(bench, longest_side=100)[0].image.height == 100


def test_bench_pages_can_be_chosen_by_any_of_their_categories(bench):
    assert [page.id for page in load_pages(bench, where={"category": "tables"})] == ["old/book.pdf#3"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pdf": "no.pdf"}, '"pdf" names no.pdf, which does not exist; paths are relative to pdfs/'),
        ({"page": 4}, '"page" is 4, but old/book.pdf has 3'),
        ({"pdf": "broken.pdf"}, '"pdf" names broken.pdf, which cannot be read as a PDF'),
    ],
)
def test_a_mistake_in_a_bench_is_named_by_file_line_and_field(bench, change, message):
    (bench / "pdfs/broken.pdf").write_text("no PDF")
    record = {"pdf": "old/book.pdf", "page": 1, "id": "x", "type": "present", "text": "Sir"}
    write_lines(bench / "more.jsonl", [record | change])
    with pytest.raises(ValueError, match=begins(f"{bench}/more.jsonl:1: {message}")):
        load_pages(bench)
