"""Curves as SVG: what is drawn where."""

import math
import re
from itertools import chain, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ocr_rl.reporting.charts.axes import SMOOTHED_FROM, axis_ticks, number, running_mean
from ocr_rl.reporting.charts.curve import Point, curve

FINITE = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-9)


def drawn(svg, kind):
    """The elements of a class."""
    return [element for element in ElementTree.fromstring(svg) if element.get("class") == kind]


def corners(path):
    """The points of a path, one list per unbroken run."""
    return [[tuple(map(float, pair.split(","))) for pair in run.split()] for run in path.get("d").split("M")[1:]]


def points(*values, first=1):
    return [Point(first + i, value) for i, value in enumerate(values)]


def test_a_line_goes_from_the_first_step_to_the_last_between_the_outermost_ticks():
    """0 to 1 over steps 1 to 3 in a frame of 320 x 170, with 42 + 10 beside and 8 + 20 above and below it."""
    (line,) = drawn(curve("reward", points(0.0, 0.5, 1.0)), "line")
    assert corners(line) == [[(42, 150), (176, 79), (310, 8)]]


def test_a_missing_step_is_a_gap():
    line = [Point(1, 0.0), Point(2, 1.0), Point(4, 0.0), Point(5, 1.0)]
    (path,) = drawn(curve("cer", line), "line")
    assert [len(run) for run in corners(path)] == [2, 2]


def test_what_is_not_finite_is_a_gap_too_and_a_lonely_step_is_a_dot():
    svg = curve("loss", points(0.0, math.nan, 1.0, math.inf))
    assert [e.tag for e in drawn(svg, "line")] == ["circle", "circle"]


def test_without_any_value_there_is_no_picture():
    assert curve("kl", []) == curve("kl", points(math.nan)) == ""


def test_held_out_points_lie_on_the_same_axes_with_their_intervals():
    """Step 0 is before training; 0.25 lies a quarter up the 142 pixels between 0 and 1, its interval from 0 to 0.5."""
    svg = curve("cer", points(0.0, 1.0), [Point(0, 0.25, (0.0, 0.5))])
    (dot,) = drawn(svg, "held-out")
    assert (float(dot.get("cx")), float(dot.get("cy"))) == (42, 114.5)
    (interval,) = drawn(svg, "interval")
    assert interval.get("d") == "M42.0,150.0 V79.0"
    assert corners(drawn(svg, "line")[0])[0][0] == (176, 150)


def test_many_steps_are_pale_under_their_running_mean():
    few, many = (curve("reward", points(*[0.0, 1.0] * (n // 2))) for n in (SMOOTHED_FROM - 2, SMOOTHED_FROM))
    assert [len(drawn(few, kind)) for kind in ("raw", "line")] == [0, 1]
    assert [len(drawn(many, kind)) for kind in ("raw", "line")] == [1, 1]


def test_a_running_mean_takes_the_neighbours_that_there_are():
    assert running_mean([0.0, 3.0, 6.0, 0.0], 3) == [1.5, 3.0, 3.0, 3.0]


def test_the_curve_has_an_alt_text_and_its_name_is_escaped():
    svg = curve('a"<b', points(0.3, 0.2, 0.1), [Point(0, 0.29)])
    alt_text = 'a"<b: 0.3 at step 1, 0.1 at step 3; held out 0.29 at step 0'
    assert ElementTree.fromstring(svg).get("aria-label") == alt_text


@pytest.mark.parametrize(
    ("low", "high", "share", "ticks"),
    [
        (0.0, 1.0, True, [0, 0.5, 1]),
        (0.12, 0.38, False, [0.1, 0.2, 0.3, 0.4]),
        (0.5, 0.501, True, [0.45, 0.5, 0.55, 0.6]),
        (0.99, 1.0, True, [0.9, 0.95, 1]),  # nothing above 1
        (0.0, 0.0, True, [0, 0.05, 0.1]),  # nothing below 0
        (0.0, 0.0, False, [0, 0.5, 1]),
        (2e-4, 2e-4, False, [1e-4, 1.5e-4, 2e-4, 2.5e-4, 3e-4]),
        (900.0, 3100.0, False, [0, 1000, 2000, 3000, 4000]),
        (-0.03, 0.05, False, [-0.04, -0.02, 0, 0.02, 0.04, 0.06]),
    ],
)
def test_ticks_are_round_and_hold_the_values(low, high, share, ticks):
    assert axis_ticks(low, high, share) == pytest.approx(ticks)


@given(FINITE, FINITE, st.booleans())
def test_ticks_are_few_evenly_spaced_and_around_the_values(one, other, share):
    low, high = sorted((one, other))
    assume(low == high or high - low > 1e-6 * max(abs(low), abs(high)))
    ticks = axis_ticks(low, high, share)
    assert 2 <= len(ticks) <= 6
    slack = 1e-6 * (ticks[-1] - ticks[0])
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    gaps = [b - a for a, b in pairwise(ticks)]
    assert max(gaps) - min(gaps) <= slack + 1e-12


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=30), st.booleans())
def test_any_numbers_give_a_picture_inside_its_frame(values, share):
    values = [v if not math.isfinite(v) else max(-1e12, min(1e12, round(v, 6))) for v in values]
    svg = curve("x", points(*values), share=share, size=(210, 120))
    assert bool(svg) == any(map(math.isfinite, values))
    for path in drawn(svg, "line") if svg else []:
        places = chain(*corners(path)) if path.tag == "path" else [(float(path.get("cx")), float(path.get("cy")))]
        assert all(42 <= x <= 200 and 7.9 <= y <= 100.1 for x, y in places)


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (3000.4, "3,000"), (1.5e-4, "1.5e-4"), (1e-6, "1e-6"), (0, "0"), (-0.5, "-0.5")]
)
def test_numbers_are_short(value, text):
    assert number(value) == text
    assert re.fullmatch(r"[-\d.,e]+", text)
