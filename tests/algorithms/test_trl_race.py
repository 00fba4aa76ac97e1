"""The race against TRL runs: both contenders do the same work, and what is printed says so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"

pytestmark = pytest.mark.slow


def run(script, *options):
    """Standard output of a script that succeeds."""
    command = [sys.executable, str(BENCH / script), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_both_contenders_are_timed_after_their_gradients_agreed():
    shown = run("trl_step.py", "--group-sizes", "4", "--lengths", "8", "--steps", "1")
    assert re.findall(r"^\| 4 \| 8 \| \d+ \| (\w+) \|", shown, re.M) == ["TRL", "ours"]
    loss, gradient = map(float, re.search(r"loss off by (\S+), gradient by (\S+)", shown).groups())
    assert max(loss, gradient) <= 1e-4


def test_both_curves_start_from_the_same_error_rate_and_end_elsewhere():
    shown = run("trl_learning.py", "--steps", "3", "--pages", "2", "--group-size", "4", "--eval-pages", "8")
    (trl_first, trl_last), (our_first, our_last) = re.findall(r"(0\.\d+) \| (0\.\d+) \|$", shown, re.M)
    assert trl_first == our_first
    assert trl_last != trl_first
    assert our_last != our_first
