"""The list of oracles: what is compared is noted, what differs fails, and the run prints it."""

import math

import pytest
import torch

from helpers import parity
from helpers.parity import ParityTable, largest_difference


def test_the_largest_difference_of_all_that_was_compared_is_noted():
    """Differences 0.25 and 0.5 of a value and a gradient, 0.125 of the second comparison; 0 of another algorithm."""
    table = ParityTable()
    table.compare("B", "numbers", (torch.tensor(1.25), [2.0, 3.5]), (torch.tensor(1.0), [2.0, 3.0]), atol=0.5)
    table.compare("B", "numbers", {"weight": 1.0}, {"weight": 1.125}, atol=0.5)
    table.compare("A", "loss", 1.0, 1.0, atol=0.0)
    assert table.lines() == [
        "| algorithm | oracle  | largest difference |",
        "|-----------|---------|-------------------:|",
        "| A         | loss    |                  0 |",
        "| B         | numbers |            5.0e-01 |",
    ]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1])),
        (torch.tensor([1.0, math.nan]), torch.tensor([1.0, 2.0])),
        ((torch.tensor(1.0), torch.tensor(2.1)), (torch.tensor(1.0), torch.tensor(2.0))),
        ({"weight": torch.tensor(2.1)}, {"weight": torch.tensor(2.0)}),
    ],
)
def test_a_difference_above_the_tolerance_fails_and_is_noted_too(ours, theirs):
    table = ParityTable()
    with pytest.raises(AssertionError, match="are not close"):
        table.compare("A", "loss", ours, theirs, atol=0.05)
    assert table.largest["A", "loss"] > 0.05


def test_what_has_another_shape_or_a_name_more_is_not_the_same():
    for ours, theirs in ((torch.zeros(2, 1), torch.zeros(2, 3)), ({"a": 1.0, "b": 1.0}, {"a": 1.0})):
        with pytest.raises(AssertionError):
            ParityTable().compare("A", "loss", ours, theirs, atol=1.0)


def test_no_number_is_infinitely_far_from_a_number():
    assert largest_difference(math.nan, 1.0) == math.inf


def test_a_run_prints_the_table_if_it_compared_something(tmp_path, capsys):
    tests = tmp_path / "test_of_a_run.py"
    tests.write_text(
        "def test_one(parity):\n    parity('GRPO', 'somebody', 1.0, 1.5, atol=1)\n\ndef test_two():\n    pass\n"
    )

    def shown(test):
        assert pytest.main(["-q", "--rootdir", str(tmp_path), f"{tests}::{test}"], plugins=[parity]) == 0
        return capsys.readouterr().out

    assert "| GRPO      | somebody |            5.0e-01 |" in shown("test_one")
    assert "| algorithm" not in shown("test_two")
