"""Splits, by folders, columns and names of files."""

import pytest

from helpers.dataset_files import LETTER, draw, table, write_lines
from ocr_rl.data.loading import load_pages


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
