"""Images with rows of metadata.jsonl, and each mistake in them has an address."""

import json
import pickle
import re
import subprocess
import sys

import pytest

from helpers.dataset_files import LETTER, PRESENT, begins, draw, table, write_lines
from ocr_rl.data.loading import load_pages


def test_rows_become_pages_and_other_fields_become_metadata(folder):
    write_lines(folder / "metadata.jsonl", [LETTER | {"doc": "letters", "level": "page", "hand": None}])
    [page] = load_pages(folder)
    assert page.id == "a.png"
    assert page.text == "Dear Sir,\nthank you."
    assert page.metadata == {"doc": "letters", "level": "page"}
    assert page.image.size == (20, 30)
    assert page.image.mode == "RGB"


def test_pages_can_be_pickled_with_their_images(folder):
    [page] = pickle.loads(pickle.dumps(load_pages(folder)))
    assert page.image.size == (20, 30)


def test_a_text_is_kept_as_it_is_composition_and_white_space_included(folder):
    write_lines(folder / "metadata.jsonl", [LETTER | {"text": " Re\u0301ponse \n"}])
    assert load_pages(folder)[0].text == " Re\u0301ponse \n"


def test_line_ends_of_every_system_become_newlines(folder, tmp_path):
    write_lines(folder / "metadata.jsonl", [LETTER | {"text": "one\r\ntwo\rthree\n"}])
    assert load_pages(folder)[0].text == "one\ntwo\nthree\n"
    table(text=["one\r\ntwo", "one\rtwo"]).to_parquet(tmp_path / "t.parquet")
    assert [page.text for page in load_pages(tmp_path / "t.parquet")] == ["one\ntwo"] * 2


def test_the_jsonl_file_can_be_named_itself(folder):
    (folder / "metadata.jsonl").rename(folder / "pages.jsonl")
    assert load_pages(str(folder / "pages.jsonl"))[0].id == "a.png"


def test_the_prompt_is_for_pages_that_have_none(folder):
    draw(folder / "b.png")
    rows = [LETTER, {"file_name": "b.png", "text": "x", "prompt": "Read the table."}]
    write_lines(folder / "metadata.jsonl", rows)
    assert [page.prompt for page in load_pages(folder, prompt="Read.")] == ["Read.", "Read the table."]


def test_tests_next_to_the_rows_belong_to_the_page_that_they_name(folder):
    draw(folder / "b.png")
    write_lines(folder / "metadata.jsonl", [LETTER, {"file_name": "b.png", "text": "x"}])
    write_lines(folder / "tests.jsonl", [PRESENT, PRESENT | {"id": "a_2"}])
    assert [[test["id"] for test in page.tests] for page in load_pages(folder)] == [["a_1", "a_2"], []]


def test_tests_within_a_row_need_not_repeat_the_page(folder):
    write_lines(folder / "metadata.jsonl", [{"file_name": "a.png", "tests": [{"type": "present", "text": "Sir"}]}])
    [page] = load_pages(folder)
    assert page.text is None
    assert page.tests == ({"pdf": "a.png", "page": 1, "id": "a.png_test1", "type": "present", "text": "Sir"},)


def test_a_blank_page_has_an_empty_text_and_a_test_that_says_so(folder):
    blank = {"type": "baseline", "max_length": 3}
    write_lines(folder / "metadata.jsonl", [{"file_name": "a.png", "text": "", "tests": [blank]}])
    assert load_pages(folder)[0].text == ""


