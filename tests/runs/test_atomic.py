"""Files and folders are complete or absent, whatever happens while they are written."""

import errno

import pytest

from ocr_rl.runs.atomic import addressed, atomic_file, atomic_folder, delete_folder, write_atomically


def names(folder):
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))


def test_a_file_appears_when_the_block_ends(tmp_path):
    with atomic_file(tmp_path / "a.jsonl") as file:
        file.write("{}\n")
        assert names(tmp_path) == ["a.jsonl.partial"]
    assert names(tmp_path) == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "{}\n"


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_atomically(tmp_path / "a.json", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(tmp_path / "a.json", "new \ud800")
    with pytest.raises(TypeError), atomic_file(tmp_path / "a.json") as file:
        file.writelines(["half", None])
    assert (tmp_path / "a.json").read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_a_folder_appears_when_the_block_ends_without_what_a_kill_left(tmp_path):
    (tmp_path / "pages.partial" / "old").mkdir(parents=True)
    with atomic_folder(tmp_path / "pages") as folder:
        (folder / "images").mkdir()
        (folder / "images" / "a.png").write_bytes(b"a")
        assert not (tmp_path / "pages").exists()
    assert names(tmp_path) == ["pages", "pages/images", "pages/images/a.png"]


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(UnicodeEncodeError), atomic_folder(tmp_path / "pages") as folder:
        (folder / "a.txt").write_text("a \ud800", encoding="utf-8")
    assert names(tmp_path) == []


def test_a_folder_never_replaces_files_that_are_there(tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "mine.txt").write_text("mine")
    with pytest.raises(OSError, match="not empty"), atomic_folder(tmp_path / "pages") as folder:
        (folder / "a.png").write_bytes(b"a")
    assert names(tmp_path) == ["pages", "pages/mine.txt"]


def test_a_deleted_folder_is_renamed_first(tmp_path, monkeypatch):
    (tmp_path / "step").mkdir()
    monkeypatch.setattr("ocr_rl.runs.atomic.shutil.rmtree", lambda path: None)  # killed while deleting
    delete_folder(tmp_path / "step")
    assert names(tmp_path) == ["step.deleted"]


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as full, addressed(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert full.value.filename == str(tmp_path / "a.json")
