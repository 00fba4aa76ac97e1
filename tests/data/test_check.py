"""`check_dataset` reports everything at once; on the real pages it has nothing to report."""

import json

import numpy as np
import pytest
from PIL import Image

from ocr_rl.data import images
from ocr_rl.data.check import DataReport, check_dataset
from ocr_rl.data.loading import load_pages
from ocr_rl.data.problems import Problem
from ocr_rl.data.splits import document_of, split_pages


def draw(path, size=(20, 30), seed=0):
    noise = np.random.default_rng(seed).integers(0, 255, size[::-1], dtype=np.uint8)
    Image.fromarray(noise).save(path)


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def folder(tmp_path):
    """Four pages of two documents, without fault."""
    for n in range(4):
        draw(tmp_path / f"{n}.png", (20, 30 + n), seed=n)
    rows = [
        {
            "file_name": f"{n}.png",
            "text": f"Text {n}",
            "doc": f"doc {n % 2}",
            "source": "mill",
            "level": "page",
        }
        for n in range(4)
    ]
    write_lines(tmp_path / "metadata.jsonl", rows)
    return tmp_path


def rows_of(folder):
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def messages(problems, folder):
    return [str(problem).removeprefix(f"{folder}/") for problem in problems]


def test_a_problem_reads_as_file_line_field_and_what_is_wrong():
    assert str(Problem("a.jsonl", 17, "text", "is 3, not a string")) == 'a.jsonl:17: "text" is 3, not a string'
    assert str(Problem("a.jsonl", 17, None, "not JSON")) == "a.jsonl:17: not JSON"
    assert str(Problem("a.png", None, None, "has no transcription")) == "a.png: has no transcription"


def test_a_dataset_without_fault_has_a_summary(folder):
    test = {"pdf": "0.png", "page": 1, "type": "present", "text": "Text"}
    wrong = test | {"id": "c", "type": "baseline", "checked": "rejected"}
    del wrong["text"]
    write_lines(folder / "tests.jsonl", [test | {"id": "a"}, test | {"id": "b"}, wrong])
    report = check_dataset(folder)
    assert (report.problems, report.warnings) == ([], [])
    assert report.summary == {
        "pages": 4,
        "documents": 2,
        "width": {"min": 20, "median": 20, "max": 20},
        "height": {"min": 30, "median": 31.5, "max": 33},
        "text_length": {"min": 6, "median": 6, "max": 6},
        "characters": 24,
        "alphabet": " 0123Tetx",
        "sources": {"mill": 4},
        "languages": {},
        "levels": {"page": 4},
        "tests": {"present": 2, "baseline": 1},
        "rejected": {"baseline": 1},
        "split": {"train": 2, "validation": 2},
    }
    json.dumps(report.summary)


def test_every_problem_is_reported_at_once(folder, monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    rows = rows_of(folder)
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes()[:300])
    draw(folder / "1.png", (200, 200))
    rows[2]["text"] = ""
    rows.append(rows[3])
    rows.append({"file_name": "gone.png", "text": "x"})
    write_lines(folder / "metadata.jsonl", rows)
    with (folder / "metadata.jsonl").open("ab") as file:
        file.write(b"{\n" + b'{"text": "\xff"}\n')
    test = {"pdf": "3.png", "page": 1, "id": "a", "type": "present", "text": "Text"}
    tests = [
        test | {"typ": "present"},
        test | {"pdf": "9.png"},
        test | {"id": "b", "text": "absent from the reference"},
    ]
    write_lines(folder / "tests.jsonl", tests)
    report = check_dataset(folder)
    found = messages(report.problems, folder)
    expected = [
        "metadata.jsonl:7: not JSON: ",
        "metadata.jsonl:8: not UTF-8 ",
        'tests.jsonl:1: unknown field "typ"; did you mean "type"?',
        'metadata.jsonl:3: "text" is empty; ',
        'metadata.jsonl:6: "file_name" names gone.png, which does not exist; ',
        'tests.jsonl:2: "pdf" names 9.png, which is not a page of metadata.jsonl',
        f"metadata.jsonl:5: the page 3.png is already at {folder}/metadata.jsonl:4",
        'metadata.jsonl:1: "file_name" names 0.png, which cannot be read as an image: ',
        'metadata.jsonl:2: "file_name" names 1.png, which is larger than 10,000 pixels; scale it down',
        "metadata.jsonl:4: the reference fails its own test b: ",
    ]
    assert len(found) == len(expected)
    for start in expected:
        assert sum(message.startswith(start) for message in found) == 1, (start, found)


def test_what_loads_without_an_error_has_no_problem_but_in_images_and_references(folder):
    (folder / "0.png").write_text("no image")
    load_pages(folder)
    [problem] = check_dataset(folder).problems
    assert (problem.line, problem.field) == (1, "file_name")
    assert problem.message == "names 0.png, which is not an image in a format that Pillow knows"


