"""`ocr-verify make-tests`: makes unit tests from a reference that pass on it."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.authoring.make_tests import Limits, Rarity, make_page_tests
from ocr_verifiers.authoring.reference_parts import footnotes, numbers, sentences, words
from ocr_verifiers.cli.main import main
from ocr_verifiers.files.page_rows import page_of
from ocr_verifiers.unit_tests.records import KINDS, read_tests

PAGE = """# The harbour of Ostend

The **lighthouse keeper** counted 1,204 vessels in 1839.[^1] No captain had asked for a pilot. In the evening
the fishermen returned with empty nets.

| Year | Vessels | Pilots |
| --- | --- | --- |
| 1838 | 977 | 12 |
| 1839 | 1204 | 13 |

Their number grows as \\(n^2 + 3n\\) every year.

[^1]: After the harbour master's book.
"""


def made(text, others=(), limits=Limits(), seed=0, **furniture):
    """The tests of a page in a dataset with other pages."""
    rarity = Rarity()
    for page in (text, *others):
        rarity.add(page)
    return make_page_tests("images/p1.png", 1, text, rarity, furniture=furniture, limits=limits, seed=seed)


def records(text, kind, **options):
    return [record for record in made(text, **options).records if record["type"] == kind]


def texts(text, kind="present", **options):
    return [record["text"] for record in records(text, kind, **options)]


# What is made


def test_a_page_with_everything_gets_tests_of_every_kind():
    pytest.importorskip("py_mini_racer")
    assert {record["type"] for record in made(PAGE, header="Annual report").records} == set(KINDS)


def test_the_rarest_words_come_first_and_of_equally_rare_ones_the_longest():
    """`harbour` is on both pages; `lighthouse` is longer than `pilots`."""
    assert texts("harbour pilots lighthouse", others=["harbour"]) == ["lighthouse", "pilots", "harbour"]


def test_no_more_words_and_numbers_are_asked_for_than_wanted():
    limits = Limits(words=1, numbers=1)
    assert texts("lighthouse pilots 1839 977", limits=limits) == ["lighthouse", "1839"]


def test_a_word_that_also_stands_inside_another_is_no_test():
    """A page with `lighthouses` alone would pass it."""
    assert texts("light of lighthouses") == ["lighthouses"]


def test_words_that_differ_in_a_letter_are_near_duplicates():
    """8 of 9 letters: ratio 2 * 7 / 15 = 0.93."""
    page = made("harbour harbours")
    assert [record["text"] for record in page.records if record["type"] == "present"] == ["harbours"]
    assert made("seaport seaborn").left_out == {}


def test_numbers_that_differ_in_a_digit_are_different_numbers():
    assert texts("1838 1839") == ["1838", "1839"]


def test_a_word_cut_in_two_by_the_end_of_a_line_is_no_test():
    assert texts("the harb-\nour lamp lighthouse") == ["lighthouse"]


def test_a_short_page_without_a_rare_word_is_asked_for_as_a_whole():
    assert texts("— so it is —") == ["- so it is -"]


def test_words_and_numbers_have_to_be_exact_and_sentences_may_have_an_edit_for_25_characters():
    page = made("The lighthouse keeper counted 1204 vessels. In the evening the fishermen returned.")
    edits = {(record["type"], record.get("max_diffs")) for record in page.records if record["type"] != "baseline"}
    assert edits == {("present", 0), ("order", 1)}  # 38 and 42 characters


def test_headers_footers_and_page_numbers_are_absent_line_by_line():
    page = made(PAGE, header="Annual report\nOf the port of Ostend, 1840", footer=["Ostend"], page_number=17)
    absent = [(record["text"], record["max_diffs"]) for record in page.records if record["type"] == "absent"]
    # "Ostend" is on the page: it would fail there.
    assert absent == [("Annual report", 0), ("Of the port of Ostend, 1840", 1), ("17", 0)]
    assert page.left_out["absent", "fails on its reference"] == 1


def test_a_page_that_repeats_its_sentences_has_no_order_that_could_be_wrong():
    page = made("He came home late.\nShe went out again.\nHe came home late.\nShe went out again.")
    assert not [record for record in page.records if record["type"] == "order"]
    assert page.left_out["order", "holds backwards too"] == 1


def test_no_sentence_is_in_two_order_tests():
    page = "\n".join(f"Line number {word} of the list" for word in "one two three four five six seven".split())
    pairs = records(page, "order")
    assert len(pairs) == 3
    assert len({text for pair in pairs for text in (pair["before"], pair["after"])}) == 6


def test_every_filled_cell_is_asked_for_with_all_its_neighbours():
    tests = records(PAGE, "table")
    assert [test["cell"] for test in tests] == "Year Vessels Pilots 1838 977 12 1839 1204 13".split()
    (middle,) = (test for test in tests if test["cell"] == "977")
    assert {name: middle[name] for name in ("up", "down", "left", "right")} == {
        "up": "Vessels",
        "down": "1204",
        "left": "1838",
        "right": "12",
    }


def test_cells_beyond_the_limit_of_a_table_are_drawn_by_lot_and_by_seed():
    three = [[test["cell"] for test in records(PAGE, "table", limits=Limits(cells=3), seed=n)] for n in (0, 0, 1, 2)]
    assert [len(cells) for cells in three] == [3, 3, 3, 3]
    assert three[0] == three[1]
    assert len({tuple(cells) for cells in three}) > 1


def test_headings_and_bold_stretches_have_their_format():
    assert [(test["format"], test["text"]) for test in records(PAGE, "format")] == [
        ("heading", "The harbour of Ostend"),
        ("bold", "lighthouse keeper"),
    ]


def test_a_footnote_marker_stands_after_the_words_before_it():
    (test,) = records(PAGE, "footnote")
    assert (test["marker"], test["appears_before_marker"]) == ("1", "keeper counted 1,204 vessels in 1839.")


def test_a_formula_is_asked_for_once():
    pytest.importorskip("py_mini_racer")
    (test,) = records(PAGE + "\nAgain \\(n^2+3n\\) and \\(n\\).", "math")
    assert test["math"] == "n^2 + 3n"


def test_prose_between_dollar_signs_and_single_letters_are_no_formulas_to_ask_for():
    pytest.importorskip("py_mini_racer")
    assert records("The price is $10,500 for$ \\(n\\).", "math") == []


def test_without_the_javascript_engine_formulas_are_left_out_with_the_remedy(monkeypatch):
    monkeypatch.setattr("ocr_verifiers.markup.katex.installed", lambda: False)
    page = made("\\(n^2 + 3n\\)")
    assert not [record for record in page.records if record["type"] == "math"]
    assert page.left_out["math", "math tests need a JavaScript engine: pip install 'ocr-rl[math]'"] == 1


def test_every_page_has_one_baseline_that_says_whether_chinese_is_wrong():
    (english,), (chinese,) = records("harbour", "baseline"), records("港口", "baseline")
    assert english["check_disallowed_characters"] is True
    assert chinese["check_disallowed_characters"] is False


def test_a_blank_page_may_have_ten_letters_and_an_empty_page_is_right():
    """olmOCR-bench's own blank page has the same `max_length`."""
    (test,) = made("— * —").records
    assert (test["type"], test["max_length"]) == ("baseline", 10)
    assert run_test(parse_test(test, "-"), PreparedPage("")).passed


