"""`scripts/bench/reference_earns_most.py` counts the examples, and finds one that earns more."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[3] / "scripts" / "bench" / "reference_earns_most.py"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("reference_earns_most", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_examples_are_counted_and_all_rubrics_are_tried(script):
    parts = list(script.parts(["default", "ledger"], 300, 7))
    assert [(part.rubric, part.examples) for part in parts] == [
        ("default", 250),
        ("ledger", 250),
        ("default", 50),
        ("ledger", 50),
    ]
    assert len({part.seed for part in parts}) == 4
    outcome = script.tried(parts[0]._replace(examples=5))
    assert (outcome.examples, outcome.violation) == (5, "")


def test_the_smallest_page_that_earns_more_is_reported(script, monkeypatch):
    """Under a rubric that pays for length, one letter more does."""
    monkeypatch.setattr(script, "rewards", lambda name, page, other: (1.0, 1.0 + (len(other) > len(page))))
    outcome = script.tried(script.Part("default", "0", 250))
    assert re.fullmatch(r"the page '.?' earns 1.0, and '..?' earns 2.0", outcome.violation)
    assert outcome.examples < 250


def test_a_true_page_that_does_not_earn_all_is_reported(script, monkeypatch):
    monkeypatch.setattr(script, "rewards", lambda name, page, other: (0.5, 0.5))
    assert "earns 0.5, and" in script.tried(script.Part("default", "0", 10)).violation
