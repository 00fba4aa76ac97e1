"""Plots of several algorithms as SVG: what is drawn where, and that fourteen can be distinguished."""

import math
import re
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.html_tree import Tree
from ocr_rl.reporting.charts.series import (
    LOOKS,
    MAX_LABEL,
    MAX_MARKERS,
    TONES,
    Estimate,
    Reading,
    Series,
    forest,
    label_places,
    legend,
    mean_over_seeds,
    plot,
    smoothed,
    spread,
)

NUMBERS = st.integers(-1_000_000, 1_000_000).map(lambda n: n / 1000)


def exact(*places):
    """Readings of a single seed."""
    return [Reading(x, value, value, value) for x, value in places]


def elements(svg, kind):
    """The elements that have a class."""
    return [e for e in ElementTree.fromstring(svg).iter() if kind in e.get("class", "").split()]


def lines(svg):
    """The corners of each series' line."""
    paths = [e for trace in elements(svg, "trace") for e in trace if e.get("class") is None]
    return [[tuple(map(float, pair.split(","))) for pair in path.get("d")[1:].split()] for path in paths]


def markers(svg):
    """Where markers are, one list for each series."""
    found = [[e.get("transform") for e in trace if e.get("class")] for trace in elements(svg, "trace")]
    return [[tuple(map(float, re.findall(r"[-\d.]+", place))) for place in own] for own in found]


def colours(css, after=""):
    """The variables of a style sheet, of the first block that follows `after`."""
    text = "".join((files(package) / "report.css").read_text() for package in css)
    blocks = re.findall(re.escape(after) + r"\s*:root \{(.*?)\}", text, re.DOTALL)
    return dict(re.findall(r"(--[\w-]+):\s*(#\w+)", "".join(blocks)))


