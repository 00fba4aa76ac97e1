"""Steps that teach nothing."""

import pytest

from ocr_rl.runs.idle_steps import CUT_OFF, EMPTY, EQUAL, NO_GRADIENT, IdleSteps, Stretch, lasting, reason_of

GOOD = {"truncated_fraction": 0.5, "completion_length": 9.0, "reward_std": 0.1, "grad_norm": 0.3}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"reward_std": None}, None),
        ({"grad_norm": 0.0}, NO_GRADIENT),
        ({"reward_std": 0.0, "grad_norm": 0.0}, EQUAL),
        ({"truncated_fraction": 1.0, "reward_std": 0.0, "grad_norm": 0.0}, CUT_OFF),
        ({"truncated_fraction": 0.0, "completion_length": 1.0, "reward_std": 0.0}, EMPTY),
        ({"truncated_fraction": 1.0, "completion_length": 1.0}, CUT_OFF),
    ],
)
def test_the_reason_is_the_first_cause(changes, reason):
    assert reason_of(GOOD | changes) == reason


def test_a_step_without_such_metrics_teaches_something():
    assert reason_of({"step": 1, "loss": 0.1}) is None


def rows(spreads):
    return [GOOD | {"step": step, "reward_std": spread} for step, spread in enumerate(spreads, 1)]


def test_a_stretch_lasts_from_its_third_step():
    watch = IdleSteps()
    assert [watch.add(row) for row in rows([0, 0, 0, 0, 0.1])] == [
        None,
        None,
        Stretch(EQUAL, 1, 3),
        Stretch(EQUAL, 1, 4),
        None,
    ]


def test_each_lasting_stretch_is_found_once():
    assert lasting(rows([0, 0, 0.1, 0, 0, 0, 0, 0.1, 0, 0, 0])) == [Stretch(EQUAL, 4, 7), Stretch(EQUAL, 9, 11)]
