"""Reading JSON Lines and unit tests; every error names file, line, field and remedy."""

import json
import re

import pytest

from ocr_verifiers import RecordError, Rubric, load_tests, parse_test, read_jsonl, write_json_atomic

BASE = {"pdf": "a.pdf", "page": 1, "id": "t1"}
EVERY_KIND = [
    {"type": "present", "text": "a", "case_sensitive": False, "first_n": 10, "last_n": None},
    {"type": "absent", "text": "a", "max_diffs": 2},
    {"type": "order", "before": "one", "after": "two", "max_diffs": 1},
    {"type": "baseline", "max_length": 5, "max_length_skips_image_alt_tags": True, "max_repeats": 4},
    {"type": "table", "cell": "", "up": "a", "ignore_markdown_tables": True},
    {"type": "math", "math": "x^2", "ignore_dollar_delimited": True},
    {"type": "format", "text": "Title", "format": "heading"},
    {"type": "footnote", "marker": "1", "appears_before_marker": "word"},
]


def test_in_compat_a_blank_context_of_a_footnote_is_an_error_as_in_olmocr():
    record = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "footnote", "marker": "1", "appears_before_marker": " "}
    assert parse_test(record, "t").appears_before_marker == " "
    with pytest.raises(RecordError, match='"appears_before_marker" is " "; nothing is left of it'):
        parse_test(record, "t", compat="olmocr")


def written(tmp_path, *lines):
    path = tmp_path / "tests.jsonl"
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines))
    return path


def message(error):
    """The message, with the folder of the test left out."""
    return re.sub(r"\S*/(\w+\.jsonl)", r"\1", str(error.value))


@pytest.mark.parametrize("record", EVERY_KIND, ids=lambda record: record["type"])
def test_every_kind_is_read_field_for_field(record):
    test = parse_test(BASE | record, "tests.jsonl:1")
    assert all(getattr(test, name) == value for name, value in (BASE | record).items())


def test_left_out_fields_have_the_defaults_of_olmocr_bench():
    test = parse_test(BASE | {"type": "baseline"}, "tests.jsonl:1")
    assert (test.max_diffs, test.checked, test.url) == (0, None, None)
    assert (test.max_length, test.max_repeats) == (None, 30)
    assert test.check_disallowed_characters is None, "not said: true for olmOCR, false in the strict mode"


@pytest.mark.parametrize(
    ("record", "complaint"),
    [
        ({"type": "present", "text": "a", "max_diffs": -1}, '"max_diffs" is -1; write an integer >= 0'),
        ({"type": "present", "text": "a", "max_diffs": 1.0}, '"max_diffs" is 1.0; write an integer >= 0'),
        ({"type": "present", "text": "a", "max_diffs": True}, '"max_diffs" is true; write an integer >= 0'),
        ({"type": "present", "text": "a", "first_n": "9"}, '"first_n" is "9"; write an integer >= 0 or null'),
        ({"type": "present", "text": "a", "page": 0}, '"page" is 0; write an integer >= 1'),
        ({"type": "present", "text": "a", "case_sensitive": 1}, '"case_sensitive" is 1; write true or false'),
        ({"type": "present", "text": "a", "url": 7}, '"url" is 7; write a string or null'),
        ({"type": "present", "text": "a", "id": " "}, '"id" is " "; it must not be empty'),
        (
            {"type": "present", "text": "a", "checked": "yes"},
            '"checked" is "yes"; write one of "verified", "rejected", null',
        ),
        (
            {"type": "present", "text": "a", "max_dif": 1},
            'unknown field "max_dif"; did you mean "max_diffs"?',
        ),
        ({"type": "present", "text": " \n"}, '"text" is " \\n"; nothing is left of it after normalisation'),
        ({"type": "present"}, '"text" is missing; a test of type "present" needs it'),
        ({"type": "present", "text": None}, '"text" is null; write a string'),
        ({"type": "presence", "text": "a"}, '"type" is "presence"; did you mean "present"?'),
        ({"type": ["present"]}, '"type" is ["present"]; did you mean "present"?'),
        (
            {"text": "a"},
            '"type" is missing; write one of present, absent, order, baseline, table, math, format, ',
        ),
        (
            {"type": "order", "before": "one", "after": "three", "max_diffs": 2},
            '"max_diffs" is 2; write at most 1, half of the shorter of "before" and "after"',
        ),
        (
            {"type": "format", "text": "a", "format": "big"},
            '"format" is "big"; write one of "heading", "bold", "italic"',
        ),
        ({"type": "footnote", "marker": "1 2"}, '"marker" is "1 2"; a marker has no spaces'),
        ({"type": "math", "math": ""}, '"math" is ""; it must not be empty'),
    ],
)
def test_a_wrong_field_is_an_error_with_its_address_and_remedy(record, complaint):
    with pytest.raises(RecordError) as error:
        parse_test(BASE | record, "tests.jsonl:17")
    assert str(error.value).startswith(f"tests.jsonl:17: {complaint}")
    assert "\n" not in str(error.value)


