"""`ocr-verify score`: the table, the JSON, and one line for a mistake of the user."""

import json

import pytest
from click.testing import CliRunner

import ocr_verifiers
from ocr_verifiers.cli.main import main

REFERENCES = [
    {"file_name": "a.png", "text": "one two", "source": "letters"},
    {"file_name": "b.png", "text": "three", "source": "books"},
    {"file_name": "c.png", "text": "four", "source": "books"},
]
PREDICTIONS = [{"file_name": "b.png", "text": "tree"}, {"file_name": "a.png", "text": "one two"}]
TESTS = [
    {"pdf": "a.png", "page": 1, "id": "1", "type": "present", "text": "one"},
    {"pdf": "a.png", "page": 1, "id": "2", "type": "absent", "text": "two"},
    {"pdf": "c.png", "page": 1, "id": "4", "type": "present", "text": "four"},
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Writes {file name: rows} into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(**rows):
        for name, lines in rows.items():
            (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
        return tmp_path

    return write


def score(*options):
    return CliRunner().invoke(main, ["score", "predictions.jsonl", "--references", "references.jsonl", *options])


def complaint(*options):
    """The one line on stderr of a run that ends with exit code 2 and nothing on stdout."""
    result = score(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    return line


def test_the_table_pools_rates(files):
    """tree for three: 1 deletion; CER 1/12 of both pages, WER 1/3; similarity (1 + 4/5) / 2 = 0.9."""
    files(references=REFERENCES, predictions=PREDICTIONS, tests=TESTS)
    result = score()
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "2 of 3 references have a prediction",
        "",
        "             n    CER    WER  similarity    exact    tests passed",
        "books        1  0.200  1.000       0.800      0/1    -",
        "letters      1  0.000  0.000       1.000      1/1    1/2 (0.500)",
        "all          2  0.083  0.333       0.900      1/2    1/2 (0.500)",
        "",
        "tests passed, by kind",
        "  absent    0/1 (0.000)",
        "  present   1/1 (1.000)",
    ]


def test_json_has_totals_and_every_page(files):
    folder = files(references=REFERENCES, predictions=PREDICTIONS, tests=TESTS)
    assert score("--json", "out.json").exit_code == 0
    report = json.loads((folder / "out.json").read_text(encoding="utf-8"))
    assert (report["references"], report["predictions"]) == (3, 2)
    assert report["totals"]["cer"] == 1 / 12
    assert report["by_source"]["books"]["exact"] == 0
    assert report["by_kind"]["present"] == {"tests": 1, "passed": 1, "pass_rate": 1.0}
    first, second = report["pages"]
    assert (first["file_name"], first["cer"], first["tests"]) == ("b.png", 1 / 5, [])
    assert second["tests"][1] == {
        "id": "2",
        "type": "absent",
        "passed": False,
        "why": 'found "two", 0 edits away',
    }


def test_without_tests_none_are_reported(files):
    files(references=REFERENCES, predictions=PREDICTIONS)
    assert "by kind" not in score().stdout


def test_tests_can_be_named(files):
    files(references=REFERENCES, predictions=PREDICTIONS, others=TESTS)
    assert "1/2 (0.500)" in score("--tests", "others.jsonl").stdout


def test_cer_counts_graphemes_on_request(files):
    files(references=[{"id": "w", "text": "ಕಿ"}], predictions=[{"id": "w", "text": "ಕೀ"}])
    assert "0.500" in score().stdout
    assert "1.000" in score("--unit", "grapheme").stdout


def test_pages_of_a_pdf_are_named_by_file_and_number(files):
    rows = [{"id": "a.pdf", "text": "one"}, {"id": "a.pdf#2", "text": "two"}]
    tests = [
        {"pdf": "a.pdf", "page": n, "id": str(n), "type": "present", "text": t} for n, t in ((1, "one"), (2, "two"))
    ]
    files(references=rows, predictions=rows, tests=tests)
    assert "2/2 (1.000)" in score().stdout


def test_a_reference_without_text_has_tests_only(files):
    files(
        references=[{"id": "a.png"}, {"id": "b.png"}],
        predictions=[{"id": n, "text": "one"} for n in ("a.png", "b.png")],
    )
    assert "pages with neither text nor tests: 2" in score().stdout
    files(tests=TESTS[:1])
    result = score()
    assert "all      2      -      -           -        -    1/1 (1.000)" in result.stdout
    assert "pages with neither text nor tests: 1" in result.stdout


@pytest.mark.parametrize(
    ("files_given", "line"),
    [
        ({"references": REFERENCES}, "Error: predictions.jsonl: No such file or directory"),
        ({"predictions": PREDICTIONS}, "Error: references.jsonl: No such file or directory"),
        ({"references": REFERENCES, "predictions": []}, "Error: predictions.jsonl: has no rows"),
        ({"references": [], "predictions": []}, "Error: references.jsonl: has no rows"),
        (
            {"references": REFERENCES, "predictions": [{"file_name": "x.png", "text": ""}]},
            'Error: predictions.jsonl:1: "x.png" has no reference in references.jsonl',
        ),
        (
            {"references": REFERENCES, "predictions": [PREDICTIONS[0], PREDICTIONS[0]]},
            'Error: predictions.jsonl:2: "b.png" is the same page as line 1; keep one',
        ),
        (
            {"references": [REFERENCES[0], REFERENCES[0]], "predictions": PREDICTIONS},
            'Error: references.jsonl:2: "a.png" is the same page as line 1; keep one',
        ),
        (
            {"references": REFERENCES, "predictions": [{"file_name": "a.png"}]},
            'Error: predictions.jsonl:1: "text" of "a.png" is missing; write "" for an empty page',
        ),
        (
            {"references": [{"file_name": "a.png", "text": 7}], "predictions": PREDICTIONS},
            'Error: references.jsonl:1: "text" of "a.png" is not a string; leave it out if there is none',
        ),
        (
            {"references": [{"text": "a"}], "predictions": PREDICTIONS},
            'Error: references.jsonl:1: "file_name" (or "id") is not a string; write the name of the page',
        ),
        (
            {"references": REFERENCES, "predictions": PREDICTIONS, "tests": [TESTS[0] | {"page": 2}]},
            'Error: tests.jsonl:1: page 2 of "a.png" has no reference in references.jsonl',
        ),
        (
            {"references": REFERENCES, "predictions": PREDICTIONS, "tests": [TESTS[0] | {"max_diffs": -1}]},
            'Error: tests.jsonl:1: "max_diffs" is -1; write an integer >= 0',
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(files, files_given, line):
    files(**files_given)
    assert complaint() == line


def test_tests_that_were_named_have_to_exist(files):
    files(references=REFERENCES, predictions=PREDICTIONS)
    assert complaint("--tests", "tests.jsonl") == "Error: tests.jsonl: No such file or directory"


def test_an_output_folder_that_does_not_exist_is_an_error_before_anything_is_scored(files):
    files(references=REFERENCES, predictions=PREDICTIONS)
    assert complaint("--json", "no/out.json") == "Error: no/out.json: the folder no does not exist"


def test_too_few_passed_tests_are_exit_code_1(files):
    files(references=REFERENCES, predictions=PREDICTIONS, tests=TESTS)
    assert score("--fail-under", "0.5").exit_code == 0
    assert score("--fail-under", "0.6").exit_code == 1


def test_olmocrs_own_verdicts_are_given_on_request(files):
    """A page shorter than the text passes olmOCR's `present`."""
    long = TESTS[0] | {"text": "one two three four"}
    files(references=REFERENCES, predictions=PREDICTIONS, tests=[long])
    assert "0/1 (0.000)" in score().stdout
    assert "1/1 (1.000)" in score("--compat", "olmocr").stdout


def test_help_shows_examples():
    result = CliRunner().invoke(main, ["score", "--help"])
    assert (
        "ocr-verify score model.jsonl --references metadata.jsonl --tests tests.jsonl --json scores.json"
        in result.stdout
    )


def test_the_version_is_that_of_the_package():
    assert CliRunner().invoke(main, ["--version"]).stdout == f"ocr-verify, version {ocr_verifiers.__version__}\n"