def test_text_on_both_sides_of_the_split_is_a_warning(folder):
    write_lines(folder / "metadata.jsonl", [row | {"text": "Dear  Sir"} for row in rows_of(folder)])
    report = check_dataset(folder)
    assert report.problems == []
    [warning] = messages(report.warnings, folder)
    assert '"text" "Dear Sir" is also on the training side of the split: ' in warning


def test_the_same_image_in_two_documents_is_a_warning_and_in_one_it_is_not(folder):
    for n in (1, 2):
        draw(folder / f"{n}.png", (20, 30), seed=0)
    found = messages(check_dataset(folder).warnings, folder)
    assert found == ["metadata.jsonl:2: 1.png is the same image as 0.png, of another document"]


def test_a_stated_split_through_a_document_is_a_warning(folder):
    stated = ["train", "train", "train", "test"]
    rows = [row | {"split": name} for row, name in zip(rows_of(folder), stated, strict=True)]
    write_lines(folder / "metadata.jsonl", rows)
    report = check_dataset(folder)
    assert messages(report.warnings, folder) == ['metadata.jsonl:4: "split" puts the document doc 1 on both sides']
    assert report.summary["split"] == {"train": 3, "validation": 1}


def test_a_dataset_that_cannot_be_split_is_a_warning(folder):
    write_lines(folder / "metadata.jsonl", [row | {"doc": "one"} for row in rows_of(folder)])
    [warning] = check_dataset(folder).warnings
    assert "cannot split 4 pages of one document" in str(warning)


def test_a_page_that_has_only_rejected_tests_is_a_warning(folder):
    rows = rows_of(folder)
    rows[0] = {"file_name": "0.png", "tests": [{"type": "present", "text": "x", "checked": "rejected"}]}
    write_lines(folder / "metadata.jsonl", rows)
    [warning] = messages(check_dataset(folder).warnings, folder)
    assert warning == "metadata.jsonl:1: every test of 0.png is rejected"


def test_a_filter_says_which_pages_are_summed_up(folder):
    rows = rows_of(folder)
    rows[0]["level"] = "line"
    write_lines(folder / "metadata.jsonl", rows)
    assert check_dataset(folder, where={"level": "page"}).summary["pages"] == 3


def test_a_dataset_of_nothing_but_problems_is_reported_too(tmp_path):
    (tmp_path / "metadata.jsonl").write_text("{\n[]\n")
    report = check_dataset(tmp_path)
    assert len(report.problems) == 2
    assert report.summary["pages"] == 0
    assert report.render().endswith("2 errors, 0 warnings")


def test_progress_sees_every_page(folder):
    seen = []

    def progress(pages):
        for page in pages:
            seen.append(page)
            yield page

    check_dataset(folder, progress=progress)
    assert len(seen) == 4


def test_the_report_for_people_names_every_problem_and_the_first_warnings():
    trouble = [Problem("a.jsonl", n, None, "wrong") for n in range(1, 31)]
    summary = summary_of_nothing()
    text = DataReport("scans", trouble, trouble, summary).render()
    assert text.startswith("scans: 0 pages of 0 documents\n")
    assert text.count("error: a.jsonl:") == 30
    assert text.count("warning: a.jsonl:") == 20
    assert text.endswith("and 10 more warnings\n30 errors, 30 warnings")


def summary_of_nothing():
    counts = dict.fromkeys(["pages", "documents", "characters"], 0)
    spreads = {name: {} for name in ("width", "height", "text_length")}
    groups = {name: {} for name in ("sources", "languages", "levels", "tests", "rejected", "split")}
    return counts | spreads | groups | {"alphabet": ""}


def test_the_real_pages_have_no_problem(real_data):
    report = check_dataset(real_data)
    assert report.problems == []
    assert report.summary["pages"] == 1792
    assert report.summary["documents"] == 103
    assert report.summary["levels"] == {"line": 1737, "page": 55}


def test_no_line_validates_the_page_that_it_was_cut_from(real_data):
    pages = load_pages(real_data)
    for seed in range(5):
        train, held = split_pages(pages, 0.2, seed)
        assert {document_of(page) for page in train}.isdisjoint(document_of(page) for page in held)
    assert len(pages) == 1792


def test_the_real_pages_can_be_filtered(real_data):
    pages = load_pages(real_data, where={"level": "page", "source": ["ehri-en", "tapuscorpus"]})
    assert len(pages) == 12 + 11
    assert pages[0].image.mode == "RGB"


def test_the_sample_of_olmocr_bench_has_no_problem(real_data):
    report = check_dataset(real_data / "olmocr_bench")
    assert report.problems == []
    assert report.summary["tests"]["math"] > 0


def test_a_page_of_almost_one_colour_is_a_warning(folder):
    Image.new("L", (200, 200), 12).save(folder / "0.png")
    [warning] = check_dataset(folder).warnings
    assert str(warning) == f"{folder}/metadata.jsonl:1: 0.png is almost one colour (grey 12 of 255)"


def test_what_a_tokenizer_says_about_the_texts_is_a_warning(folder):
    [warning] = check_dataset(folder, check_texts=lambda pages: [f"{len(pages)} texts"]).warnings
    assert str(warning) == f"{folder}: 4 texts"
