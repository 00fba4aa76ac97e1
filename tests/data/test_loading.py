"""Each layout of a dataset is read as it lies on disk, and each mistake has an address."""

import io
import json
import pickle
import re
import subprocess
import sys
from base64 import b64encode

import datasets
import huggingface_hub
import pytest
from PIL import Image

from ocr_rl.data.loading import load_pages, parse_filters
from ocr_rl.data.unlabelled import walk_pages

PRESENT = {"pdf": "a.png", "page": 1, "id": "a_1", "type": "present", "text": "Dear Sir"}
LETTER = {"file_name": "a.png", "text": "Dear Sir,\nthank you."}


def draw(path, size=(20, 30), grey=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)


def begins(message):
    return "^" + re.escape(message)


def encoded(grey):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), grey).save(buffer, "PNG")
    return buffer.getvalue()


def draw_pdf(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.new("L", (40, 60), 255) for _ in range(pages)]
    first.save(path, save_all=True, append_images=rest)


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    """Hugging Face datasets keeps its copies of parquet files to itself, and stays off the network."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


@pytest.fixture
def folder(tmp_path):
    """One image and one row; tests write over what they are about."""
    draw(tmp_path / "a.png")
    write_lines(tmp_path / "metadata.jsonl", [LETTER])
    return tmp_path


def test_importing_the_readers_loads_neither_pillow_nor_datasets():
    code = (
        "import sys, ocr_rl.data.check, ocr_rl.data.loading, ocr_rl.data.splits;"
        "print({'torch', 'PIL', 'datasets', 'pypdfium2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Images with metadata.jsonl


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


# olmOCR-bench


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


# Texts next to images and PDFs


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


# Hugging Face datasets


def table(**columns):
    images = [{"bytes": encoded(grey), "path": None} for grey in (10, 20)]
    made = datasets.Dataset.from_dict({"image": images, "text": ["one", "two"]} | columns)
    return made.cast_column("image", datasets.Image())


def test_a_parquet_file_and_a_folder_of_them_are_datasets(tmp_path):
    table(id=["p1", "p2"], level=["line", "page"]).to_parquet(tmp_path / "data/train-0.parquet")
    for path in (tmp_path, tmp_path / "data/train-0.parquet"):
        pages = load_pages(path)
        assert [(page.id, page.text, page.metadata) for page in pages] == [
            ("p1", "one", {"level": "line"}),
            ("p2", "two", {"level": "page"}),
        ]
        assert [page.image.getpixel((0, 0))[0] for page in pages] == [10, 20]


def test_a_dataset_saved_to_disk_is_read_by_split(tmp_path):
    table(id=["p1", "p2"]).save_to_disk(tmp_path / "one")
    splits = {"train": table(id=["p1", "p2"]), "test": table(id=["p3", "p4"])}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "two")
    assert [page.id for page in load_pages(tmp_path / "one")] == ["p1", "p2"]
    assert [page.id for page in load_pages(tmp_path / "two", split="test")] == ["p3", "p4"]
    with pytest.raises(ValueError, match=r'no split "dev"; there is train \(2\), test \(2\)'):
        load_pages(tmp_path / "two", split="dev")


def test_pages_of_a_table_can_be_pickled_with_their_images(tmp_path):
    table().save_to_disk(tmp_path / "saved")
    pages = pickle.loads(pickle.dumps(load_pages(tmp_path / "saved")))
    assert [page.image.getpixel((0, 0))[0] for page in pages] == [10, 20]


def test_a_page_without_an_id_is_called_by_its_image(tmp_path):
    """So that a page keeps its name, and its side of a split, when rows are added before it."""
    table().to_parquet(tmp_path / "two.parquet")
    table().select([1]).to_parquet(tmp_path / "one.parquet")
    first, second = load_pages(tmp_path / "two.parquet")
    assert first.id != second.id
    assert load_pages(tmp_path / "one.parquet")[0].id == second.id


def test_columns_are_known_by_their_usual_names_or_as_the_user_says(tmp_path):
    renamed = table().rename_column("text", "ground_truth")
    renamed.to_parquet(tmp_path / "guessed.parquet")
    odd = renamed.rename_columns({"image": "scan", "ground_truth": "gt"}).add_column("who", ["x", "y"])
    odd.to_parquet(tmp_path / "odd.parquet")
    assert [page.text for page in load_pages(tmp_path / "guessed.parquet")] == ["one", "two"]
    pages = load_pages(tmp_path / "odd.parquet", columns={"image": "scan", "text": "gt", "id": "who"})
    assert [(page.id, page.text) for page in pages] == [("x", "one"), ("y", "two")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "cannot tell which column is the image; write columns.image = one of gt, scan"),
        ({"image": "scan"}, "cannot tell which column is the text; write columns.text = one of scan, gt"),
        ({"image": "scan", "text": "txt"}, 'no column "txt" for the text; there is gt, scan'),
        ({"img": "scan"}, 'columns: "img" is not one of image, text, id, prompt, tests'),
        ({"image": "gt", "text": "scan"}, 'the column "scan" for the text holds images'),
    ],
)
def test_a_column_that_cannot_be_found_is_an_error_that_lists_the_columns(tmp_path, columns, message):
    table().rename_columns({"image": "scan", "text": "gt"}).to_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=message):
        load_pages(tmp_path / "odd.parquet", columns=columns)


def test_a_table_may_name_image_files(tmp_path):
    draw(tmp_path / "a.png")
    rows = {"image": [str(tmp_path / "a.png"), "no/such.png"], "text": ["one", "two"]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r't\.parquet:2: "image" names no/such\.png, which cannot be read: No such'):
        load_pages(tmp_path / "t.parquet")
    named = datasets.Dataset.from_dict({"image": rows["image"][:1], "text": ["one"]})
    named.to_parquet(tmp_path / "t.parquet")
    assert load_pages(tmp_path / "t.parquet")[0].image.size == (20, 30)


def test_tests_of_a_table_are_records_or_json(tmp_path):
    """A table fills every record with every field; the nulls are left out again."""
    records = [[{"type": "present", "text": "one"}], [{"type": "order", "before": "a", "after": "b"}]]
    table(id=["p", "q"], tests=records).to_parquet(tmp_path / "records.parquet")
    table(id=["p", "q"], tests=[json.dumps(r) for r in records]).to_parquet(tmp_path / "json.parquet")
    for name in ("records", "json"):
        first, second = load_pages(tmp_path / f"{name}.parquet")
        assert first.tests == ({"pdf": "p", "page": 1, "id": "p_test1", "type": "present", "text": "one"},)
        assert second.tests[0]["before"] == "a"


def test_a_mistake_in_a_table_is_named_by_row(tmp_path):
    table(text=["one", " "], id=["p", "q"]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r't\.parquet:2: "text" is empty'):
        load_pages(tmp_path / "t.parquet")


def test_a_broken_parquet_file_is_one_clear_error(tmp_path):
    (tmp_path / "t.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match=r"t\.parquet: cannot be read"):
        load_pages(tmp_path / "t.parquet")


def test_a_hub_that_does_not_answer_is_one_clear_error():
    with pytest.raises(ValueError, match="owner/name: no such file or folder, and the hub gave nothing: "):
        load_pages("owner/name")


def test_images_in_a_table_are_base64_paths_or_lists_of_one(tmp_path):
    draw(tmp_path / "scans/a.png", grey=10)
    base64 = b64encode(encoded(20)).decode()
    cells = {
        "path": ["scans/a.png", "scans\\a.png"],
        "base64": [base64, f"data:image/png;base64,{base64}"],
        "bytes": [encoded(10), encoded(20)],
        "list": [["scans/a.png"], [base64]],
        "structs": [[{"bytes": None, "path": "scans/a.png"}], [{"bytes": encoded(20), "path": None}]],
    }
    greys = {"path": [10, 10], "base64": [20, 20]}
    for name, images in cells.items():
        rows = {"images": images, "text": ["one", "two"], "id": ["p", "q"]}
        datasets.Dataset.from_dict(rows).to_parquet(tmp_path / f"{name}.parquet")
        pages = load_pages(tmp_path / f"{name}.parquet")
        assert [page.image.getpixel((0, 0))[0] for page in pages] == greys.get(name, [10, 20]), name
    files = [[{"bytes": encoded(grey), "path": None}] for grey in (10, 20)]
    pictures = datasets.Dataset.from_dict({"images": files, "text": ["one", "two"]})
    pictures.cast_column("images", datasets.List(datasets.Image())).to_parquet(tmp_path / "pictures.parquet")
    pages = load_pages(tmp_path / "pictures.parquet")
    assert [page.image.getpixel((0, 0))[0] for page in pages] == [10, 20]


def test_equal_images_in_rows_are_pages_of_their_own_where_a_column_names_them(tmp_path):
    """As in the corrections of `ocr-rl review`, which have `id`."""
    image = "data:image/png;base64," + b64encode(encoded(20)).decode()
    rows = [{"image": image, "text": "one", "id": name, "doc": name} for name in ("a.png", "b.png")]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [page.id for page in load_pages(tmp_path / "c.jsonl", columns={"id": "id"})] == ["a.png", "b.png"]
    with pytest.raises(ValueError, match=r"c\.jsonl:2: the page \w+ is already at .*c\.jsonl:1"):
        load_pages(tmp_path / "c.jsonl")


def test_an_error_never_shows_an_image(tmp_path):
    broken = b64encode(encoded(20)).decode()[:-8] + "****" + "x" * 2000
    rows = {"image": [broken], "text": ["one"]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "t.parquet")
    write_lines(tmp_path / "rows.jsonl", [{"image": broken, "text": "one"}])
    for file in ("t.parquet", "rows.jsonl"):
        with pytest.raises(ValueError, match="characters") as error:
            load_pages(tmp_path / file)
        assert len(str(error.value)) < 300


def test_several_images_in_a_row_are_refused(tmp_path):
    rows = {"images": [[encoded(10), encoded(20)]], "text": ["one"]}
    datasets.Dataset.from_dict(rows).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r'parquet:1: "images" holds 2 images, but a page is one image; write a row'):
        load_pages(tmp_path / "t.parquet")
    write_lines(tmp_path / "rows.jsonl", [{"images": ["a.png", "b.png"], "text": "one"}])
    with pytest.raises(ValueError, match=r'rows\.jsonl:1: "images" holds 2 images'):
        load_pages(tmp_path / "rows.jsonl")


def test_the_same_image_twice_without_an_id_has_its_row_in_the_id(tmp_path):
    same = [{"bytes": encoded(10), "path": None}] * 2
    table(image=same).cast_column("image", datasets.Image()).to_parquet(tmp_path / "t.parquet")
    first, second = load_pages(tmp_path / "t.parquet")
    assert second.id == f"{first.id}-2"


CHAT = [
    {"role": "user", "content": "<image>\nRead the page."},
    {"role": "assistant", "content": "Dear Sir,\r\nthank you."},
]
LLAVA = [{"from": "human", "value": "Read the page.\n<image>"}, {"from": "gpt", "value": "Dear Sir,\nthank you."}]


@pytest.mark.parametrize(("column", "messages"), [("messages", CHAT), ("conversations", LLAVA)])
def test_messages_are_a_prompt_and_a_text(tmp_path, column, messages):
    draw(tmp_path / "a.png")
    write_lines(tmp_path / "rows.jsonl", [{column: messages, "images": ["a.png"]}])
    datasets.Dataset.from_dict({column: [messages], "images": [["a.png"]]}).to_parquet(tmp_path / "t.parquet")
    for file in ("rows.jsonl", "t.parquet"):
        [page] = load_pages(tmp_path / file)
        assert (page.prompt, page.text) == ("Read the page.", "Dear Sir,\nthank you.")
        assert page.image.size == (20, 30)


def test_an_image_can_be_within_the_messages(tmp_path):
    draw(tmp_path / "a.png")
    parts = [{"type": "image", "image": "a.png"}, {"type": "text", "text": "Read."}]
    write_lines(tmp_path / "rows.jsonl", [{"messages": [{"role": "user", "content": parts}, CHAT[1]]}])
    [page] = load_pages(tmp_path / "rows.jsonl")
    assert (page.id, page.prompt, page.image.size) == ("a.png", "Read.", (20, 30))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        (CHAT * 2, "continues after the assistant's answer; a page has one answer"),
        (CHAT[:1], "has no answer of the assistant"),
        ("Read.", "must be a list of messages {role, content}"),
        ([{"role": "tool", "content": "x"}], "has a message of 'tool'; write one of system, user, human"),
    ],
)
def test_messages_that_are_not_one_question_and_answer_are_refused(folder, messages, message):
    write_lines(folder / "rows.jsonl", [{"messages": messages, "images": ["a.png"]}])
    with pytest.raises(ValueError, match=begins(f'{folder}/rows.jsonl:1: "messages" {message}')):
        load_pages(folder / "rows.jsonl")


def test_the_place_of_the_image_is_not_part_of_a_prompt(folder):
    write_lines(folder / "metadata.jsonl", [LETTER | {"prompt": "<image>\nRead."}])
    assert load_pages(folder)[0].prompt == "Read."


# Splits


@pytest.fixture
def split_folders(tmp_path):
    for name in ("train", "test"):
        draw(tmp_path / name / "a.png")
    write_lines(tmp_path / "train/metadata.jsonl", [LETTER])
    (tmp_path / "test/metadata.csv").write_text('file_name,text,doc\na.png,"one\ntwo",\n')
    return tmp_path


def test_folders_named_after_splits_are_splits(split_folders):
    pages = load_pages(split_folders)
    assert [(page.id, page.metadata) for page in pages] == [
        ("test/a.png", {"split": "test"}),
        ("train/a.png", {"split": "train"}),
    ]
    assert pages[0].text == "one\ntwo"
    assert [page.id for page in load_pages(split_folders, split="test")] == ["test/a.png"]
    with pytest.raises(ValueError, match=r'no split "nosuch"; there is test \(1\), train \(1\)'):
        load_pages(split_folders, split="nosuch")


def test_a_column_names_the_split_of_each_row(folder):
    draw(folder / "b.png")
    rows = [LETTER | {"split": "train"}, {"file_name": "b.png", "text": "x", "split": "test"}]
    write_lines(folder / "metadata.jsonl", rows)
    assert [page.id for page in load_pages(folder)] == ["a.png", "b.png"]
    assert [page.id for page in load_pages(folder, split="test")] == ["b.png"]
    with pytest.raises(ValueError, match=r'no split "dev"; there is train \(1\), test \(1\)'):
        load_pages(folder, split="dev")


def test_rows_without_a_split_cannot_be_asked_for_one(folder):
    with pytest.raises(ValueError, match='no split "test": its pages name none; leave out --split'):
        load_pages(folder, split="test")


def test_texts_next_to_images_are_split_by_their_folders(tmp_path):
    for name in ("train", "val"):
        draw(tmp_path / name / "a.png")
        (tmp_path / name / "a.txt").write_text(name)
    assert [page.text for page in load_pages(tmp_path, split="val")] == ["val"]


def test_one_parquet_file_is_split_by_its_column_or_its_name(tmp_path):
    table(id=["p", "q"], split=["train", "test"]).to_parquet(tmp_path / "all.parquet")
    table(id=["p", "q"]).to_parquet(tmp_path / "test-00000-of-00001.parquet")
    assert [page.id for page in load_pages(tmp_path / "all.parquet", split="test")] == ["q"]
    assert len(load_pages(tmp_path / "test-00000-of-00001.parquet", split="test")) == 2
    for name, there in (("all", r"train \(1\), test \(1\)"), ("test-00000-of-00001", r"test \(2\)")):
        with pytest.raises(ValueError, match=f'no split "dev"; there is {there}'):
            load_pages(tmp_path / f"{name}.parquet", split="dev")


# Pages of TIFFs, and names of files


def draw_tiff(path, greys=(10, 20, 30)):
    first, *rest = [Image.new("L", (4, 4), grey) for grey in greys]
    first.save(path, save_all=True, append_images=rest)


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


# Pages left out on request


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


# What is no dataset


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


# Filters


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
