"""What is written comes back: text, order, ids and coordinates of generated pages, in every format."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from helpers.layouts import WRITERS, layouts
from ocr_rl.data.archives.layout import Layout, Line, Region
from ocr_rl.data.archives.pages import READERS
from ocr_rl.data.archives.xml import kind_of, parse_xml


def read(data):
    kind = kind_of(data)
    return READERS[kind](parse_xml(data, kind))


def check_round_trip(kind, layout):
    [back] = read(WRITERS[kind](layout))
    assert back.text == layout.text
    if kind == "page-xml":  # has no id of the page
        back = replace(back, id=layout.id)
    assert replace(back, id="") == replace(layout, id="")
    if kind != "page-xml":
        assert back.id == layout.id


@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=15)
@given(layout=layouts())
def test_a_generated_page_comes_back_as_it_was(kind, layout):
    check_round_trip(kind, layout)


@pytest.mark.slow
@pytest.mark.parametrize("kind", WRITERS)
@settings(max_examples=1000, derandomize=True)
@given(layout=layouts())
def test_a_thousand_generated_pages_come_back_as_they_were(kind, layout):
    check_round_trip(kind, layout)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_line_that_has_no_outline_but_a_baseline_has_none_afterwards(kind):
    line = Line("l1", "one two", (), ((5, 9), (20, 11), (50, 10)))
    layout = Layout("a.png", (100, 80), (Region("r1", "", ((0, 0), (60, 0), (60, 20), (0, 20)), (line,)),))
    [back] = read(WRITERS[kind](layout))
    assert back.lines == [line]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_text_without_lines_comes_back_with_its_line_ends(kind):
    box = ((0, 0), (100, 0), (100, 80), (0, 80))
    layout = Layout(
        "a.png", (100, 80), (Region("r1", "", box, own_text="one two\nthree"), Region("r2", "", box, own_text="x"))
    )
    [back] = read(WRITERS[kind](layout))
    assert back.text == "one two\nthree\n\nx"
    assert [region.id for region in back.regions] == ["r1", "r2"]


@pytest.mark.parametrize("kind", WRITERS)
def test_what_xml_cannot_hold_is_a_replacement_character_and_an_id_becomes_a_valid_one(kind):
    box = ((0, 0), (60, 0), (60, 20), (0, 20))
    lines = (Line("1 a", "a\x0bb\ud800 <&>\"'", box), Line("1_a", "c", box))
    [back] = read(WRITERS[kind](Layout("a.png", (100, 80), (Region("1", "", box, lines),))))
    assert [line.text for line in back.lines] == ["a\ufffdb\ufffd <&>\"'", "c"]
    assert [line.id for line in back.lines] == ["_1_a", "_1_a_2"]
