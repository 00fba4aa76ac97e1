"""What all tests share."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from html_tree import Tree
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, whose children would not hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("ocr-rl", deadline=None)  # a busy machine is no failure
settings.load_profile("ocr-rl")


SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def real_data():
    """Real pages, which are no part of the repository: `OCR_RL_REAL_DATA` names their folder."""
    folder = Path(os.environ.get("OCR_RL_REAL_DATA", SHARED / "data" / "real"))
    if not folder.is_dir():
        # the pages are too large to ship, and not ours: without them there is nothing to compare with
        pytest.skip(f"no real data in {folder}; set OCR_RL_REAL_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def oracle() -> Callable[[str], dict]:
    """Reads what olmOCR itself decided, by file name; no part of the repository: `OCR_RL_ORACLE` names the folder."""
    folder = Path(os.environ.get("OCR_RL_ORACLE", SHARED / "oracle" / "olmocr"))
    if not folder.is_dir():
        # other people's pages and verdicts, which the repository may not hold
        pytest.skip(f"no verdicts of olmOCR in {folder}; set OCR_RL_ORACLE to their folder")
    return lambda name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Six rendered pages, for tests of commands."""
    from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection

    folder = tmp_path_factory.mktemp("data") / "pages"
    render_collection(folder, 6, seed=0, layouts=[Layout()], style=STYLES["clean"])
    return folder


@pytest.fixture
def browse(tmp_path):
    """Opens a report in headless Chromium, runs a script at its end: (the document then, the console's lines)."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        # a browser is no Python package; the same reports are read by html.parser everywhere
        pytest.skip("no Chromium to open the report with; Debian: apt install chromium")

    def open_in_browser(report, script=""):
        page = tmp_path / "opened.html"
        html = report.read_text(encoding="utf-8")
        page.write_text(html.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
        profile = tmp_path / "profile"
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
        run = subprocess.run(
            [chromium, *options, f"--user-data-dir={profile}", page.as_uri()], capture_output=True, timeout=120
        )
        console = [line for line in run.stderr.decode("utf-8", "replace").splitlines() if "CONSOLE" in line]
        return Tree(run.stdout.decode("utf-8")), console

    return open_in_browser
