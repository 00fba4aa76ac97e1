"""A text of a page goes to the lines where its words were before, and none of it is lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.layouts import WRITERS, letter
from ocr_rl.data.archives.layout import Layout, Region
from ocr_rl.data.archives.pages import READERS
from ocr_rl.data.archives.placing import place_page_text, place_part_texts, texts_of_lines
from ocr_rl.data.archives.xml import kind_of, parse_xml

OLD = ["Dcar Sir", "thank yov fcr", "yonr 1etter."]


def test_lines_are_cut_where_the_old_text_with_its_errors_was_cut():
    assert texts_of_lines(OLD, "Dear Sir thank you for your letter.") == ["Dear Sir", "thank you for", "your letter."]
    assert texts_of_lines(OLD, "Dear Sir\n\nthank you\nfor your letter.") == [
        "Dear Sir",
        "thank you for",
        "your letter.",
    ]


def test_a_line_that_is_missing_gets_nothing_and_what_is_new_stays_beside_its_neighbours():
    old = ["Dcar Sir", "WE HAVE GOT", "yonr 1etter."]
    assert texts_of_lines(old, "Dear Sir\nyour letter.") == ["Dear Sir", "", "your letter."]
    assert " ".join(texts_of_lines(OLD, "1 May\nDear Sir\nthank you for\nyour letter.\nYours")).split() == (
        "1 May Dear Sir thank you for your letter. Yours".split()
    )


def test_without_old_texts_as_many_lines_are_the_same_lines_and_others_cannot_be_placed():
    assert texts_of_lines(["", ""], "one\n\ntwo") == ["one", "two"]
    assert texts_of_lines(["", ""], "one two") is None
    assert texts_of_lines([], "one") is None


@settings(max_examples=60)
@given(st.lists(st.text("ab c", max_size=9), min_size=1, max_size=5), st.text("ab c\n", max_size=40))
def test_no_word_is_lost_or_cut(old, text):
    parts = texts_of_lines(old, text)
    if parts is not None:
        assert len(parts) == len(old)
        assert " ".join(parts).split() == text.split()


def test_a_page_keeps_its_lines_and_their_places():
    page = place_page_text(letter(), "Dear Sirs\n\nthank you for\nthe letter.")
    assert [line.text for line in page.lines] == ["Dear Sirs", "thank you for", "the letter."]
    assert [line.polygon for line in page.lines] == [line.polygon for line in letter().lines]


def test_a_text_that_cannot_be_placed_is_kept_in_one_region():
    untranscribed = place_part_texts(letter(), {"r1l1": "", "r2l1": "", "r2l2": ""})
    page = place_page_text(untranscribed, "All on one line.")
    assert [(region.id, region.text) for region in page.regions] == [
        ("r1", ""),
        ("r2", ""),
        ("text_1", "All on one line."),
    ]
    assert page.regions[2].polygon == ((0, 0), (100, 0), (100, 80), (0, 80))
    alone = place_page_text(Layout("a.png", (9, 9), letter().regions[1:]), "")
    alone = place_page_text(alone, "one\ntwo\nthree")
    assert [(region.id, region.text) for region in alone.regions] == [("r2", "one\ntwo\nthree")]
    for kind, write in WRITERS.items():
        [back] = READERS[kind](parse_xml(write(alone), kind_of(write(alone))))
        assert back.text == "one\ntwo\nthree", kind


def test_a_page_without_anything_gets_a_region():
    page = place_page_text(Layout("a.png", (9, 9)), "one\ntwo")
    assert page.regions == (Region("text_1", "", ((0, 0), (9, 0), (9, 9), (0, 9)), own_text="one\ntwo"),)


def test_texts_of_lines_and_regions_go_to_their_ids():
    page = place_part_texts(letter(), {"r1l1": "Sir", "r2": "thanks for\nyour letter."})
    assert [line.text for line in page.lines] == ["Sir", "thanks for", "your letter."]
    assert place_part_texts(letter(), {}) == letter()
