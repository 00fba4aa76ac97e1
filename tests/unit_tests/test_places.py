"""Where on a page a unit test looks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers import parse_test
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.places import find_place


def passage(written, /, **fields):
    test = parse_test({"type": "present", "pdf": "p", "page": 1, "id": "t", **fields}, "here")
    page = PreparedPage(written)
    place = find_place(test, page)
    return None if place is None else page.strict[place.start : place.end]


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("The mill stood by the river.", "stood by the", "stood by the"),
        ("The mill stoad hy the river.", "stood by the", "stoad hy the"),
        ("**The mill**   stood", "The mill stood", "The mill stood"),
        ("The mill burned in May.", "a letter to 4711", None),
        ("", "The mill", None),
        ("stood", "the mill stood by the river", None),
    ],
)
def test_the_passage_that_is_most_like_the_text(text, wanted, found):
    assert passage(text, text=wanted) == found


def test_case_is_ignored_where_the_test_ignores_it():
    assert passage("THE MILL stood", text="the mill", case_sensitive=False) == "THE MILL"
    assert passage("THE MILL stood", text="the mill") is None


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "mill", "first_n": 9},
        {"text": "mill", "last_n": 9},
        {"type": "order", "before": "mill", "after": "river"},
        {"type": "baseline"},
        {"type": "math", "math": "x^2"},
        {"type": "table", "cell": "mill"},
    ],
)
def test_what_concerns_the_whole_page_has_no_place(fields):
    assert passage("The mill by the river, $x^2$", **fields) is None


@given(st.text("abc ", min_size=1, max_size=12), st.text("abc ", max_size=12), st.text("abc ", max_size=12))
def test_a_text_that_is_there_is_its_own_place(wanted, before, after):
    wanted = " ".join(wanted.split())
    if wanted:
        assert passage(f"{before} {wanted} {after}", text=wanted) == wanted
