"""How sure the words of rows are, put on the lines of layout files and written into them."""

import re

import pytest

from ocr_rl.data.archives.alto import read_alto, write_alto
from ocr_rl.data.archives.hocr import read_hocr, write_hocr
from ocr_rl.data.archives.layout import Layout, Line, Region, box_points
from ocr_rl.data.archives.page_xml import read_page_xml, write_page_xml
from ocr_rl.data.archives.placing import place_page_text, place_part_texts
from ocr_rl.data.archives.xml import parse_xml
from ocr_rl.evaluation.layout_output import sure_layout

BOX = box_points(0, 0, 50, 10)
PAGE = Layout("p.png", (100, 80), (Region("r1", "", BOX, (Line("l1", "Dear Sir", BOX), Line("l2", "yes", BOX))),))
ROW = {
    "text": "Dear Sirs\nyes",
    "lines": [[0, 9, 0.4], [10, 13, 0.9]],
    "words": [[0, 4, 0.8], [5, 9, 0.5], [10, 13, 0.95]],
}


def placed():
    return sure_layout(place_page_text(PAGE, ROW["text"]), {"": ROW})


def test_words_of_a_page_text_keep_their_confidence_on_its_lines():
    first, second = placed().lines
    assert (first.text, first.confidences, first.confidence) == ("Dear Sirs", (0.8, 0.5), 0.4)
    assert (second.text, second.confidences, second.confidence) == ("yes", (0.95,), 0.9)


def test_an_old_text_of_a_region_without_lines_takes_no_words_of_the_page():
    """r2 keeps "xx yy zz", of which the row says nothing; .2 and .1 are those of "cc dd", in the region after it."""
    regions = (
        Region("r1", "", BOX, (Line("l1", "aa bb", BOX),)),
        Region("r2", "", BOX, own_text="xx yy zz"),
        Region("r3", "", BOX, (Line("l3", "cc dd", BOX),)),
    )
    row = {
        "text": "aa bb\ncc dd",
        "lines": [[0, 5, 0.8], [6, 11, 0.1]],
        "words": [[0, 2, 0.9], [3, 5, 0.8], [6, 8, 0.2], [9, 11, 0.1]],
    }
    layout = sure_layout(place_page_text(Layout("p.png", (100, 80), regions), row["text"]), {"": row})
    assert [line.confidences for line in layout.lines] == [(0.9, 0.8), (0.2, 0.1)]
    assert [line.confidence for line in layout.lines] == [0.8, 0.1]
    assert [region.confidences for region in layout.regions] == [(), (), ()]


def test_words_of_a_line_keep_theirs_and_other_lines_have_none():
    row = {"text": "a b", "lines": [[0, 3, 0.2]], "words": [[0, 1, 0.3], [2, 3, 0.6]]}
    layout = sure_layout(place_part_texts(PAGE, {"l2": "a b"}), {"l2": row})
    assert [line.confidences for line in layout.lines] == [(), (0.3, 0.6)]
    assert [line.confidence for line in layout.lines] == [None, 0.2]


def test_a_region_of_text_without_lines_has_the_confidences_of_its_words():
    page = Layout("p.png", (100, 80), (Region("r1", "", BOX, own_text=ROW["text"]),))
    [region] = sure_layout(page, {"": ROW}).regions
    assert region.confidences == (0.8, 0.5, 0.95)
    assert re.findall(r'CONTENT="(\w+)" WC="([\d.]+)"', write_alto(sure_layout(page, {"": ROW})).decode()) == [
        ("Dear", "0.800"),
        ("Sirs", "0.500"),
        ("yes", "0.950"),
    ]
    hocr = write_hocr(sure_layout(page, {"": ROW}))
    assert re.findall(r'x_wconf (\d+)">(\w+)<', hocr.decode()) == [("80", "Dear"), ("50", "Sirs"), ("95", "yes")]
    assert read_hocr(parse_xml(hocr, "hocr"))[0].text == ROW["text"]
    assert 'conf="0.750"' in write_page_xml(sure_layout(page, {"": ROW})).decode()


@pytest.mark.parametrize(
    ("write", "read", "kind", "pattern", "expected"),
    [
        (write_alto, read_alto, "alto", r'WC="([\d.]+)"', ["0.800", "0.500", "0.950"]),
        (write_hocr, read_hocr, "hocr", r"x_wconf (\d+)", ["80", "50", "95"]),
        (write_page_xml, read_page_xml, "page-xml", r'conf="([\d.]+)"', ["0.400", "0.900"]),
    ],
)
def test_layout_files_say_it_and_hold_the_same_lines(write, read, kind, pattern, expected):
    written = write(placed())
    assert re.findall(pattern, written.decode()) == expected
    [page] = read(parse_xml(written, kind))
    assert [(line.id, line.text, line.polygon) for line in page.lines] == [
        ("l1", "Dear Sirs", BOX),
        ("l2", "yes", BOX),
    ]


def test_rows_without_confidences_change_nothing():
    assert sure_layout(PAGE, {"": {"text": "Dear"}}) == PAGE
