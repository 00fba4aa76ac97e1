"""A file of rows is continued after an interruption: every page once, in order, made with the same settings."""

import json
from dataclasses import dataclass
from itertools import islice

import pytest

from ocr_rl.runs.jsonl_file import RowFile


@dataclass(frozen=True)
class P:
    id: str


SETTINGS = {"model": "tiny", "seed": 0, "where": {"level": ("line",)}}


def grow(path, names, limit=None, settings=SETTINGS):
    """Append rows for the pages that have none, at most `limit` of them."""
    with RowFile(path, settings) as file:
        for page in islice(file.rest(P(name) for name in names), limit):
            file.append({"id": page.id, "text": "é\u2028" + page.id} | ({"error": "x"} if page.id == "p3" else {}))
        return file.rows, file.errors


NAMES = [f"p{n}" for n in range(6)]


def test_a_file_that_was_truncated_at_any_byte_is_continued(tmp_path):
    assert grow(tmp_path / "whole.jsonl", NAMES) == (6, 1)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert [json.loads(line)["id"] for line in whole.decode("ascii").splitlines()] == NAMES
    path = tmp_path / "rows.jsonl"
    for length in range(len(whole) + 1):
        grow(path, NAMES, 0)
        path.write_bytes(whole[:length])
        assert grow(path, NAMES) == (6, 1)
        assert path.read_bytes() == whole


def test_a_finished_file_stays_unchanged_and_new_pages_are_appended(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES)
    before = path.read_bytes()
    assert grow(path, NAMES) == (6, 1)
    assert path.read_bytes() == before
    assert grow(path, [*NAMES, "p6"]) == (7, 1)
    assert path.read_bytes().startswith(before)


def test_a_damaged_last_line_as_after_a_power_cut_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    whole = path.read_bytes()
    for tail in (b"\0" * 100, b"\0" * 100 + b"\n", b'{"id": "p2"}', b"[]\n"):
        path.write_bytes(whole + tail)
        assert grow(path, NAMES, 0) == (2, 0)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SETTINGS | {"seed": 1}, "was made with seed = 0, this run has 1; write the same, or give another --out"),
        (SETTINGS | {"limit": 3}, "was made with limit = null, this run has 3; write the same, or give another --out"),
        ({"model": "tiny", "seed": 0}, r'was made with where = {"level": ["line"]}, this run has null; '),
    ],
)
def test_a_file_that_was_made_with_other_settings_is_not_changed(tmp_path, settings, message):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"rows.jsonl was made") as error:
        grow(path, NAMES, settings=settings)
    assert str(error.value).startswith(f"{path} {message}")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_file_of_another_program_is_not_changed(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "p0"}\n')
    with pytest.raises(ValueError, match=r"no rows.settings.json says how it was made; give another --out"):
        grow(path, NAMES)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]
    (tmp_path / "rows.settings.json").write_text("[")
    with pytest.raises(ValueError, match="is damaged; give another --out"):
        grow(path, NAMES)
    assert path.read_text() == '{"id": "p0"}\n'


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["p0", "new", "p1"], "rows.jsonl:2: is of 'p1', but the page is 'new': the data has changed; give another"),
        (["p0"], "rows.jsonl:2: is of 'p1', but there are no more pages: the data has changed; give another --out"),
        (["a0"], "rows.jsonl:1: is of 'p0', but the page is 'a0': the data has changed; give another --out"),
    ],
)
def test_pages_that_do_not_match_the_rows_are_an_error(tmp_path, names, message):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"rows.jsonl:") as error:
        grow(path, names)
    assert message in str(error.value)
    assert path.read_bytes() == before


def test_damage_before_the_last_line_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 3)
    damaged = path.read_bytes().replace(b'"id": "p1"', b'"id": p1')
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"rows.jsonl:2: is damaged; give another --out"):
        grow(path, NAMES)
    assert path.read_bytes() == damaged


def test_two_processes_cannot_write_one_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    with RowFile(path, SETTINGS), pytest.raises(ValueError, match="is being written by another process"):
        grow(path, NAMES)
    assert grow(path, NAMES) == (6, 1)


def test_an_error_before_the_first_row_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="no such model"), RowFile(tmp_path / "rows.jsonl", SETTINGS):
        raise ValueError("no such model")
    assert list(tmp_path.iterdir()) == []
    grow(tmp_path / "rows.jsonl", NAMES, 0)
    assert grow(tmp_path / "rows.jsonl", NAMES, settings={"model": "other"}) == (6, 1)