def luminance(colour):
    """WCAG 2.2, of #rgb or #rrggbb."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    shares = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_fourteen_markers_differ_without_colour_or_dashes_and_so_do_colours_with_dashes():
    assert len(LOOKS) == len({(look.shape, look.hollow) for look in LOOKS}) == 14
    assert len({(look.tone, look.dash) for look in LOOKS}) == 14
    assert {look.tone for look in LOOKS} == set(range(TONES))


def test_neighbours_in_the_legend_differ_in_colour_dash_and_shape():
    for one, other in pairwise(LOOKS):
        assert one.tone != other.tone
        assert one.dash != other.dash
        assert one.shape != other.shape


def test_every_colour_is_seen_on_its_paper():
    """3:1 is what WCAG 2.2 asks of graphics; text of the same colour stands beside its line."""
    both = ("ocr_verifiers.bench", "ocr_rl.reporting")
    light = colours(both[:1], "}") | colours(both[1:], "darker. */")
    light |= {"--card": "#fff", "--ink": "#1f1f1c"}
    dark = light | colours(both, "(prefers-color-scheme: dark) {")
    assert dark["--card"] == "#1f1f1c"
    for scheme in (light, dark):
        tones = [scheme["--ink"], *(scheme[f"--tone-{i}"] for i in range(1, TONES))]
        assert min(contrast(tone, scheme["--card"]) for tone in tones) >= 3
        assert len(set(tones)) == TONES


def test_seeds_are_averaged_row_by_row_with_their_range():
    """Their rows lie at different seconds: the mean of 2 and 4 at the mean of 10 and 14."""
    rows = {
        "0": [{"step": 0, "s": 0, "cer": 5.0}, {"step": 1, "s": 5, "cer": None}, {"step": 2, "s": 10, "cer": 2.0}],
        "1": [{"step": 0, "s": 0, "cer": 5.0}, {"step": 1, "s": 7}, {"step": 2, "s": 14, "cer": 4.0}],
        "2": [{"step": 0, "s": 0, "cer": math.nan}],
    }
    assert mean_over_seeds(rows, "s", "cer") == [Reading(0, 5.0, 5.0, 5.0), Reading(12, 3.0, 2.0, 4.0)]
    assert mean_over_seeds(rows, "s", "kl") == mean_over_seeds({}, "s", "cer") == []


def test_of_a_seed_with_more_rows_as_many_are_taken_the_first_and_the_last_with_them():
    """A budget of time ends after 3 steps with one seed and after 5 with the other: steps 1, 3 and 5 of that."""
    rows = {seed: [{"step": i, "x": i, "y": 10.0 * i} for i in range(1, n + 1)] for seed, n in (("0", 3), ("1", 5))}
    assert mean_over_seeds(rows, "x", "y") == [Reading(1, 10, 10, 10), Reading(2.5, 25, 20, 30), Reading(4, 40, 30, 50)]


def test_a_running_mean_takes_the_neighbours_that_there_are():
    assert [r.value for r in smoothed(exact((1, 0.0), (2, 3.0), (3, 6.0), (4, 0.0)), 3)] == [1.5, 3.0, 3.0, 3.0]


def test_a_line_goes_between_the_outermost_values_in_the_frame():
    """0 to 1 over 0 to 200; 42 + 12 beside, 22 + 32 above and below, in 360 x 230."""
    svg = plot("CER", "completions", [Series("grpo", 0, exact((0, 0.0), (100, 0.5), (200, 1.0)))], labelled=False)
    assert lines(svg) == [[(42, 198), (195, 110), (348, 22)]]
    assert [e.text for e in elements(svg, "title") + elements(svg, "axis")] == ["CER", "completions"]
    assert [e.text for e in ElementTree.fromstring(svg).iter() if e.get("text-anchor") == "end"] == ["0", "0.5", "1"]


def test_the_range_of_the_seeds_is_a_band_from_the_highest_to_the_lowest():
    readings = [Reading(0, 0.5, 0.0, 1.0), Reading(1, 0.5, 0.25, 0.75)]
    (band,) = elements(plot("CER", "x", [Series("grpo", 0, readings)], labelled=False), "range")
    assert band.get("d") == "M42,22 348,66 348,154 42,198Z"
    assert elements(plot("CER", "x", [Series("grpo", 0, exact((0, 0.0), (1, 1.0)))]), "range") == []


def test_one_reading_is_a_marker_and_none_is_no_picture():
    svg = plot("CER", "x", [Series("grpo", 0, exact((7, 0.5))), Series("sft", 1, [])], labelled=False)
    assert lines(svg) == []
    assert markers(svg) == [[(195, 110)]]
    assert plot("CER", "x", [Series("sft", 1, [])]) == plot("CER", "x", []) == ""


def test_series_of_different_lengths_share_the_axes():
    long, short = exact(*((x, 0.5) for x in range(11))), exact((0, 0.0), (5, 1.0))
    first, second = lines(plot("CER", "x", [Series("a", 0, long), Series("b", 1, short)], labelled=False))
    assert [x for x, _ in second] == [42, 195]
    assert (first[0], first[5][0], first[-1]) == ((42, 110), 195, (348, 110))


def test_few_markers_lie_on_a_line_the_last_always_and_neighbours_at_other_places():
    readings = exact(*((x, 0.5) for x in range(24)))
    first, second = markers(plot("CER", "x", [Series("a", 0, readings), Series("b", 1, readings)], labelled=False))
    assert 3 <= len(first) <= MAX_MARKERS + 1
    assert first[-1] == second[-1] == (348, 110)
    assert not set(first[:-1]) & set(second[:-1])


def test_a_series_looks_the_same_in_line_marker_label_and_legend():
    svg = plot("CER", "x", [Series("grpo", 9, exact((0, 0.0), (1, 1.0)))])
    (trace,), (label,) = elements(svg, "trace"), elements(svg, "name")
    swatch = legend({"grpo": 9})
    assert label.text == "grpo"
    tone = f"tone-{LOOKS[9].tone}"
    assert tone in trace.get("class")
    assert tone in label.get("class")
    assert tone in swatch
    for part in (f'stroke-dasharray="{LOOKS[9].dash}"', f'd="{LOOKS[9].shape}"', "mark hollow"):
        assert part in svg
        assert part in swatch


def test_names_at_one_height_are_moved_apart_and_led_to_their_lines():
    ends = [Series(name, i, exact((0, 0.0), (1, 0.5))) for i, name in enumerate(("a", "b", "c"))]
    svg = plot("CER", "x", [*ends, Series("d", 3, exact((0, 0.0), (1, 1.0)))])
    heights = [float(e.get("y")) - 3.5 for e in elements(svg, "name")]
    assert heights == [99, 110, 121, 22]
    assert len(elements(svg, "leader")) == 2


def test_names_that_find_no_room_are_left_to_the_legend():
    """From 8 to 118 of 150 pixels there are eleven places 11 apart, and not fourteen."""
    series = [Series(f"r{i}", i, exact((0, 0.0), (1, i / 13))) for i in range(14)]
    named = [e.text for e in elements(plot("CER", "x", series, size=(360, 150)), "name")]
    assert named == []
    assert len(elements(plot("CER", "x", series), "name")) == 14


def test_long_names_are_cut_beside_the_line_and_whole_in_the_legend_and_in_words():
    name = "a-recipe-with-a-very-long-name"
    svg = plot("CER", "x", [Series(name, 0, exact((0, 0.0), (1, 1.0)))])
    (label,) = elements(svg, "name")
    assert (len(label.text), label.text[-1]) == (MAX_LABEL, "…")
    assert name in legend({name: 0})
    assert name in ElementTree.fromstring(svg).get("aria-label")


def test_a_plot_has_an_alt_text_and_names_are_escaped():
    series = [Series('a"<b', 0, exact((0, 0.29), (6144, 0.1))), Series("c", 1, exact((0, 0.5)))]
    svg = plot('C"<', "completions", series)
    alt_text = 'C"< over completions: a"<b 0.29 at 0, 0.1 at 6,144; c 0.5 at 0'
    assert ElementTree.fromstring(svg).get("aria-label") == alt_text
    assert Tree(legend({'a"<b': 0})).all("li")[0]["text"] == 'a"<b'
    assert 'a"<b 0.5' in ElementTree.fromstring(forest("x", [Estimate('a"<b', 0, 0.5, None)])).get("aria-label")


def test_a_forest_has_a_row_for_each_estimate_on_one_axis():
    """Names of three letters take 12 + 3 x 5.8 of 360 pixels, 16 are left at the right: 0.5 lies in the middle."""
    rows = [Estimate("one", 0, 0.5, (0.0, 1.0)), Estimate("two", 1, 0.0, None)]
    svg = forest("CER", rows, start=1.0)
    assert markers(svg) == [[], [(186.7, 40.5)], [(29.4, 57.5)]]
    (bar,) = [e for trace in elements(svg, "trace") for e in trace if e.get("class") is None]
    assert bar.get("d").startswith("M29.4,40.5 H344.0 ")
    (line,) = elements(svg, "start")
    assert line.get("d").startswith("M344.0,")
    label = ElementTree.fromstring(svg).get("aria-label")
    assert label == "CER: one 0.5 (0 to 1); two 0; start 1"
    assert forest("CER", []) == ""


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ([0, 20, 40], [0, 20, 40]),
        ([50, 50], [45, 55]),
        ([50, 52, 54], [42, 52, 62]),
        ([0, 0], [0, 10]),  # nothing above the top
        ([100, 100, 100], [80, 90, 100]),  # nothing below the bottom
        ([10, 50, 51], [10, 45.5, 55.5]),
        ([1] * 12, []),  # 11 gaps of 10 are more than 100
        ([], []),
    ],
)
def test_labels_are_spread_as_little_as_can_be(wanted, places):
    assert spread(wanted, 10, 0, 100) == places


@given(st.lists(st.floats(0, 100), max_size=12).map(sorted), st.floats(1, 20))
def test_spread_labels_keep_their_order_their_distance_and_the_frame(wanted, gap):
    places = spread(wanted, gap, 0, 100)
    assert bool(places) == bool(wanted and (len(wanted) - 1) * gap <= 100)
    assert all(b - a >= gap - 1e-9 for a, b in pairwise(places))
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in places)


@given(st.lists(st.tuples(st.floats(40, 300), st.floats(20, 200), st.text("abc", min_size=1, max_size=9)), max_size=14))
def test_no_two_labels_overlap(ends):
    boxes = [
        (x, y, x + 5.8 * len(text), y + 11)
        for (x, _, text), y in zip(ends, label_places(ends, 8, 210), strict=True)
        if y is not None
    ]
    for i, (left, top, right, bottom) in enumerate(boxes):
        for other_left, other_top, other_right, other_bottom in boxes[:i]:
            beside = right < other_left or other_right < left
            assert beside or bottom <= other_top + 1e-6 or other_bottom <= top + 1e-6


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), max_size=12), min_size=1, max_size=14),
    st.booleans(),
    st.booleans(),
)
def test_any_numbers_of_one_to_fourteen_series_give_a_picture_inside_its_frame(rows, share, labelled):
    series = [
        Series(f"r{i}", i, [Reading(x, min(a, b), min(a, b), max(a, b)) for x, a, b in sorted(own)])
        for i, own in enumerate(rows)
    ]
    svg = plot("x", "y", series, share=share, labelled=labelled)
    assert bool(svg) == any(rows)
    if not svg:
        return
    assert len(markers(svg)) == sum(map(bool, rows))
    places = [place for line in [*lines(svg), *markers(svg)] for place in line]
    assert all(42 <= x <= 348 and 21.9 <= y <= 198.1 for x, y in places)
    assert all(4 <= float(e.get("y")) <= 225 for e in ElementTree.fromstring(svg).iter() if e.tag == "text")
