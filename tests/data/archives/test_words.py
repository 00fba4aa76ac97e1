"""The words of a line keep their places when its text is corrected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.layouts import WRITERS, words
from ocr_rl.data.archives.layout import Layout, Line, Region, Word, bounds, box_points
from ocr_rl.data.archives.pages import READERS
from ocr_rl.data.archives.placing import place_page_text
from ocr_rl.data.archives.words import placed_words
from ocr_rl.data.archives.xml import kind_of, parse_xml


def box(left, right):
    return box_points(left, 0, right, 10)


DEER, SIR, THANKS = Word("Deer", box(0, 40), "w1"), Word("Sir", box(50, 80), "w2"), Word("thanks", box(90, 150), "w3")
OLD = (DEER, SIR, THANKS)


def test_words_that_did_not_change_stay_as_they_are():
    assert placed_words(["Deer", "Sir", "thanks"], OLD) == list(OLD)


def test_a_corrected_word_has_the_place_and_the_id_of_the_old_one():
    assert placed_words(["Dear", "Sir", "thanks"], OLD) == [Word("Dear", DEER.polygon, "w1"), SIR, THANKS]


def test_a_word_that_was_left_out_leaves_the_others_where_they_are():
    assert placed_words(["Deer", "thanks"], OLD) == [DEER, THANKS]


def test_an_added_word_has_no_place():
    assert placed_words(["Deer", "old", "Sir", "thanks"], OLD) == [DEER, Word("old"), SIR, THANKS]


def test_two_words_that_become_one_have_the_box_around_both():
    assert placed_words(["DeerSir", "thanks"], OLD) == [Word("DeerSir", box(0, 80)), THANKS]


def test_the_parts_of_a_divided_word_share_its_width_by_characters():
    assert placed_words(["Deer", "Sir", "th", "anks"], OLD) == [
        DEER,
        SIR,
        Word("th", box(90, 110)),
        Word("anks", box(110, 150)),
    ]


def test_a_divided_hebrew_word_begins_on_the_right():
    old = (Word("שלום", box(0, 40)),)
    assert placed_words(["של", "ום"], old) == [Word("של", box(20, 40)), Word("ום", box(0, 20))]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_word_with_a_no_break_space_stays_one_as_sure_as_the_least_sure_of_its_parts(kind):
    words = (Word("10\u00a0km", box(0, 40), "w1"), Word("far", box(50, 80), "w2"))
    line = Line("l1", "10\u00a0km far", box(0, 150), words=words, confidences=(0.9, 0.5, 0.75))
    data = WRITERS[kind](Layout("a.png", (200, 20), (Region("r1", "", box(0, 150), (line,)),)))
    [back] = READERS[kind_of(data)](parse_xml(data, kind))
    assert back.lines[0].words == words
    shown = {"alto": ['WC="0.500"', 'WC="0.750"'], "page-xml": ['conf="0.500"', 'conf="0.750"']}
    for one in shown.get(kind, ["x_wconf 50", "x_wconf 75"]):
        assert one.encode() in data


def test_without_old_words_nothing_has_a_place():
    assert placed_words(["a", "b"], ()) == [Word("a"), Word("b")]
    assert placed_words([], OLD) == []


@given(st.lists(words, max_size=5), st.lists(words, min_size=1, max_size=5))
def test_every_text_has_a_word_and_every_place_is_within_the_old_ones(texts, old):
    known = [Word(text, box(20 * i, 20 * i + 10), str(i)) for i, text in enumerate(old)]
    found = placed_words(texts, known)
    assert [word.text for word in found] == texts
    for word in found:
        if word.polygon:
            left, _, right, _ = bounds(word.polygon)
            assert 0 <= left <= right <= 20 * len(old) - 10


@pytest.mark.parametrize("kind", WRITERS)
def test_a_transcription_put_on_a_page_keeps_the_places_of_its_words(kind):
    line = Line("l1", "Deer Sir thanks", box(0, 150), words=OLD)
    page = Layout("a.png", (200, 20), (Region("r1", "", box(0, 150), (line,)),))
    root = parse_xml(WRITERS[kind](place_page_text(page, "Dear Sir, thanks")), kind)
    [back] = READERS[kind_of(WRITERS[kind](page))](root)
    assert back.lines[0].words == (Word("Dear", box(0, 40), "w1"), Word("Sir,", box(50, 80), "w2"), THANKS)


def test_page_xml_has_no_words_of_a_line_where_one_has_no_place():
    line = Line("l1", "Deer old Sir thanks", box(0, 150), words=OLD)
    page = Layout("a.png", (200, 20), (Region("r1", "", box(0, 150), (line,)),))
    data = WRITERS["page-xml"](page)
    assert b"<Word" not in data
    [back] = READERS["page-xml"](parse_xml(data, "page-xml"))
    assert back.text == "Deer old Sir thanks"


def test_words_move_with_the_page():
    line = Line("l1", "Deer", box(0, 40), words=(DEER,))
    page = Layout("a.png", (200, 20), (Region("r1", "", box(0, 150), (line,)),))
    assert page.scaled((400, 40)).lines[0].words == (Word("Deer", box_points(0, 0, 80, 20), "w1"),)