def test_tests_are_loaded_in_order_and_blank_lines_are_skipped(tmp_path):
    path = written(tmp_path, *(BASE | record | {"id": str(i)} for i, record in enumerate(EVERY_KIND)), b"", b" \r")
    assert [test.id for test in load_tests(path)] == list("01234567")


def test_hole_closed_rejected_tests_are_not_loaded(tmp_path):
    rejected = BASE | EVERY_KIND[0] | {"checked": "rejected"}
    assert load_tests(written(tmp_path, rejected)) == []


def test_hole_closed_files_that_share_pages_and_ids_keep_all_their_tests(tmp_path):
    """olmOCR's trainer looks for a page's tests in the first file only. Ids are unique within a file."""
    pages = [tmp_path / "one", tmp_path / "two"]
    for folder in pages:
        folder.mkdir()
    present, absent = ({"type": kind, "text": "Page 3"} for kind in ("present", "absent"))
    tests = [
        t for f, record in zip(pages, (present, absent), strict=True) for t in load_tests(written(f, BASE | record))
    ]
    assert [(test.id, test.type) for test in tests] == [("t1", "present"), ("t1", "absent")]
    assert Rubric().score("Page 3", tests=tests).parts["pass_rate"] == 1 / 2


def test_an_id_that_comes_twice_is_an_error(tmp_path):
    record = BASE | EVERY_KIND[0]
    with pytest.raises(RecordError) as error:
        load_tests(written(tmp_path, record, b"", record))
    assert message(error) == 'tests.jsonl:3: id "t1" is already on line 1; ids are unique'


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"a": 1', "not JSON: Expecting ',' delimiter at column 8"),
        (b"[1, 2]", "[1, 2] is not an object; write one {...} per line"),
        (b'{"a": "\xff"}', "byte 8 is not UTF-8; save the file as UTF-8"),
        (b'{"a": 1, "a": 2}', '"a" is given twice; keep one'),
        (b"[" * 100_000, "maximum recursion depth exceeded"),
    ],
    ids=["not json", "no object", "not utf-8", "field twice", "too deep"],
)
def test_a_line_that_is_no_record_is_an_error_with_its_address(tmp_path, line, complaint):
    with pytest.raises(RecordError) as error:
        list(read_jsonl(written(tmp_path, {"fine": 1}, line)))
    assert message(error).startswith(f"tests.jsonl:2: {complaint}")


def test_a_file_that_is_not_there_is_an_error():
    with pytest.raises(RecordError, match=r"^nowhere\.jsonl: No such file or directory$"):
        list(read_jsonl("nowhere.jsonl"))


def test_lines_are_numbered_from_one_and_end_at_line_feeds_only(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": "x\u2028y"}\r\n\r\n{"a": 2}'.encode())
    assert list(read_jsonl(path)) == [(1, {"a": "x\u2028y"}), (3, {"a": 2})]


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "out.json"
    write_json_atomic(path, {"a": "ಕಿ"})
    with pytest.raises(TypeError):
        write_json_atomic(path, {"a": object()})
    assert path.read_text(encoding="utf-8") == '{\n  "a": "ಕಿ"\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_lone_surrogate_survives_being_written(tmp_path):
    write_json_atomic(tmp_path / "out.json", "\ud800")
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == "\ud800"


def test_a_place_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(RecordError, match=r"out\.json: cannot be written: No such file or directory"):
        write_json_atomic(tmp_path / "none" / "out.json", {})
