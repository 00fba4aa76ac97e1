"""What all tests share. Where torch is loaded, tests run on one thread, on policies of 50,000 random weights.

Torch is imported inside the fixtures, so that the tests of the verifiers run without it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from helpers.html_tree import Tree
from helpers.parity import (  # noqa: F401  pytest finds them here
    parity,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is loaded, here and in what tests start

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


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seed():
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(0)


@pytest.fixture(params=["lighton", "qwen"])
def policy(request):
    """A fresh policy of each architecture: two tests per test."""
    from helpers.tiny_models import make_policy

    return make_policy(request.param)


@pytest.fixture
def saved(tmp_path):
    """A folder that holds a random LightOnOCR policy as Hugging Face saves it."""
    from helpers.tiny_models import make_policy

    make_policy("lighton").save(tmp_path / "policy")
    return tmp_path / "policy"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a policy and eight pages of noise, for runs of `ocr-rl train` (helpers.runs)."""
    from helpers.tiny_models import make_page, make_policy

    place = tmp_path_factory.mktemp("place")
    make_policy("lighton").save(place / "policy")
    (place / "pages").mkdir()
    rows = []
    for i in range(8):
        page = make_page(i, text="ab")
        page.image.save(place / "pages" / f"{page.id}.png")
        rows.append({"file_name": f"{page.id}.png", "text": page.text})
    (place / "pages" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return place


@pytest.fixture
def fresh(place):
    """Where a test's own run goes."""
    shutil.rmtree(place / "run", ignore_errors=True)
    return place / "run"
