"""The processes of a comparison: none outlives it, and an error of one ends the others."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Thread

import psutil
import pytest

from ocr_rl.comparison.children import Children
from ocr_rl.comparison.plan import Trial
from ocr_rl.comparison.trial_runs import run_trials
from ocr_rl.config.loader import load_recipe

LONG = ["render", "pages", "--pages", "100000"]
PROGRAM = f"""
from pathlib import Path
from ocr_rl.comparison.children import Children

Children().run({LONG}, Path("log"), {{}})
"""


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_command_is_run_to_its_end_and_writes_into_its_log(here):
    assert Children().run(["--version"], here / "log", {}) == 0
    assert (here / "log").read_text().startswith("ocr-rl, version ")


def test_all_are_stopped_and_no_other_is_started(here):
    children, codes = Children(), []
    threads = [Thread(target=lambda n=n: codes.append(children.run(LONG, here / f"{n}", {}))) for n in (1, 2)]
    for thread in threads:
        thread.start()
    until(lambda: len(children._running) == 2)
    assert children.stop() == 2
    for thread in threads:
        thread.join(60)
    assert codes == [-signal.SIGTERM] * 2
    assert children.run(["--version"], here / "never", {}) == -signal.SIGTERM
    assert not (here / "never").read_text()


def test_a_killed_comparison_leaves_no_living_child(here):
    parent = subprocess.Popen([sys.executable, "-c", PROGRAM])
    pages = here / "pages" / "images"
    until(pages.is_dir)  # the child is at work
    [child] = psutil.Process(parent.pid).children()
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_an_error_of_one_run_ends_those_beside_it_at_once(here, pages, capsys):
    recipe = load_recipe("grpo", [f"data.path={pages}", "data.validation=0.4", "train.steps=100000"])
    trials = [
        Trial("long", "seed_0", recipe, here / "long/seed_0"),
        Trial("bad", "seed_0", replace(recipe, data=replace(recipe.data, path="nowhere")), here / "bad/seed_0"),
    ]
    before = psutil.Process().children()  # those of other tests, such as multiprocessing's
    with pytest.raises(ValueError, match=r"^bad, seed_0: nowhere: no such file or folder"):
        run_trials(trials, 2, lambda trial: None, lambda trial: None)
    assert "nowhere: no such file or folder\nstopping the runs beside it (1)" in capsys.readouterr().out
    assert set(psutil.Process().children()) <= set(before)
    assert Path("long/seed_0.log").exists()
