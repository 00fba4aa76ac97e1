"""Parquet files, datasets saved to disk, and rows that hold images or messages."""

import json
import pickle
from base64 import b64encode

import datasets
import pytest

from helpers.dataset_files import LETTER, begins, draw, encoded, table, write_lines
from ocr_rl.data.loading import load_pages


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
