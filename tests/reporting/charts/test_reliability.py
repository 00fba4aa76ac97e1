"""Reliability diagrams, by places and words."""

from ocr_rl.reporting.charts.reliability import reliability_diagram

BINS = [
    {"units": 100, "confidence": 0.5, "right": 0.25},
    {"units": 400, "confidence": 1.0, "right": 1.0},
]


def test_a_dot_is_where_confidence_and_share_of_right_units_meet_and_as_large_as_its_units():
    """The frame is 42 to 310 across and 208 to 8 down: 1 is at its corner, .5 in the middle, .25 at 158."""
    picture = reliability_diagram("word", BINS)
    assert 'cx="176.0" cy="158.0" r="4.5"' in picture
    assert 'cx="310.0" cy="8.0" r="9.0"' in picture
    assert "words: 0.25 right where 0.50 sure, 1.00 right where 1.00 sure" in picture
    assert "100 words, 0.50 sure, 0.25 right" in picture


def test_nothing_has_no_picture():
    assert reliability_diagram("word", []) == ""
