"""What is read of a dataset: pages without a problem on request, those that a filter keeps, images without a text."""

import pytest

from helpers.dataset_files import LETTER, draw, draw_pdf, write_lines
from ocr_rl.data.loading import load_pages, parse_filters
from ocr_rl.data.unlabelled import walk_pages


def test_pages_with_a_problem_are_left_out_and_listed_on_request(folder):
    rows = [LETTER, LETTER, {"file_name": "b.png", "text": " "}, {"file_name": "c.png", "text": "x"}]
    rows.append({"file_name": "gone.png", "text": "x"})
    for name in "bd":
        draw(folder / f"{name}.png")
    (folder / "c.png").write_text("no image")
    write_lines(folder / "metadata.jsonl", [*rows, {"file_name": "d.png", "text": "x"}])
    skipped = []
    assert [page.id for page in load_pages(folder, skip=skipped.append)] == ["a.png", "d.png"]
    assert [(problem.line, problem.field) for problem in skipped] == [
        (2, None),
        (3, "text"),
        (5, "file_name"),
        (4, "file_name"),
    ]


def test_a_page_with_an_empty_text_file_is_left_out_on_request(tmp_path):
    for name, text in (("a", ""), ("b", "x")):
        draw(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(text)
    skipped = []
    assert [page.id for page in load_pages(tmp_path, skip=skipped.append)] == ["b.png"]
    assert [str(problem) for problem in skipped] == [
        f"{tmp_path}/a.txt: is empty; for a blank page, add a baseline test with max_length"
    ]


def test_a_dataset_of_problems_alone_is_an_error_on_request_too(folder):
    (folder / "a.png").write_text("no image")
    with pytest.raises(ValueError, match=r"names a\.png, which is not an image"):
        load_pages(folder, skip=print)


def test_what_lies_at_the_path_must_be_a_dataset(tmp_path):
    with pytest.raises(ValueError, match="no/such/folder: no such file or folder"):
        load_pages("no/such/folder")
    with pytest.raises(ValueError, match=r"no pages here: no metadata\.jsonl, no pdfs/"):
        load_pages(tmp_path)
    (tmp_path / "metadata.tsv").write_text("")
    with pytest.raises(ValueError, match=r"a dataset is a folder, a \.jsonl file or a \.parquet file"):
        load_pages(tmp_path / "metadata.tsv")


def test_an_empty_dataset_is_an_error(folder):
    (folder / "metadata.jsonl").write_text("\n")
    with pytest.raises(ValueError, match="holds no pages"):
        load_pages(folder)


@pytest.fixture
def mixed(folder):
    rows = [("line", "x", 1905), ("line", "y", 1905), ("page", "y", 1906)]
    for n in range(3):
        draw(folder / f"{n}.png")
    write_lines(
        folder / "metadata.jsonl",
        [
            {"file_name": f"{n}.png", "text": "t", "level": level, "source": source, "year": year}
            for n, (level, source, year) in enumerate(rows)
        ],
    )
    return folder


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({}, "012"),
        ({"level": "line"}, "01"),
        ({"level": ["line", "page"]}, "012"),
        ({"level": "line", "source": "y"}, "1"),
        ({"year": "1905"}, "01"),
        ({"year": [1906, 1907]}, "2"),
    ],
)
def test_a_filter_keeps_the_pages_that_have_one_of_its_values(mixed, where, kept):
    assert [page.id[0] for page in load_pages(mixed, where=where)] == list(kept)


def test_a_filter_by_an_unknown_key_lists_the_keys(mixed):
    with pytest.raises(ValueError, match='no page has "lvl" to filter by; there is level, source, year'):
        load_pages(mixed, where={"lvl": "line"})


def test_a_filter_that_matches_nothing_lists_the_values_of_what_is_left(mixed):
    with pytest.raises(ValueError, match=r'no page has "level" = paragraph; there is line \(2\), page \(1\)'):
        load_pages(mixed, where={"level": "paragraph"})
    with pytest.raises(ValueError, match=r'no page has "source" = x; there is y \(1\)'):
        load_pages(mixed, where={"level": "page", "source": "x"})


def test_filters_are_written_as_key_equals_values():
    filters = ["level=line", "source=ehri-en, tapuscorpus", "source=c", "origin=a=b"]
    assert parse_filters(filters) == {
        "level": ["line"],
        "source": ["ehri-en", "tapuscorpus", "c"],
        "origin": ["a=b"],
    }


@pytest.mark.parametrize("text", ["level", "=line", "level=", "level=,"])
def test_a_filter_without_key_or_value_is_an_error(text):
    with pytest.raises(ValueError, match=f'filter "{text}": write key=value, or key=value,value'):
        parse_filters([text])


# Pages to transcribe


def test_pages_to_transcribe_need_no_text(tmp_path):
    draw(tmp_path / "b/scan.png")
    draw_pdf(tmp_path / "a.pdf", 2)
    (tmp_path / "notes.txt").write_text("ignored")
    assert [page.id for page in walk_pages(tmp_path)] == ["a.pdf#1", "a.pdf#2", "b/scan.png"]
    [page] = walk_pages(tmp_path / "b/scan.png", "Read.")
    assert (page.id, page.prompt, page.text) == ("scan.png", "Read.", None)
    with pytest.raises(ValueError, match=r"no image or PDF here; a file must end in one of \.bmp"):
        list(walk_pages(tmp_path / "notes.txt"))
