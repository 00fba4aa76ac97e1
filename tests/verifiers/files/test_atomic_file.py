"""Files that are written completely or not at all."""

import pytest

from ocr_verifiers import RecordError
from ocr_verifiers.files.jsonl import atomic_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def fail_after(content, path, error, **options):
    with atomic_file(path, **options) as file:
        file.write(content)
        raise error


def test_the_old_file_stays_until_the_new_one_is_complete(tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    with atomic_file(out) as file:
        file.write(b"new")
        file.flush()
        assert out.read_bytes() == b"old"
    assert out.read_bytes() == b"new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path, error):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    with pytest.raises(error):
        fail_after(b"new", out, error)
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize(("written", "left"), [(b"one line", ["out.part"]), (b"", [])])
def test_what_was_written_before_an_error_stays_if_that_is_wanted_and_there_is_any(tmp_path, written, left):
    with pytest.raises(KeyboardInterrupt):
        fail_after(written, tmp_path / "out", KeyboardInterrupt, keep_partial=True)
    assert names(tmp_path) == left


@pytest.mark.parametrize("keep_partial", [False, True])
def test_a_file_that_cannot_be_written_is_an_error_with_its_name(tmp_path, keep_partial):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file" / "out", tmp_path / "none" / "out"):
        with pytest.raises(RecordError, match=f"^{out}: cannot be written: "), atomic_file(out, keep_partial):
            pass