ROW_MISTAKES = {
    "a missing image": (
        LETTER | {"file_name": "scans/0042.png"},
        'metadata.jsonl:1: "file_name" names scans/0042.png, which does not exist; '
        "paths are relative to the JSONL file",
    ),
    "no image": (LETTER | {"file_name": None}, 'metadata.jsonl:1: "file_name" must name an image file'),
    "neither text nor tests": (
        {"file_name": "a.png"},
        "metadata.jsonl:1: the page a.png has neither a text nor tests; reward.weights.consensus needs neither",
    ),
    "a text that is none": (LETTER | {"text": 1905}, 'metadata.jsonl:1: "text" is 1905, not a string'),
    "an empty text": (
        LETTER | {"text": " \n"},
        'metadata.jsonl:1: "text" is empty; for a blank page, add a baseline test with max_length',
    ),
    "half a character": (
        LETTER | {"text": "\ud83d"},
        'metadata.jsonl:1: "text" holds half of a surrogate pair, which is not a character',
    ),
    "tests that are no list": (
        LETTER | {"tests": "all"},
        'metadata.jsonl:1: "tests" must be a list of test records',
    ),
    "an unknown kind of test": (
        LETTER | {"tests": [{"type": "presnt", "text": "x"}]},
        'metadata.jsonl:1: "type" is "presnt"; did you mean "present"?',
    ),
    "not an object": ([1, 2], "metadata.jsonl:1: a line must hold one JSON object, not list"),
}


@pytest.mark.parametrize(("row", "message"), ROW_MISTAKES.values(), ids=ROW_MISTAKES)
def test_a_mistake_in_a_row_is_named_by_file_line_and_field(folder, row, message):
    write_lines(folder / "metadata.jsonl", [row])
    with pytest.raises(ValueError, match=begins(f"{folder}/{message}")):
        load_pages(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"file_name": "a.png", ', "metadata.jsonl:3: not JSON: "),
        (
            '{"file_name": "a.png", "text": "Müller"}'.encode("latin-1"),
            "metadata.jsonl:3: not UTF-8 (byte 34 of",
        ),
    ],
)
def test_a_broken_line_is_named_and_empty_lines_count(folder, line, message):
    (folder / "metadata.jsonl").write_bytes(json.dumps(LETTER).encode() + b"\n\n" + line + b"\n")
    with pytest.raises(ValueError, match=re.escape(message)):
        load_pages(folder)


def test_a_page_that_comes_twice_is_an_error(folder):
    write_lines(folder / "metadata.jsonl", [LETTER, LETTER])
    with pytest.raises(ValueError, match=r"metadata\.jsonl:2: the page a\.png is already at .*metadata\.jsonl:1"):
        load_pages(folder)


def test_the_first_problem_is_shown_and_the_others_are_counted(folder):
    write_lines(folder / "metadata.jsonl", [{"file_name": f"{n}.png", "text": "x"} for n in range(3)])
    with pytest.raises(ValueError, match=r"names 0\.png(.|\n)*\nand 2 more; `ocr-rl data check .*` lists them"):
        load_pages(folder)


TEST_MISTAKES = {
    "a page that does not exist": (
        PRESENT | {"id": "a_2", "pdf": "b.png"},
        'tests.jsonl:2: "pdf" names b.png, which is not a page of metadata.jsonl',
    ),
    "the second page of an image": (
        PRESENT | {"id": "a_2", "page": 2},
        'tests.jsonl:2: "page" is 2, but an image is its own page 1',
    ),
    "an id that comes twice": (PRESENT, 'tests.jsonl:2: "id" is a_1, as on line 1; ids are unique'),
    "a field that is missing": ({**PRESENT, "type": "order"}, 'tests.jsonl:2: unknown field "text"'),
}


@pytest.mark.parametrize(("record", "message"), TEST_MISTAKES.values(), ids=TEST_MISTAKES)
def test_a_mistake_in_a_test_is_named_by_file_line_and_field(folder, record, message):
    write_lines(folder / "tests.jsonl", [PRESENT, record])
    with pytest.raises(ValueError, match=begins(f"{folder}/{message}")):
        load_pages(folder)


def test_importing_the_readers_loads_neither_pillow_nor_datasets():
    code = (
        "import sys, ocr_rl.data.check, ocr_rl.data.loading, ocr_rl.data.splits;"
        "print({'torch', 'PIL', 'datasets', 'pypdfium2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
