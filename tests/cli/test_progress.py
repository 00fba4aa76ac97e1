"""Bars over pages: in a log, which no terminal watches, as lines with pages per second and time left."""

import re
import time

from ocr_rl.cli import progress
from ocr_rl.cli.progress import page_bar


def test_a_log_gets_a_line_from_time_to_time_with_the_rate_and_the_time_left(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_S", 0.01)
    with page_bar("reading", 3) as report:
        for done in (1, 2, 3):
            time.sleep(0.03)
            report(done)
    written = capsys.readouterr().err
    assert "\r" not in written
    assert re.search(r"^reading: +67%.* 2/3 \[00:00<00:00, .*page(/s)?\]$", written, re.MULTILINE)


def test_what_takes_less_than_a_minute_writes_nothing(capsys):
    assert list(progress.progress("checking")([1, 2, 3])) == [1, 2, 3]
    assert capsys.readouterr().err == ""


def test_items_of_unknown_number_are_counted(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_S", 0.0)
    assert list(progress.progress("checking")(iter("ab"))) == ["a", "b"]
    assert "checking: 2page" in capsys.readouterr().err
