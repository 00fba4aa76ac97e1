"""An index of very many rows gives the pages, splits and messages that reading all of them gives, and reads none."""

import hashlib
import json
import os
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ocr_rl.data import index, loading, problems
from ocr_rl.data.facts import (
    FACTS,
    HALVES_SEED,
    SPLIT_SEED,
    digest_of,
    document_of,
    older_digest_of,
    position_of,
)
from ocr_rl.data.images import ImageError
from ocr_rl.data.indexed import (
    IndexedPages,
    as_recorded,
    by_id,
    facts,
    flags,
    joined,
    positions,
    recorded,
    values_of,
    with_ids,
)
from ocr_rl.data.loading import load_pages
from ocr_rl.data.plain_rows import plain_rows
from ocr_rl.data.problems import raw_lines
from ocr_rl.data.rows import reader_of
from ocr_rl.data.splits import split_pages, tuning_and_test
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.training.batching import epochs
from ocr_rl.types import Page
from ocr_verifiers import Rubric

TEST = {"pdf": "a.png", "page": 1, "id": "a_1", "type": "present", "text": "Dear Sir"}


def draw(path):
    Image.new("L", (20, 30), 255).save(path)


def write_lines(path, rows):
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def indexed(monkeypatch, tmp_path):
    """Reads a dataset through an index, however small it is."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def load(path, **options):
        with monkeypatch.context() as patch:
            patch.setattr(loading, "INDEXED_FROM", -1)
            return load_pages(path, **options)

    return load


@pytest.fixture
def letters(tmp_path):
    """30 pages of 10 documents, some with tests in their rows, some with tests beside them."""
    folder = tmp_path / "letters"
    folder.mkdir()
    rows = []
    for i in range(30):
        draw(folder / f"{i}.png")
        row = {
            "file_name": f"{i}.png",
            "text": f"Dear Sir {i}",
            "doc": f"d{i % 10}",
            "n": i,
            "language": "en" if i % 3 else "de",
        }
        rows.append(row | ({"tests": [{"type": "present", "text": "Sir"}]} if i % 4 == 0 else {}))
    write_lines(folder / "metadata.jsonl", rows)
    write_lines(folder / "tests.jsonl", [TEST | {"pdf": f"{i}.png", "id": f"t{i}"} for i in (3, 7, 3, 28)][:2])
    return folder


def plain(page):
    return page.id, page.open_image, page.prompt, page.text, list(page.tests), page.metadata


def same(pages, expected):
    assert [plain(page) for page in pages] == [plain(page) for page in expected]
    for name in FACTS:
        assert facts(pages, name) == facts(expected, name)
    for name in ("has_text", "has_tests"):
        assert flags(pages, name).tolist() == flags(expected, name).tolist() == facts(pages, name)
    for name in ("prompt", "stated_split"):
        assert values_of(pages, name) == values_of(expected, name) == set(facts(pages, name))
    for seed in (SPLIT_SEED, HALVES_SEED, 7):
        assert positions(pages, seed).tolist() == [position_of(document_of(page), seed) for page in expected]


def outcome(load, path, **options):
    """The pages, what was skipped, or the error."""
    skipped = []
    try:
        pages = load(path, **options | ({"skip": skipped.append} if options.get("skip") else {"skip": None}))
    except ValueError as error:
        return str(error), None, skipped
    return "", pages, skipped


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"prompt": "Read."},
        {"where": {"language": "de"}},
        {"where": {"n": ["3", "4", "5"], "language": "en"}},
        {"columns": {"id": "n"}},
    ],
)
def test_pages_are_those_that_reading_all_rows_gives(letters, indexed, options):
    pages, expected = indexed(letters, **options), load_pages(letters, **options)
    assert isinstance(pages, IndexedPages)
    assert not isinstance(expected, IndexedPages)
    same(pages, expected)
    for seed in (0, 1, 2):
        for validation in (0.3, 5, 0):
            for side, other in zip(
                split_pages(pages, validation, seed), split_pages(expected, validation, seed), strict=True
            ):
                same(side, other)


@pytest.mark.parametrize(
    ("rows", "passes"),
    [
        ([{"image": "a.png", "text": "x"}, {"image": "b.png", "text": "y"}], 1),
        ([{"image": "a.png", "text": "x", "n": 1}, {"image": "b.png", "text": "y", "m": 2}], 1),
        ([{"image": "a.png", "text": "x"}, {"image": "b.png", "text": "y", "prompt": "Read."}], 2),
        ([{"image": "a.png", "tests": [{"type": "present", "text": "Sir"}]}, {"image": "b.png", "text": "y"}], 2),
        ([{"images": "a.png", "text": "x"}, {"image": "b.png", "images": "a.png", "text": "y"}], None),
        ([{"text": "x"}, {"image": "b.png", "text": "y"}], None),
    ],
)
def test_the_first_row_says_which_columns_there_are_unless_others_bring_more(
    tmp_path, indexed, monkeypatch, rows, passes
):
    read = []
    for module in (index, problems):
        monkeypatch.setattr(module, "raw_lines", lambda file: (read.append(line) or line for line in raw_lines(file)))
    for name in "ab":
        draw(tmp_path / f"{name}.png")
    write_lines(tmp_path / "metadata.jsonl", rows)
    message, found, _ = outcome(indexed, tmp_path)
    times = len(read)
    error, expected, _ = outcome(load_pages, tmp_path)
    assert message == error
    if passes is None:
        assert not isinstance(found, IndexedPages)
    else:
        same(found, expected)
        assert isinstance(found, IndexedPages)
        assert times == 1 + passes * len(rows)  # and the first alone


def test_halves_joins_slices_and_look_ups_are_the_same(letters, indexed):
    pages, expected = indexed(letters), load_pages(letters)
    for half, other in zip(tuning_and_test(pages), tuning_and_test(expected), strict=True):
        same(half, other)
    same(joined(pages[20:], pages[:5][1:]), [*expected[20:], *expected[1:5]])
    assert by_id(pages)["7.png"].text == "Dear Sir 7"
    assert "70.png" not in by_id(pages)
    same(with_ids(pages, {"9.png", "2.png", "x"}), [expected[2], expected[9]])
    assert [page.id for page in next(epochs(pages, 8, 5, skip=4))] == [
        page.id for page in next(epochs(expected, 8, 5, skip=4))
    ]


def test_a_stated_split_is_used(letters, indexed):
    rows = [json.loads(line) for line in (letters / "metadata.jsonl").read_text().splitlines()]
    write_lines(
        letters / "metadata.jsonl", [row | {"split": ("train", "test", "dev")[i % 3]} for i, row in enumerate(rows)]
    )
    pages, expected = indexed(letters), load_pages(letters)
    for side, other in zip(split_pages(pages, 0.1, 0), split_pages(expected, 0.1, 0), strict=True):
        same(side, other)
    same(indexed(letters, split="dev"), load_pages(letters, split="dev"))


ROWS = st.lists(
    st.sampled_from(
        [
            {"file_name": "a.png", "text": "Dear"},
            {"file_name": "b.png", "text": "Sir", "doc": "d", "prompt": "Read <image>this", "split": "test"},
            {"file_name": "b.png", "text": "again"},
            {"file_name": "c.png"},
            {"file_name": "c.png", "text": ""},
            {"file_name": "c.png", "text": 7},
            {"file_name": "c.png", "tests": [{"type": "present", "text": "x"}, {"type": "presnt"}]},
            {"file_name": "c.png", "tests": [{"type": "present", "text": "x"}], "split": "train"},
            {"file_name": "gone.png", "text": "x"},
            {"file_name": "torn.png", "text": "x"},
            {
                "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "ok"}],
                "file_name": "d.png",
            },
            {"text": "no image"},
            "{not json\n",
            "[1]\n",
            "\n",
        ]
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=ROWS, labels=st.booleans(), skip=st.booleans(), split=st.sampled_from(["", "", "test"]), beside=st.booleans()
)
def test_messages_are_those_that_reading_all_rows_gives(tmp_path, indexed, rows, labels, skip, split, beside):
    for name in "abcd":
        if not (tmp_path / f"{name}.png").exists():
            draw(tmp_path / f"{name}.png")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    write_lines(tmp_path / "metadata.jsonl", rows)
    write_lines(tmp_path / "tests.jsonl", [TEST] if beside else [])
    options = {"labels": labels, "skip": skip, "split": split}
    (message, pages, skipped), (expected, others, left_out) = (
        outcome(load, tmp_path, **options) for load in (indexed, load_pages)
    )
    assert message == expected
    assert skipped == left_out
    if pages is not None:
        same(pages, others)


def test_the_index_is_kept_until_the_rows_or_the_options_change(letters, indexed, monkeypatch):
    built = []
    monkeypatch.setattr(
        index, "build_index", lambda *options, build=index.build_index: built.append(1) or build(*options)
    )
    for _ in range(2):
        same(indexed(letters), load_pages(letters))
    assert len(built) == 1
    indexed(letters, prompt="Read.")
    assert len(built) == 2
    with open(letters / "metadata.jsonl", "a") as file:
        file.write(json.dumps({"file_name": "1.png", "text": "new", "id": "x"}) + "\n")
    with pytest.raises(ValueError, match=r"metadata.jsonl:31: the page 1.png is already at .*metadata.jsonl:2$"):
        indexed(letters)
    (letters / "tests.jsonl").unlink()
    write_lines(letters / "metadata.jsonl", [{"file_name": "1.png", "text": "new"}])
    same(indexed(letters), load_pages(letters))
    damaged = next((letters / ".ocr-rl").glob("*/index.json"))
    for folder in (letters / ".ocr-rl").iterdir():
        (folder / damaged.name).write_text("{")
    same(indexed(letters), load_pages(letters))


def test_a_dataset_that_cannot_be_written_has_its_index_in_the_cache(letters, indexed, tmp_path):
    (letters / ".ocr-rl").write_text("in the way")
    same(indexed(letters), load_pages(letters))
    [kept] = (tmp_path / "cache" / "ocr-rl").iterdir()
    assert (kept / "offset.npy").exists()
    (tmp_path / "cache" / "ocr-rl").rename(tmp_path / "cache" / "other")
    (tmp_path / "cache" / "ocr-rl").write_text("in the way too")
    same(indexed(letters), load_pages(letters))


def test_an_image_that_is_removed_later_costs_its_page_only(letters, indexed):
    indexed(letters)
    (letters / "5.png").unlink()
    pages = indexed(letters)
    assert pages[4].image.size == (20, 30)
    with pytest.raises(ImageError, match=r"5.png, which does not exist"):
        pages[5].open_image()
    expected = load_pages(letters.parent / "letters", skip=lambda problem: None)
    assert pages[5].id == "5.png"
    assert "5.png" not in [page.id for page in expected]
    assert (pages[5].text, pages[5].metadata["doc"]) == ("Dear Sir 5", "d5")


def test_a_page_that_was_left_out_is_there_once_it_is_mended(letters, indexed):
    (letters / "5.png").write_bytes(b"no image")
    skipped = []
    assert len(indexed(letters, skip=skipped.append)) == 29
    assert len(skipped) == 1
    draw(letters / "5.png")
    assert len(indexed(letters, skip=skipped.append)) == 30
    assert len(skipped) == 1


def test_rows_that_change_while_they_are_read_are_an_error(letters, indexed):
    pages = indexed(letters)
    os.truncate(letters / "metadata.jsonl", 40)
    with pytest.raises(ValueError, match=r"metadata.jsonl: has changed since it was read"):
        pages[20]


def test_another_row_of_the_same_length_is_an_error_too(letters, indexed):
    pages = indexed(letters)
    content = (letters / "metadata.jsonl").read_text()
    (letters / "metadata.jsonl").write_text(content.replace("Dear Sir 7", "Dear Mrs 7"))
    assert pages[6].text == "Dear Sir 6"
    with pytest.raises(ValueError, match=r"metadata.jsonl: has changed since it was read; start again"):
        pages[7]


def test_without_a_home_an_index_can_still_be_kept_beside_the_file(letters, indexed, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(index.Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    same(indexed(letters), load_pages(letters))
    assert (letters / ".ocr-rl").is_dir()


def test_rewards_are_the_same_and_a_page_that_cannot_be_scored_is_named(letters, indexed):
    pages, expected = indexed(letters), load_pages(letters)
    one, other = RewardFunction(Rubric(), pages), RewardFunction(Rubric(), expected)
    for i in (0, 3, 8):
        assert one.prepared(pages[i]).score("Dear Sir 3", True) == other.prepared(expected[i]).score("Dear Sir 3", True)
    errors = []
    for some in (pages, expected):
        with pytest.raises(ValueError, match="cannot be scored") as caught:
            RewardFunction(Rubric({"pass_rate": 1.0}), some)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_thousand_pages_of_an_index_are_split_without_reading_a_row(tmp_path, indexed, monkeypatch):
    draw(tmp_path / "a.png")
    write_lines(tmp_path / "metadata.jsonl", [{"file_name": "a.png", "id": f"p{i}", "text": "x"} for i in range(1000)])
    pages = indexed(tmp_path, columns={"id": "id"})
    monkeypatch.setattr(index, "json_at", None)
    train, held_out = split_pages(pages, 0.1, 0)
    assert len(train) + len(held_out) == 1000
    assert len(set(facts(train, "digest"))) == len(train)
    assert Random(0).choice([train, held_out]).rows.dtype == np.int64


@settings(max_examples=30)
@given(
    st.text(),
    st.text(),
    st.none() | st.text(),
    st.lists(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.dates())),
)
def test_an_older_digest_is_that_of_one_json_list(id, prompt, text, tests):
    """Checkpoints of earlier versions hold it, so it stays what it is."""
    page = Page(id, lambda: None, prompt, text, tests)
    row = json.dumps([id, prompt, text, tests], sort_keys=True, default=str)
    assert older_digest_of(page) == hashlib.blake2b(row.encode(), digest_size=8).digest()


def test_a_digest_is_that_of_the_lengths_and_the_parts():
    """Checkpoints hold it, so it stays what it is."""

    def sha(content):
        return hashlib.sha256(content.encode()).digest()[:8]

    assert digest_of(Page("é.png", lambda: None)) == sha("5 0 -1 é.png")
    tests = [{"type": "present", "text": "Sir", "id": "t"}]
    page = Page("a.png", lambda: None, "Read.", "Dear Sir", tests)
    assert digest_of(page) == sha('5 5 8 a.pngRead.Dear Sir[{"id": "t", "text": "Sir", "type": "present"}]')
    assert digest_of(Page("a\ud800", lambda: None, text="")) != digest_of(Page("a\udfff", lambda: None, text=""))


PARTS = st.tuples(
    st.text("ab1 [", max_size=4),
    st.text("ab1 [", max_size=4),
    st.none() | st.text("ab1 [", max_size=4),
    st.sampled_from([(), ({"id": "a"},), ({"id": "b"},), ({"id": "a"}, {"id": "b"})]),
)


@given(PARTS, PARTS)
def test_digests_are_equal_only_if_all_parts_are(one, other):
    pages = [Page(id, lambda: None, prompt, text, tests) for id, prompt, text, tests in (one, other)]
    assert (digest_of(pages[0]) == digest_of(pages[1])) == (one == other)


@pytest.mark.parametrize("change", [{}, {"text": "Dear Mrs"}, {"prompt": "?"}, {"tests": []}, {"doc": "x"}])
@pytest.mark.parametrize("older", [False, True])
def test_a_record_of_either_version_is_compared_in_its_own_form(letters, indexed, older, change):
    pages = indexed(letters)
    assert recorded(pages[:3], pages[5:]) == {
        "page_digests": [digest_of(pages[i]).hex() for i in (0, 1, 2, *range(5, 30))]
    }
    record = {"page_hashes": [older_digest_of(page).hex() for page in pages]} if older else recorded(pages)
    rows = [json.loads(line) for line in (letters / "metadata.jsonl").read_text().splitlines()]
    write_lines(letters / "metadata.jsonl", [rows[0] | {"prompt": ""} | change, *rows[1:]])
    for load in (indexed, load_pages):
        before, now = as_recorded(record, *(load(letters)[part] for part in (slice(9), slice(9, None))))
        assert (before == now) == (change in ({}, {"doc": "x"}))
        assert before[1:] == now[1:]


PLAIN = {"file_name": "a.png", "text": "Dear"}


@pytest.mark.parametrize(
    ("row", "plain"),
    [
        (PLAIN, True),
        (PLAIN | {"text": " é\n"}, True),
        (PLAIN | {"doc": 1.0, "split": None}, True),
        (PLAIN | {"doc": float("nan"), "prompt": "Read."}, True),
        (PLAIN | {"id": "p/1"}, True),
        (PLAIN | {"id": None, "tests": None, "messages": None, "prompt": None}, True),
        (json.dumps(PLAIN) + "\r\n", True),
        ('{"text": "first", "text": "last", "file_name": "a.png"}', True),
        (PLAIN | {"text": "a\r\nb"}, False),
        (PLAIN | {"text": "\u2028\n "}, False),
        (PLAIN | {"text": "\ud800"}, False),
        (PLAIN | {"text": ["x"]}, False),
        (PLAIN | {"id": 7}, False),
        (PLAIN | {"id": True}, False),
        (PLAIN | {"prompt": "<image>\nRead."}, False),
        (PLAIN | {"prompt": 3}, False),
        (PLAIN | {"tests": []}, False),
        (PLAIN | {"file_name": "b.tif"}, False),
        (PLAIN | {"file_name": "./a.png"}, True),
        (PLAIN | {"file_name": "sub\\\\c.png"}, False),
        (PLAIN | {"file_name": "gone.png"}, False),
        (PLAIN | {"file_name": "sub"}, False),
        (PLAIN | {"file_name": ["a.png"]}, False),
        (PLAIN | {"file_name": "\x00.png"}, False),
        (PLAIN | {"file_name": "/a.png"}, False),
        (PLAIN | {"file_name": "tested.png"}, False),
        ("\ufeff" + json.dumps(PLAIN), False),
        (json.dumps(PLAIN) + "\x0c", False),
        (json.dumps(PLAIN) + json.dumps(PLAIN), False),
        (PLAIN | {"novel": 1}, False),
    ],
)
def test_a_plain_row_has_what_its_page_has_and_every_other_row_gets_a_closer_look(tmp_path, indexed, row, plain):
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/c.png", "tested.png", "b.tif"):
        draw(tmp_path / name)
    file = tmp_path / "metadata.jsonl"
    columns = {"file_name", "text", "id", "prompt", "tests", "messages", "doc", "split"}
    line = row if isinstance(row, str) else json.dumps(row)
    reader = reader_of(file, columns, {"id": "id"})
    read = plain_rows(reader, columns, {"tested.png"}, prompt="", labels=True)(line.encode())
    assert (read is not None) == plain
    first = dict.fromkeys(columns) | {"file_name": "tested.png", "id": "first", "text": "x"}
    write_lines(file, [first, line])
    options = {"columns": {"id": "id"}}
    (message, pages, _), (expected, others, _) = (outcome(load, tmp_path, **options) for load in (indexed, load_pages))
    assert message == expected
    if others is not None:
        same(pages, others)
    if read is not None:
        page = others[1]
        metadata = {name: value for name, value in read.metadata.items() if value is not None}
        assert repr((read[:3], metadata)) == repr(((page.id, page.prompt, page.text), page.metadata))


def test_a_text_may_be_missing_where_none_is_needed(tmp_path, indexed):
    draw(tmp_path / "a.png")
    reader = reader_of(tmp_path / "metadata.jsonl", {"file_name", "text"}, {})
    for labels in (False, True):
        read = plain_rows(reader, {"file_name", "text"}, (), prompt="Read.", labels=labels)(b'{"file_name": "a.png"}')
        assert (read is None) == labels
        assert labels or read == ("a.png", "Read.", None, {})
    same_column = reader_of(tmp_path / "metadata.jsonl", {"file_name", "text"}, {"id": "text"})
    assert len(set(same_column.roles.values())) == len(same_column.roles)
    same_column = reader_of(tmp_path / "metadata.jsonl", {"file_name", "text"}, {"id": "text", "text": "text"})
    read = plain_rows(same_column, {"file_name", "text"}, (), prompt="", labels=True)
    assert read(b'{"file_name": "a.png", "text": "x"}') is None
