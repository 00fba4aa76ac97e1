"""What is written has the order of elements and the attributes that the published schemas want, checked by hand."""

import re

import pytest
from lxml import etree

from helpers.layouts import WRITERS, letter
from ocr_rl.data.archives.layout import Layout, Line, Region, Word

BOX = ((0, 0), (60, 0), (60, 20), (0, 20))
CHILDREN = {
    # PAGE-XML 2019-07-15
    "PcGts": "Metadata Page",
    "Metadata": "Creator Created LastChange",
    "Page": "ReadingOrder? TextRegion*",
    "ReadingOrder": "OrderedGroup",
    "OrderedGroup": "(RegionRefIndexed)+",
    "TextRegion": "Coords TextLine* TextEquiv?",
    "TextEquiv": "Unicode",
    # ALTO 4.4
    "alto": "Description Tags? Layout",
    "Description": "MeasurementUnit sourceImageInformation? Processing*",
    "Layout": "Page",
    "PrintSpace": "TextBlock*",
    "TextBlock": "Shape? TextLine*",
    "Shape": "Polygon",
}
"""The children of each element, in their order."""
FORMATS = {
    "page-xml": {"TextLine": "Coords Baseline? Word* TextEquiv?", "Word": "Coords TextEquiv?"},
    "alto": {"Page": "PrintSpace", "TextLine": "Shape? (String SP?)+"},
}
WORDS = (Word("ab", BOX, "1"), Word("c", ((1, 1), (3, 1), (2, 4))))
REQUIRED = {
    "page-xml": {
        "Page": "imageFilename imageWidth imageHeight",
        "TextRegion": "id",
        "TextLine": "id",
        "Word": "id",
        "Coords": "points",
        "Baseline": "points",
        "OrderedGroup": "id",
        "RegionRefIndexed": "index regionRef",
    },
    "alto": {
        "Page": "ID PHYSICAL_IMG_NR",
        "TextBlock": "ID",
        "String": "CONTENT",
        "Polygon": "POINTS",
        "OtherTag": "ID LABEL",
        "Processing": "ID",
    },
}
LAYOUTS = {
    "a letter": letter(),
    "nothing": Layout("a.png", (10, 10)),
    "words": Layout("a.png", (100, 80), (Region("r1", "", BOX, (Line("l1", "ab c", BOX, (), words=WORDS),)),)),
    "odd names and missing places": Layout(
        "a b.png",
        (100, 80),
        (
            Region("1 x", "α; {β}", (), (Line("1", "a\x0b  b", (), ((1, 1), (2, 3))), Line("z"))),
            Region("2", "", BOX, own_text="x\ny"),
            Region("q"),
        ),
    ),
}


def pattern(children):
    """`A B? C*` as a regular expression over names that each have a space behind them."""
    return re.sub(r"(\w+)([?*]?) ?", r"(?:\1 )\2", children)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("kind", FORMATS)
def test_elements_are_in_order_and_have_what_is_required(kind, name):
    root = etree.fromstring(WRITERS[kind](LAYOUTS[name]))
    ids, references = [], []
    for element in root.iter():
        tag = etree.QName(element).localname
        children = "".join(f"{etree.QName(child).localname} " for child in element)
        if wanted := {**CHILDREN, **FORMATS[kind]}.get(tag):
            assert re.fullmatch(pattern(wanted), children), (tag, children)
        assert set(REQUIRED[kind].get(tag, "").split()) <= set(element.attrib), tag
        ids += [value for key, value in element.attrib.items() if key in ("id", "ID")]
        references += [value for key, value in element.attrib.items() if key in ("regionRef", "TAGREFS")]
        if points := element.get("points"):
            assert re.fullmatch(r"(\d+,\d+ )+\d+,\d+", points)
    assert len(set(ids)) == len(ids)
    assert set(references) <= set(ids)
    assert all(re.fullmatch(r"[^\W\d][\w.-]*", one) for one in ids)


def test_the_check_finds_a_wrong_order():
    assert re.fullmatch(pattern("Coords TextLine* TextEquiv?"), "Coords TextLine TextLine TextEquiv ")
    assert not re.fullmatch(pattern("Coords TextLine* TextEquiv?"), "TextLine Coords ")
    assert re.fullmatch(pattern("Shape? (String SP?)+"), "Shape String SP String ")
    assert not re.fullmatch(pattern("Shape? (String SP?)+"), "Shape ")