def test_a_reference_with_a_long_rule_at_its_end_gets_a_baseline_that_allows_it():
    """olmOCR fails more than 30 dashes at the end of a page."""
    (test,) = records("harbour " + "-" * 50, "baseline")
    assert test["max_repeats"] == 60


def test_without_a_baseline_that_holds_there_is_no_absent_test():
    """A page earns `absent` only if it passes its baseline."""
    page = made("lighthouse " * 2000, header="Annual report")
    assert {record["type"] for record in page.records} == {"present"}
    assert page.left_out["baseline", "fails on its reference"] == 1


# Ids


def test_ids_are_file_kind_and_a_hash_of_what_the_test_says():
    first = made("lighthouse pilots").records
    again = made("lighthouse harbour").records
    assert [record["id"].rsplit("_", 1)[0] for record in first] == ["p1_baseline", "p1_present", "p1_present"]
    assert first[:2] == again[:2]
    assert first[2]["id"] != again[2]["id"]


def test_ids_of_files_with_one_stem_and_of_pages_of_a_file_differ():
    pages = [("a/p1.pdf", 1), ("b/p1.pdf", 1), ("a/p1.pdf", 2)]
    ids = [record["id"] for page in pages for record in make_page_tests(*page, PAGE, Rarity()).records]
    assert len(set(ids)) == len(ids)
    assert any(name.startswith("p1_pg2_baseline_") for name in ids)


