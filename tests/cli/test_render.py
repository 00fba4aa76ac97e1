"""`ocr-rl render`: invented pages in the layout that `ocr-rl data check` reads."""

import json
from pathlib import Path

import pytest

from helpers.commands import refused, run


def test_rendered_pages_come_in_the_layout_that_data_check_reads():
    result = run("render", "pages", "--pages", "4", "--layout", "lines", "--layout", "table", "--headers", "1")
    assert result.stdout == "4 pages in pages\n"
    checked = run("data", "check", "pages", "--json", "report.json")
    assert checked.exit_code == 0
    assert checked.stdout.endswith("0 errors, 0 warnings\n")
    assert json.loads(Path("report.json").read_text())["pages"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--style", "baroque"], '--style is "baroque"; write one of clean, print, scan, carbon'),
        (["--lines", "6", "3"], "lines from 6 to 3; write the lower number, at least 1, and then the higher"),
        (["--characters", "0", "9"], "characters from 0 to 9; write the lower number, at least 1, and then the higher"),
        (["--layout", "spiral"], "Invalid value for '--layout': 'spiral' is not one of "),
        (["--pages", "0"], "Invalid value for '--pages': 0 is not in the range"),
        (["--headers", "2"], "Invalid value for '--headers': 2.0 is not in the range"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_in_what_to_render_writes_nothing(arguments, message):
    assert refused("render", "pages", *arguments).startswith(message)
    assert not Path("pages").exists()


def test_a_dataset_is_not_rendered_over(pages):
    assert refused("render", pages) == f"{pages} holds a dataset already; give another folder"


def test_a_file_is_no_folder_to_render_into():
    Path("notes.txt").write_text("")
    assert refused("render", "notes.txt").endswith("notes.txt is a file, not a folder")
