"""YAML front matter: what is removed from a page, and what it scores."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, Rubric, parse_test, run_test
from ocr_verifiers.markup.front_matter import front_matter_score, split_front_matter

FIELDS = {
    "primary_language": "en",
    "is_rotation_valid": True,
    "rotation_correction": 0,
    "is_table": False,
    "is_diagram": False,
}
BLOCK = """---
primary_language: en
is_rotation_valid: True
rotation_correction: 0
is_table: False
is_diagram: false
---
"""


def block(**changed):
    return "---\n" + "".join(f"{name}: {value}\n" for name, value in (FIELDS | changed).items()) + "---\n"


def test_front_matter_is_read_and_taken_off():
    front = split_front_matter(BLOCK + "\nA page.")
    assert front.fields == FIELDS
    assert front.body == "\nA page."


@pytest.mark.parametrize(
    "text", [BLOCK + "A page.", BLOCK.replace("\n", "\r\n") + "A page.", "\ufeff" + BLOCK + "A page."]
)
def test_line_ends_and_a_byte_order_mark_do_not_matter(text):
    assert split_front_matter(text).body == "A page."


def test_a_page_that_is_nothing_but_front_matter_is_blank():
    assert split_front_matter(BLOCK.rstrip()).body == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A page.", "the text does not open with a --- line"),
        ("\n" + BLOCK, "the text does not open with a --- line"),
        ("--- a rule\na: b\n---", "no --- line closes the front matter within 2000 characters"),
        ("---\nis_table: false\nA page.", "no --- line closes the front matter within 2000 characters"),
        ("---\n---\nA page.", "the front matter is empty"),
        (
            "---\nA paragraph between two rules.\n---\nMore.",
            "the front matter is not a flat mapping of names to values",
        ),
        ("---\nNote: a heading\n---\nMore.", 'the front matter has the name "Note", which is not in lower case'),
        ("---\na: [1, 2]\n---\n", "the front matter is not a flat mapping of names to values"),
        ("---\na:\n  b: 1\n---\n", "the front matter is not a flat mapping of names to values"),
        ("---\na: 1\na: 2\n---\n", "the front matter has a twice"),
        ("---\na: 'open\n---\n", "the front matter is not YAML: found unexpected end of stream"),
    ],
)
def test_a_text_without_front_matter_stays_whole_and_says_why(text, why):
    front = split_front_matter(text)
    assert (front.fields, front.body, front.why) == (None, text, why)


@pytest.mark.parametrize(
    "inside",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]", "a: &a 1\nb: *a",
        "a: !!python/name:os.system x", "a: !t 1",
        "[" * 1500, "{a: " * 400, "a: \ud800", "a: \x00", "- " * 700, "? " * 700, "a: 1\n...\nb: 2",
    ],
)  # fmt: skip
def test_bombs_and_broken_characters_are_refused_quickly(inside):
    with CpuClock() as clock:
        split_front_matter(f"---\n{inside}\n---\nA page.")
        assert split_front_matter(f"---\n{inside}\nx\n---\nA page.").fields is None
    assert clock.seconds < 0.1


def test_more_than_2000_characters_are_no_front_matter():
    assert split_front_matter(f"---\na: {'x' * 1900}\n---\n").fields is not None
    assert split_front_matter(f"---\na: {'x' * 2000}\n---\n").fields is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None), ("270", 270), ("-1", -1),
        ("no", "no"),
        ('"true"', "true"), ("'270'", "270"), ("1.5", "1.5"), ("2024-99-99", "2024-99-99"), ("9" * 30, "9" * 30),
    ],
)  # fmt: skip
def test_unquoted_words_are_values_and_anything_else_is_text(written, value):
    assert split_front_matter(f"---\na: {written}\n---\n").fields == {"a": value}


@given(st.text())
def test_text_that_opens_otherwise_is_never_changed(text):
    assert split_front_matter("x" + text).body == "x" + text


@settings(deadline=None)
@given(st.text(alphabet="ab:-\n \"'[]{}&*!|>#%@`,?~1"))
def test_nothing_is_lost_but_front_matter(inside):
    text = f"---\n{inside}\n---\nA page."
    front = split_front_matter(text)
    assert text.endswith(front.body)
    assert (front.fields is None) == (front.body == text) == bool(front.why)


# the score


def test_front_matter_with_all_its_fields_scores_one_where_nothing_is_expected():
    assert front_matter_score(split_front_matter(BLOCK)) == (1.0, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("A page.", "the text does not open with a --- line"),
        (BLOCK.replace("is_table: False\n", ""), "front matter: is_table is missing"),
        (BLOCK.replace("is_table", "is_tabel"), "front matter: is_table is missing"),
        (block(extra=1), 'front matter: "extra" is not one of its fields'),
        (block(rotation_correction=45), 'front matter: rotation_correction may not be "45"'),
        (block(rotation_correction="false"), 'front matter: rotation_correction may not be "False"'),
        (block(is_table="maybe"), 'front matter: is_table may not be "maybe"'),
        (block(primary_language=7), 'front matter: primary_language may not be "7"'),
    ],
)
def test_anything_missing_added_or_of_the_wrong_kind_scores_zero(text, why):
    assert front_matter_score(split_front_matter(text)) == (0.0, why)


def test_each_expected_field_is_a_tenth():
    """0.5 + 0.5 * 3/5."""
    score, why = front_matter_score(split_front_matter(block(primary_language="de", is_table="true")), FIELDS)
    assert score == pytest.approx(0.8)
    assert why == "front matter: primary_language, is_table differ from the reference"
    assert front_matter_score(split_front_matter(BLOCK), FIELDS) == (1.0, "")


# what it changes


def test_hole_closed_a_blank_page_with_front_matter_is_blank():
    """Its 83 letters do not count as text of the page."""
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "baseline", "max_length": 5}
    assert run_test(parse_test(record, "t"), PreparedPage(BLOCK)).passed


def test_hole_closed_windows_start_at_the_text():
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "A page", "first_n": 6}
    assert run_test(parse_test(record, "t"), PreparedPage(BLOCK + "A page.")).passed


def test_hole_closed_front_matter_is_not_compared_with_the_reference():
    score = Rubric().score(BLOCK + "A page.", reference="A page.")
    assert (score.reward, score.parts["exact"]) == (1.0, 1.0)
    assert "front_matter" not in score.parts


def test_the_fields_of_the_reference_are_expected():
    """Four of five fields agree: 0.5 + 0.5 * 4/5. The default rubric gives the part no weight."""
    score = Rubric().score(block(is_diagram="true") + "A page.", reference=BLOCK + "A page.")
    assert score.parts["front_matter"] == pytest.approx(0.9)
    assert score.reward == 1.0


def test_a_rubric_that_weighs_front_matter_scores_it_on_every_page():
    """(1 * 1 + 1 * 0) / 2."""
    rubric = Rubric(weights={"similarity": 1, "front_matter": 1})
    assert rubric.score("A page.", reference="A page.").reward == 0.5
    assert rubric.score(BLOCK + "A page.", reference="A page.").reward == 1.0