# What always holds

ANY_TEXT = st.one_of(
    st.text(st.characters(), max_size=200),  # lone surrogates included
    st.lists(
        st.sampled_from(
            "# ;**;_;|;\n;\n\n;- ;<table>;<tr><td>;</td>;</table>;$;\\(;\\);[^1];[^1]: ;"
            "<sup>1</sup>;---\n;<br>;\x00;&amp;;harbour ;Ostend. ;1839;x^2; ;港口;🎉".split(";")
        ),
        max_size=40,
    ).map("".join),
)


@given(ANY_TEXT, st.text(max_size=20))
@example("<b>**a</b> b**", "a")
@example("---\nis_table: true\n---\n\nharbour", "table")
@example("a*b*c harbour*s*", "")
def test_whatever_the_reference_its_tests_pass_on_it_and_fail_on_an_empty_page(text, header):
    for record in made(text, header=header).records:
        test = parse_test(record, "-")
        blank = record["type"] == "absent" or record.get("max_length") is not None
        for compat in (None, "olmocr"):
            assert run_test(test, PreparedPage(text), compat).passed
            assert run_test(test, PreparedPage(""), compat).passed == blank


@given(ANY_TEXT, st.integers())
def test_the_same_page_and_seed_give_the_same_tests_under_different_ids(text, seed):
    one, two = (made(text, seed=seed).records for _ in range(2))
    assert one == two
    assert len({record["id"] for record in one}) == len(one)


@pytest.mark.parametrize(
    "text",
    [
        "|" * 100_000,
        "<table>" * 10_000,
        "<table><tr><td>x" * 5_000,
        "\\[ \\( $$ $ " * 10_000,
        "[^1]" * 25_000,
        "a'" * 50_000,
        "1." * 50_000,
        "**a** _b_ " * 10_000,
        "![" * 50_000,
        "Harbour of Ostend. " * 5_000,
        " ".join(f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}lamp" for n in range(9_000)),
    ],
    ids=lambda text: text[:12],
)
def test_a_strange_page_of_100_kilobytes_takes_seconds_at_most(text):
    with CpuClock() as clock:
        made(text)
    assert clock.seconds < 10


# The parts of a reference


def test_words_leave_out_markup_formulas_and_what_is_in_part_something_else():
    text = "snake_case don't ![image](photo.png) $formula$ <p class='inside'>[linked](https://example.org)</p> mp3s"
    assert words(text) == ["don't", "linked"]


def test_scripts_without_spaces_are_cut_into_pieces():
    assert words("中文句子在这里很长很长很长。") == ["中文句子在这里很", "长很长很长"]


def test_numbers_keep_the_signs_inside_them():
    assert numbers("8.9.1762, 1,204.50 69–77 x12 7 3/4 (1999) 10%") == [
        "8.9.1762",
        "1,204.50",
        "69-77",
        "3/4",
        "1999",
        "10",
    ]


def test_sentences_end_at_a_full_stop_and_not_at_an_abbreviation():
    assert sentences('Dr. M. Okafor came home. "It is late!" she said. Then\nhe slept well.') == [
        "Dr. M. Okafor came home.",
        '"It is late!" she said.',
        "Then he slept well.",
    ]


def test_lines_stand_in_for_sentences_where_there_are_none():
    assert sentences("Harbour dues\nPilot money\n| a | table |\n12") == ["Harbour dues", "Pilot money"]


def test_a_sentence_longer_than_80_characters_is_its_first_words():
    first, _ = sentences("word " * 40 + "end. " + "Then it was over.")
    assert first == ("word " * 16).strip()


def test_footnotes_are_markers_in_the_text_and_not_the_notes():
    assert footnotes("The harbour[^a] of[^b] Ostend.\n\n[^a]: note[^c]") == [("a", "The harbour")]


def test_a_number_sign_names_a_page():
    assert page_of("a.pdf#12") == ("a.pdf", 12)
    assert page_of("a#b.png") == ("a#b.png", 1)
    assert page_of("a.pdf#0") == ("a.pdf#0", 1)
    assert page_of("#3") == ("#3", 1)


