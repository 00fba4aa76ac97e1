"""What keeps an output from being written is known before the work."""

from pathlib import Path

from ocr_verifiers.files.writable import file_trouble, folder_trouble

READ_ONLY = Path("/proc")
"""Nobody can make a file here, root included."""


def test_nothing_keeps_a_file_from_being_written(tmp_path):
    (tmp_path / "old.json").write_text("{}")
    assert file_trouble(tmp_path / "new.json") == file_trouble(tmp_path / "old.json") == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.json"]  # asking leaves nothing


def test_a_file_needs_a_folder_that_can_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    assert file_trouble(tmp_path / "no/out.json") == f"the folder {tmp_path}/no does not exist"
    assert file_trouble(tmp_path / "file/out.json") == f"the folder {tmp_path}/file is a file"
    assert file_trouble(READ_ONLY / "out.json").startswith("the folder /proc cannot be written to: ")


def test_what_is_there_must_be_a_file(tmp_path):
    assert file_trouble(tmp_path) == f"{tmp_path} is a folder; give the name of a file"
    assert file_trouble(Path("/dev/null")) == "/dev/null is no regular file; give the name of a file"


def test_a_name_that_is_too_long_is_no_name():
    assert file_trouble(Path("x" * 300)) == "File name too long"


def test_a_folder_is_there_or_can_be_made(tmp_path):
    assert folder_trouble(tmp_path) == folder_trouble(tmp_path / "a/b/c") == ""
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    assert folder_trouble(tmp_path / "file/a") == f"{tmp_path}/file is a file, not a folder"
    assert folder_trouble(READ_ONLY / "a").startswith("the folder /proc cannot be written to: ")
