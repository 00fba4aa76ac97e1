"""`ocr-verify lint`: tests that every page passes, that no page can pass, or that repeat another one."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers import parse_test
from ocr_verifiers.authoring.lint import Numbered, degenerate_passes, lint_page
from ocr_verifiers.cli.main import main

BLANK = {"type": "baseline", "max_length": 10}


def numbered(*records):
    return [
        Numbered(line, parse_test({"pdf": "p.png", "page": 1, "id": f"t{line}", **record}, f"tests.jsonl:{line}"))
        for line, record in enumerate(records, 1)
    ]


def present(text, **fields):
    return {"type": "present", "text": text, **fields}


def absent(text, **fields):
    return {"type": "absent", "text": text, **fields}


def order(before, after, **fields):
    return {"type": "order", "before": before, "after": after, **fields}


def problems(*records, reference=None):
    """(line, problem) of each finding."""
    return [(finding.line, finding.problem) for finding in lint_page(numbered(*records), reference)]


def why(*records, reference=None):
    (finding,) = lint_page(numbered(*records), reference)
    return finding.why


def test_sound_tests_have_no_problem():
    records = [present("harbour"), absent("Page 3"), order("harbour", "lighthouse"), {"type": "baseline"}]
    assert problems(*records, reference="harbour, lighthouse") == []


def test_a_single_letter_is_trivially_present():
    assert why(present("a")) == 'a page with nothing but "a" passes it'


def test_what_an_edit_turns_into_a_letter_is_trivial():
    """One edit, half of two letters: `x` is one edit from `ax`."""
    assert problems(present("ax", max_diffs=1)) == [(1, "trivial")]
    assert problems(present("ax")) == []


def test_absent_and_blank_pages_are_not_trivial_though_an_empty_page_passes():
    assert problems(absent("a"), BLANK) == []


def test_present_and_absent_of_one_text_contradict_each_other():
    assert why(present("harbour dues"), absent("harbour")) == '"t1" on line 1 wants "harbour dues" on the page'


def test_absent_within_edits_of_what_is_wanted_contradicts_it():
    assert problems(absent("harbor", max_diffs=1), order("the harbour", "dues")) == [(1, "contradictory")]


def test_absent_from_the_ends_of_a_page_contradicts_nothing():
    assert problems(present("harbour"), absent("harbour", first_n=50)) == []


def test_absent_of_a_text_that_two_wanted_ones_make_together_is_no_contradiction():
    """Nothing says that `harbour` and `dues` stand side by side."""
    assert problems(present("harbour"), present("dues"), absent("harbour dues")) == []


def test_order_both_ways_is_a_contradiction_on_the_later_line():
    records = [order("harbour", "dues"), present("pilot"), order("dues", "harbour")]
    assert why(*records) == "its order forms a circle with line 1"
    assert problems(*records) == [(3, "contradictory")]


def test_a_circle_of_three_is_found():
    records = [order("harbour", "pilot"), order("pilot", "lamp"), order("lamp", "harbour")]
    assert why(*records) == "its order forms a circle with lines 1, 2"


def test_a_circle_that_the_reference_passes_is_none():
    """`harbour` occurs twice."""
    records = [order("harbour", "dues"), order("dues", "harbour")]
    assert problems(*records, reference="harbour dues harbour") == []
    assert problems(*records, reference="harbour dues") == [(2, "contradictory"), (2, "reference")]


def test_a_blank_page_cannot_have_a_long_text():
    assert why(BLANK, present("lighthouse keeper")) == 'allows 10 letters; "t2" on line 2 wants "lighthouse keeper"'
    assert problems(BLANK, present("lighthouse")) == []


def test_tests_that_say_the_same_are_duplicates_whatever_their_ids_and_spelling():
    assert why(present("“harbour  dues”"), present('"harbour dues"')) == 'is the same as "t1" on line 1'
    assert problems(present("harbour"), present("harbour", case_sensitive=False)) == []
    assert problems(present("harbour"), present("harbour", max_diffs=1)) == []


def test_a_reference_that_fails_its_own_test_is_a_problem_with_the_reason():
    assert why(present("harbour"), reference="pilot") == 'its reference fails it: "harbour" not found within 0 edits'


def test_degenerate_pages_pass_what_asks_only_for_words():
    """The loop of `harbour dues` has no `pilot`; the soup is `dues harbour pilot`, the list keeps the order."""
    tests = numbered(present("harbour dues"), present("pilot"), order("harbour dues", "pilot"), {"type": "baseline"})
    passed = {name: [line for line, _ in tests] for name, tests in degenerate_passes(tests).items()}
    assert passed == {"loop": [1], "word soup": [2], "list": [1, 2, 3]}


@given(st.lists(st.one_of(st.builds(present, st.text(min_size=1)), st.builds(absent, st.text(min_size=1))), max_size=5))
def test_any_valid_tests_are_linted(records):
    try:
        tests = numbered(*records)
    except ValueError:  # nothing is left after normalisation
        return
    assert lint_page(tests) == lint_page(tests, None)
    assert set(degenerate_passes(tests)) == {"loop", "word soup", "list"}


# The command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def tests_file(folder, *records):
    base = {"pdf": "p.png", "page": 1}
    write(folder / "tests.jsonl", [{**base, "id": f"t{n}", **record} for n, record in enumerate(records, 1)])


def lint(*options):
    return CliRunner().invoke(main, ["lint", "tests.jsonl", *options])


def test_sound_tests_are_exit_code_0_and_counted(folder):
    tests_file(folder, present("harbour"), present("pilot", pdf="q.png"))
    result = lint()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2 tests of 2 pages: 0 problems",
        "tests that degenerate pages pass, of 2 that want something: loop 100%, word soup 100%, list 100%",
    ]


def test_problems_have_file_and_line_and_are_exit_code_1(folder):
    tests_file(folder, present("harbour"), present("a"), present("harbour"))
    result = lint("--json", "lint.json")
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:3] == [
        'tests.jsonl:2: trivial: "t2": a page with nothing but "a" passes it',
        'tests.jsonl:3: duplicate: "t3": is the same as "t1" on line 1',
        "3 tests of 1 pages: 2 problems (1 duplicate, 1 trivial)",
    ]
    report = json.loads((folder / "lint.json").read_text())
    assert report["problems"][0] == {
        "line": 2,
        "id": "t2",
        "problem": "trivial",
        "why": 'a page with nothing but "a" passes it',
    }
    assert report["degenerate"]["passed"]["list"] == [{"line": n, "id": f"t{n}"} for n in (1, 2, 3)]


def test_degenerate_passes_are_named_on_request(folder):
    tests_file(folder, present("harbour"))
    assert 'tests.jsonl:1: info: "t1": a word soup of the page\'s tests passes it' in lint("--degenerate").stdout


def test_references_are_found_by_the_names_that_score_knows(folder):
    tests_file(folder, present("harbour"), present("pilot", page=2), present("lamp", pdf="q.png"))
    write(folder / "metadata.jsonl", [{"id": "p.png", "text": "harbour"}, {"file_name": "p.png#2", "text": "no"}])
    result = lint("--references", "metadata.jsonl")
    assert result.stdout.splitlines()[:2] == [
        'tests.jsonl:2: reference: "t2": its reference fails it: "pilot" not found within 0 edits',
        'tests.jsonl:3: reference: "t3": page 1 of "q.png" is not in metadata.jsonl',
    ]


def test_an_id_that_comes_twice_is_a_problem(folder):
    tests_file(folder, present("harbour"), present("pilot", id="t1"))
    assert 'tests.jsonl:2: duplicate: "t1": its id is already on line 1' in lint().stdout


def test_what_a_terminal_cannot_write_or_would_obey_is_named(folder):
    tests_file(folder, present("harbour"), present("\ud800", id="a\x1b[31m\ud800"))
    assert 'tests.jsonl:2: info: "a<U+001B>[31m<U+D800>": ' in lint("--degenerate").stdout


def test_rejected_tests_are_not_looked_at(folder):
    tests_file(folder, present("harbour"), present("a", checked="rejected"))
    assert lint().exit_code == 0


def test_a_formula_that_cannot_be_rendered_is_a_problem(folder):
    pytest.importorskip("py_mini_racer")
    tests_file(folder, {"type": "math", "math": "\\frac{1}{"}, {"type": "math", "math": "x^2 + 1"})
    result = lint()
    assert result.exit_code == 1
    assert result.stdout.startswith('tests.jsonl:1: unrenderable: "t1": ')
    assert "1 problems (1 unrenderable)" in result.stdout


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", "tests.jsonl: has no tests"),
        ("{", "tests.jsonl:1: not JSON: Expecting property name enclosed in double quotes at column 2"),
        (
            '{"pdf": "p", "page": 0, "id": "1", "type": "baseline"}',
            'tests.jsonl:1: "page" is 0; write an integer >= 1',
        ),
    ],
)
def test_what_cannot_be_read_is_one_line_and_exit_code_2(folder, content, line):
    (folder / "tests.jsonl").write_text(content)
    result = lint()
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")


def test_help_says_what_each_problem_is():
    text = CliRunner().invoke(main, ["lint", "--help"]).stdout
    for problem in ("trivial", "unrenderable", "contradictory", "duplicate", "reference"):
        assert f"\n  {problem} " in text
    assert "ocr-verify lint tests.jsonl --references metadata.jsonl" in text
