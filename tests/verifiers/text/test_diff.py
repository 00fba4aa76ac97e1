"""`ocr-verify diff`: where a transcription differs from its reference."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers.cli.main import main
from ocr_verifiers.text.diff import diff_lines, shown_lines, text_diff

TEXT = st.text(st.sampled_from("ab \n\r\u2028é\ud800"), max_size=30)


def plain(reference, completion, context=2, **options):
    return list(shown_lines(diff_lines(text_diff(reference, completion, **options)), context, color=False))


@given(TEXT, TEXT, st.booleans())
def test_the_spans_spell_both_texts(reference, completion, words):
    spans = text_diff(reference, completion, words=words)
    assert "".join(span.reference for span in spans) == reference
    assert "".join(span.completion for span in spans) == completion
    assert all((span.reference == span.completion) == (span.op == "equal") for span in spans)


@given(TEXT, TEXT)
def test_the_lines_spell_both_texts_too(reference, completion):
    spans = [span for line in diff_lines(text_diff(reference, completion)) for span in line.spans]
    assert "".join(span.reference for span in spans) == reference
    assert "".join(span.completion for span in spans) == completion
    list(shown_lines(diff_lines(spans), 0, color=True))


def test_characters_that_differ_are_marked():
    assert plain("the harbour\n", "the arbor\n") == ["! the [-h-]arbo[-u-]r"]


def test_whole_words_are_marked_on_request():
    assert plain("the harbour dues", "the arbour dues", words=True) == ["! the [-harbour-]{+arbour+} dues"]


def test_a_kannada_syllable_is_one_character_in_graphemes():
    assert plain("ಕಿ", "ಕೀ") == ["! ಕ[-ಿ-]{+ೀ+}"]
    assert plain("ಕಿ", "ಕೀ", unit="grapheme") == ["! [-ಕಿ-]{+ಕೀ+}"]


def test_a_line_end_that_one_text_lacks_is_seen():
    assert plain("one\ntwo\n", "one two\n") == ["! one[-⏎-]{+ +}two"]


def test_a_line_that_only_one_text_has_is_a_line_of_its_own():
    assert plain("one\ntwo\nthree\n", "one\nthree\n") == ["  one", "! [-two⏎-]", "  three"]


def test_equal_lines_far_from_a_difference_are_counted():
    lines = [f"line {n}\n" for n in range(10)]
    other = [*lines[:5], "line V\n", *lines[6:]]
    assert plain("".join(lines), "".join(other), context=1) == [
        "  … 4 equal lines",
        "  line 4",
        "! line [-5-]{+V+}",
        "  line 6",
        "  … 3 equal lines",
    ]


def test_what_a_terminal_would_obey_or_not_show_is_named():
    assert plain("a\x1b[31mb", "a\u200bb") == ["! a[-<U+001B>[31m-]{+<U+200B>+}b"]


def test_colour_marks_without_brackets():
    (line,) = shown_lines(diff_lines(text_diff("harbour", "harbor")), 0, color=True)
    assert "harbo" in line
    assert "[-" not in line
    assert "\x1b[31m" in line or "\x1b[31;" in line


def test_long_texts_without_an_equal_line_are_aligned_by_words_and_then_not_at_all():
    """Character by character, a megabyte would take minutes."""
    with CpuClock() as clock:
        spans = text_diff("harbour dues " * 20_000, "harbor dues, " * 20_000)
        assert max(len(span.reference) for span in spans if span.op != "equal") < 100
        assert len(text_diff("a " * 200_000, "b " * 200_000)) == 1
    assert clock.seconds < 20


# The command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "true.txt").write_text("the harbour\nof Ostend\n", encoding="utf-8")
    (tmp_path / "read.txt").write_text("the harbor\nof Ostend\n", encoding="utf-8")
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def diff(*arguments):
    return CliRunner().invoke(main, ["diff", *arguments])


def test_files_that_differ_are_exit_code_1_with_their_rates(folder):
    """One of 21 characters, `the harbour of Ostend`, and one of 4 words."""
    result = diff("true.txt", "read.txt")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "read.txt  CER 0.0476 (1/21)  WER 0.2500 (1/4)",
        "! the harbo[-u-]r",
        "  of Ostend",
    ]


def test_equal_files_are_exit_code_0_composed_or_not(folder):
    (folder / "read.txt").write_text("caf\u00e9", encoding="utf-8")
    (folder / "true.txt").write_text("cafe\u0301", encoding="utf-8")
    result = diff("true.txt", "read.txt")
    assert (result.exit_code, result.stdout) == (0, "read.txt  CER 0.0000 (0/4)  WER 0.0000 (0/1)\n")


def test_there_is_no_colour_away_from_a_terminal_unless_asked_for(folder):
    assert "\x1b" not in diff("true.txt", "read.txt").stdout
    assert "\x1b" in diff("true.txt", "read.txt", "--color").stdout


def test_pages_of_two_files_are_compared_by_name_and_pooled(folder):
    """One of 3 + 5 characters."""
    write(folder / "metadata.jsonl", [{"id": "a", "text": "one"}, {"id": "b.pdf#1", "text": "three"}, {"id": "c"}])
    write(folder / "model.jsonl", [{"id": "b.pdf", "text": "tree"}, {"id": "a", "text": "one"}])
    result = diff("--references", "metadata.jsonl", "--predictions", "model.jsonl", "--json", "diff.json")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "b.pdf#1  CER 0.2000 (1/5)  WER 1.0000 (1/1)",
        "! t[-h-]ree",
        "1 of 2 pages differ  CER 0.1250 (1/8)  WER 0.5000 (1/2)",
    ]
    report = json.loads((folder / "diff.json").read_text(encoding="utf-8"))
    assert (report["cer"], [page["name"] for page in report["pages"]]) == (1 / 8, ["a", "b.pdf#1"])
    assert report["pages"][1]["spans"][1] == {"op": "delete", "reference": "h", "completion": ""}


def test_one_page_can_be_picked(folder):
    write(folder / "metadata.jsonl", [{"id": "a", "text": "one"}, {"id": "b", "text": "three"}])
    write(folder / "model.jsonl", [{"id": "a", "text": "one"}, {"id": "b", "text": "tree"}])
    files = ("--references", "metadata.jsonl", "--predictions", "model.jsonl")
    assert diff(*files, "--page", "a").exit_code == 0
    result = diff(*files, "--page", "z")
    assert (result.exit_code, result.stderr) == (2, 'Error: model.jsonl: has no page "z"\n')


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give two text files, or --references and --predictions"),
        (["true.txt"], "give two text files, or --references and --predictions"),
        (["true.txt", "none.txt"], "none.txt: No such file or directory"),
        (["true.txt", "latin.txt"], "latin.txt: byte 4 is not UTF-8; save the file as UTF-8"),
        (["true.txt", "read.txt", "--json", "no/out.json"], "no/out.json: the folder no does not exist"),
    ],
)
def test_bad_input_is_exit_code_2(folder, arguments, message):
    (folder / "latin.txt").write_bytes(b"caf\xe9")
    result = diff(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.endswith(f"Error: {message}\n")


def test_help_has_examples():
    assert "ocr-verify diff reference.md completion.md" in diff("--help").stdout