# The command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def run(*arguments):
    return CliRunner().invoke(main, ["make-tests", "metadata.jsonl", "--out", "tests.jsonl", *arguments])


def test_the_command_writes_tests_in_the_order_of_the_rows(folder):
    rows = [
        {"file_name": "b.png", "text": PAGE},
        {"file_name": "a.pdf#2", "text": "harbour dues", "page_number": 2},
        {"file_name": "c.png"},
    ]
    write(folder / "metadata.jsonl", rows)
    result = run("--json", "made.json")
    assert result.exit_code == 0, result.output
    tests = [test for _, test in read_tests(folder / "tests.jsonl")]
    assert list(dict.fromkeys((test.pdf, test.page) for test in tests)) == [("b.png", 1), ("a.pdf", 2)]
    assert result.stdout.startswith(f"tests.jsonl: {len(tests)} tests of 2 pages\n")
    assert "pages without text: 1" in result.stdout
    report = json.loads((folder / "made.json").read_text())
    assert (report["pages"], report["pages_without_text"]) == (3, 1)
    assert sum(report["tests"].values()) == len(tests)


def test_the_same_input_gives_the_same_bytes(folder):
    write(folder / "metadata.jsonl", [{"id": "a.png", "text": PAGE}, {"id": "b.png", "text": PAGE}])
    run()
    first = (folder / "tests.jsonl").read_bytes()
    run()
    assert (folder / "tests.jsonl").read_bytes() == first


def test_what_was_made_scores_its_references_with_full_marks(folder):
    write(folder / "metadata.jsonl", [{"file_name": "a.png", "text": PAGE, "header": "Annual report"}])
    run()
    scored = CliRunner().invoke(main, ["score", "metadata.jsonl", "--references", "metadata.jsonl"])
    assert scored.exit_code == 0
    count = len(list(read_tests(folder / "tests.jsonl")))
    assert f"{count}/{count} (1.000)" in scored.stdout


def test_a_lone_surrogate_survives_the_file(folder):
    (folder / "metadata.jsonl").write_text('{"id": "a.png", "text": "harbour\\udc80 dues"}\n')
    assert run().exit_code == 0
    assert list(read_tests(folder / "tests.jsonl"))


def test_no_test_at_all_is_exit_code_1(folder):
    write(folder / "metadata.jsonl", [{"file_name": "a.png"}])
    assert run().exit_code == 1


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([{"text": "x"}], 'metadata.jsonl:1: "file_name" (or "id") is not a string; write the name of the page'),
        ([{"id": "a", "text": 7}], 'metadata.jsonl:1: "text" of "a" is not a string; leave it out if there is none'),
        (
            [{"id": "a.pdf"}, {"id": "a.pdf#1"}],
            'metadata.jsonl:2: "a.pdf#1" is the same page as line 1; keep one',
        ),
        (
            [{"id": "a", "text": "x", "footer": True}],
            'metadata.jsonl:1: "footer" is true; write a string, an integer or a list of these ("a")',
        ),
        ([], "metadata.jsonl: has no rows"),
    ],
)
def test_what_a_user_can_mend_is_one_line_and_exit_code_2(folder, rows, line):
    write(folder / "metadata.jsonl", rows)
    result = run()
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"Error: {line}\n")
    assert not list(folder.glob("*tests*"))


def test_help_names_the_fields_for_headers_and_has_examples():
    text = CliRunner().invoke(main, ["make-tests", "--help"]).stdout
    assert '"header", "footer", "page_number"' in text
    assert "ocr-verify make-tests metadata.jsonl --out tests.jsonl" in text


def test_real_references_pass_all_their_tests(real_data, tmp_path):
    """1,792 pages and lines in nine languages: every page gets a baseline, and lint finds nothing."""
    out = str(tmp_path / "tests.jsonl")
    metadata = str(real_data / "metadata.jsonl")
    assert CliRunner().invoke(main, ["make-tests", metadata, "--out", out]).exit_code == 0
    result = CliRunner().invoke(main, ["lint", out, "--references", metadata])
    assert result.exit_code == 0, result.stdout[:2000]
    assert "1,792 pages: 0 problems" in result.stdout
