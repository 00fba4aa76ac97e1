"""Runs that end when their evaluations have stopped getting better."""

import pytest

from ocr_rl.config.schema import TrainConfig
from ocr_rl.runs.patience import Patience


def rows(name, *values):
    return [{} if value is None else {f"eval/{name}": value} for value in values]


@pytest.mark.parametrize(
    ("patience", "values", "at_end"),
    [
        (2, (0.3, 0.2, 0.2), False),  # an equal one is not better
        (2, (0.3, 0.2, 0.2, 0.25), True),
        (2, (0.3, 0.4, None, None, 0.29, 0.31), False),  # steps without an evaluation do not count
        (1, (0.3,), False),  # the first has nothing to be better than
        (1, (0.3, 0.3), True),
        (0, (0.3, 0.3, 0.3), False),
    ],
)
def test_patience_counts_evaluations_that_are_not_better_than_the_best(patience, values, at_end):
    assert Patience(TrainConfig(patience=patience), rows("cer", *values)).at_end == at_end


def test_the_metric_is_that_of_keep_best_or_the_first_that_the_pages_have():
    falling = rows("reward", 0.5, 0.4)
    assert Patience(TrainConfig(patience=1), falling).at_end
    both = [{**one, "eval/cer": cer} for one, cer in zip(falling, (0.3, 0.2), strict=True)]
    assert not Patience(TrainConfig(patience=1), both).at_end
    assert Patience(TrainConfig(patience=1, keep_best="reward", eval_every=1), both).at_end


def test_a_metric_that_no_page_has_is_passed_over():
    found = [{"eval/cer": None, "eval/pass_rate": rate} for rate in (0.5, 0.5)]
    assert Patience(TrainConfig(patience=1), found).at_end
