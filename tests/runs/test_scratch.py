"""Temporary folders: in use, closed, or left behind by a process that was killed."""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing

import pytest

from ocr_rl.runs.scratch import YOUNG_S, Scratch

LEFT = """
import os, signal
from ocr_rl.runs.scratch import Scratch
path = Scratch("test").path
(path / "file").write_text("")
print(path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def age(path):
    then = time.time() - 2 * YOUNG_S
    os.utime(path, (then, then))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_is_gone_when_it_is_closed(temporary):
    with closing(Scratch("test")) as scratch:
        (scratch.path / "file").write_text("")
        assert names(temporary) == [scratch.path.name]
    assert names(temporary) == []


def test_what_a_killed_process_left_is_removed_by_the_next_one(temporary):
    left = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True).stdout.strip()
    assert names(temporary) == [os.path.basename(left)]
    age(left)
    with closing(Scratch("other")):
        assert os.path.exists(left)
    with closing(Scratch("test")) as scratch:
        assert names(temporary) == [scratch.path.name]


def test_a_folder_in_use_stays_however_old_it_is(temporary):
    with closing(Scratch("test")) as first:
        age(first.path)
        with closing(Scratch("test")) as second:
            assert names(temporary) == sorted([first.path.name, second.path.name])


def test_a_folder_that_is_only_just_made_stays(temporary):
    (temporary / "ocr-rl-test-new").mkdir()
    with closing(Scratch("test")):
        assert (temporary / "ocr-rl-test-new").is_dir()
