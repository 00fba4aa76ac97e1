"""Whether confidences are true and find errors, by worked numbers and properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_rl.evaluation.confidence.measures import (
    errors_found,
    expected_calibration_error,
    measured,
    reliability,
)

CONFIDENCES = np.array([0.95, 0.95, 0.95, 0.95, 0.4, 0.4])
RIGHT = np.array([True, True, True, False, True, False])

some = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30).map(
    lambda pairs: (np.array([p for p, _ in pairs]), np.array([r for _, r in pairs]))
)


def test_calibration_error_by_hand():
    """4/6 |.75 - .95| + 2/6 |.5 - .4| = 1/6"""
    assert expected_calibration_error(CONFIDENCES, RIGHT) == pytest.approx(1 / 6)
    assert [row["units"] for row in reliability(CONFIDENCES, RIGHT)] == [2, 4]
    assert reliability(np.array([1.0]), np.array([True]))[0]["from"] == 0.9


def test_errors_found_by_hand():
    """The first two of six units are the unsure ones, with one of the two errors."""
    assert errors_found(CONFIDENCES, RIGHT, 2 / 6) == 0.5
    assert errors_found(CONFIDENCES, RIGHT, 1 / 6) == 0.25
    assert errors_found(CONFIDENCES, RIGHT, 4 / 6) == 0.75
    assert errors_found(CONFIDENCES, np.ones(6, dtype=bool), 0.1) == 1.0


def test_nothing_has_no_errors():
    assert measured(np.array([]), np.array([], dtype=bool))["ece"] == 0


@settings(max_examples=30)
@given(some)
def test_looking_at_everything_finds_everything_and_more_finds_more(pair):
    found = [errors_found(*pair, share) for share in (0.1, 0.5, 0.9, 1.0)]
    assert found == sorted(found)
    assert found[-1] == pytest.approx(1)


@settings(max_examples=30)
@given(some)
def test_the_same_confidence_everywhere_finds_as_much_as_chance(pair):
    _, right = pair
    if not right.all():
        assert errors_found(np.full(len(right), 0.5), right, 0.3) == pytest.approx(0.3)


@settings(max_examples=30)
@given(some)
def test_the_share_of_right_units_everywhere_is_calibrated(pair):
    _, right = pair
    assert expected_calibration_error(np.full(len(right), right.mean()), right) == pytest.approx(0)
