"""`ocr-verify bench`: olmOCR-bench folders, scores, intervals, and missing files."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers import read_jsonl
from ocr_verifiers.bench.scoring import Outcome, read_bench, score_page, sum_up
from ocr_verifiers.cli.main import main
from ocr_verifiers.resampling import bootstrap_scores, interval, permutation_p, score_difference
from ocr_verifiers.unit_tests.verdict import PASS, fail

PROSE = "The quick brown fox jumps over the lazy dog."


def present(pdf, id, text, **more):
    return {"pdf": pdf, "page": 1, "id": id, "type": "present", "text": text, **more}


@pytest.fixture
def folder(tmp_path):
    """Makes a benchmark of {file: text, or list of records}."""

    def make(**files):
        for name, content in files.items():
            path = tmp_path / "bench" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, list):
                content = "".join(json.dumps(record) + "\n" for record in content)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "bench"

    return make


def bench(folder, *options, exit_code=0):
    result = CliRunner().invoke(main, ["bench", str(folder), *map(str, options)])
    assert result.exit_code == exit_code, result.output
    return result


def scores(folder, *options):
    """The JSON report."""
    out = folder.parent / "out.json"
    bench(folder, "--json", out, *options)
    return json.loads(out.read_text(encoding="utf-8"))


def complaint(folder, *options):
    result = bench(folder, *options, exit_code=2)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


@pytest.fixture
def worked(folder):
    """Two categories, two candidates.

    fox: `fox.jsonl` has 3 tests, 2 pass; `cat.jsonl` has 1, which fails; both documents are fit for baseline.
    """
    return folder(
        **{
            "fox.jsonl": [present("a.pdf", "1", "quick"), present("a.pdf", "2", "lazy"), present("b.pdf", "3", "owl")],
            "cat.jsonl": [present("b.pdf", "1", "cat")],
            "pdfs__a.pdf": "",
            "fox__a_pg1_repeat1.md": PROSE,
            "fox__b_pg1_repeat1.md": PROSE,
            "owl__a_pg1_repeat1.md": "quick and lazy",
            "owl__b_pg1_repeat1.md": "an owl",
        }
    )


@pytest.mark.parametrize("options", [(), ("--compat", "olmocr")])
def test_the_score_is_the_unweighted_mean_over_categories_as_in_olmocr(worked, options):
    """fox: (2/3 + 0/1 + 2/2) / 3 = 5/9. owl: (3/3 + 0/1 + 2/2) / 3 = 2/3."""
    report = scores(worked, *options)
    assert list(report["candidates"]) == ["owl", "fox"]
    fox, owl = report["candidates"]["fox"], report["candidates"]["owl"]
    assert fox["score"] == pytest.approx(5 / 9, abs=1e-12)
    assert owl["score"] == pytest.approx(2 / 3, abs=1e-12)
    assert {name: (own["passed"], own["tests"]) for name, own in fox["categories"].items()} == {
        "cat": (0, 1),
        "fox": (2, 3),
        "baseline": (2, 2),
    }
    assert fox["kinds"] == {"baseline": {"average": 1.0, "tests": 2}, "present": {"average": 0.5, "tests": 4}}
    (comparison,) = report["comparisons"]
    assert (comparison["best"], comparison["name"]) == ("owl", "fox")
    assert comparison["difference"] == pytest.approx(1 / 9, abs=1e-12)


def test_the_table_has_every_category_of_every_candidate_best_first(worked):
    lines = bench(worked, "--samples", 200).stdout.splitlines()
    assert lines[0] == "6 tests of 2 pages"
    assert lines[2].startswith("owl         0.667 [0.667, 0.667]")
    assert lines[5] == "  baseline  1.000 [1.000, 1.000]   2/2"
    assert [line.split()[0] for line in lines if line and not line.startswith(" ")] == ["6", "owl", "fox", "owl"]
    assert lines[-1] == "  fox       0.111   p = 1.000"


def test_a_page_passes_a_test_in_more_than_half_of_its_repeats(folder):
    """1 of 2 is not a majority, 2 of 3 is; repeats are counted page by page."""
    pages = {f"it__a_pg1_repeat{r}.md": text for r, text in enumerate(["owl", "cat"], 1)}
    pages |= {f"it__b_pg1_repeat{r}.md": text for r, text in enumerate(["owl", "cat", "owl"], 1)}
    made = folder(**{"t.jsonl": [present("a.pdf", "a", "owl"), present("b.pdf", "b", "owl")], **pages})
    a, b = scores(made, "--skip-baseline")["verdicts"]
    assert a["candidates"]["it"] == {
        "passed": False,
        "average": 0.5,
        "repeats": [True, False],
        "why": '"owl" not found within 0 edits',
    }
    assert (b["candidates"]["it"]["passed"], b["candidates"]["it"]["average"]) == (True, 2 / 3)


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_majority_is_strict_for_any_number_of_repeats(passes):
    outcome = Outcome(tuple(PASS if passed else fail("no") for passed in passes))
    assert outcome.passed == (2 * sum(passes) > len(passes))
    assert outcome.why == ("" if all(passes) else "no")


def test_a_page_without_output_fails_its_tests_and_no_others(folder):
    made = folder(
        **{
            "t.jsonl": [
                present("a.pdf", "a", "owl"),
                present("b.pdf", "b", "owl"),
                {"pdf": "b.pdf", "page": 1, "id": "c", "type": "absent", "text": "cat"},
            ],
            "it__a_pg1_repeat1.md": "owl",
        }
    )
    report = scores(made)
    assert report["candidates"]["it"]["score"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert report["candidates"]["it"]["pages_without_output"] == [{"pdf": "b.pdf", "page": 1}]
    whys = {row["id"]: row["candidates"]["it"]["why"] for row in report["verdicts"]}
    assert whys == {"a": "", "b": "no output", "c": "no output", "a.pdf_baseline": "", "b.pdf_baseline": "no output"}
    assert "1 page without output" in bench(made).stdout


def test_a_document_without_a_baseline_test_gets_one_and_others_do_not(folder):
    """Including one that no test names; a document without tests on page 1 gets it on its first page with tests."""
    late = present("late.pdf", "2", "owl") | {"page": 3}
    blank = {"pdf": "blank.pdf", "page": 1, "id": "1", "type": "baseline", "max_length": 3}
    made = folder(
        **{"t.jsonl": [late, blank], "pdfs__sub__alone.pdf": "", "pdfs__blank.pdf": "", "it__x_pg1_repeat1.md": ""}
    )
    implicit = [
        (test.id, test.page)
        for page in read_bench(made).pages
        for category, test in page.tests
        if category == "baseline"
    ]
    assert implicit == [("late.pdf_baseline", 3), ("sub/alone.pdf_baseline", 1)]
    assert read_bench(made, skip_baseline=True).categories == ("t",)


def test_a_file_named_baseline_is_a_category_of_its_own(folder):
    rows = [{"pdf": "a.pdf", "page": 1, "id": "1", "type": "baseline"}, present("b.pdf", "2", "owl")]
    made = folder(**{"baseline.jsonl": rows, "it__a_pg1_repeat1.md": "x"})
    assert read_bench(made).categories == ("baseline", "baseline (implicit)")


def test_tests_of_one_page_in_several_files_are_all_kept(folder):
    row = present("a.pdf", "same", "owl")
    made = folder(**{"x.jsonl": [row], "y.jsonl": [row], "it__a_pg1_repeat1.md": "owl"})
    report = scores(made)
    assert (report["tests"], report["pages"]) == (3, 1)
    assert [(row["id"], row["category"]) for row in report["verdicts"][:2]] == [("same", "x"), ("same", "y")]


def test_rejected_tests_count_for_olmocr_and_not_in_strict_mode(folder):
    rows = [present("a.pdf", "1", "owl"), present("a.pdf", "2", "cat", checked="rejected")]
    made = folder(**{"t.jsonl": rows, "it__a_pg1_repeat1.md": "owl"})
    assert scores(made)["candidates"]["it"]["score"] == 1.0
    assert scores(made, "--compat", "olmocr")["candidates"]["it"]["score"] == pytest.approx((1 / 2 + 1) / 2)


def test_outputs_are_found_in_the_sub_folder_of_their_document_or_flat(folder):
    """Flat outputs are not used for documents that share their file name."""
    rows = [present(f"{pdf}.pdf", pdf, "owl") for pdf in ("x/a_pg2", "x/b", "x/same", "y/same")]
    made = folder(
        **{
            "t.jsonl": rows,
            "it__x__a_pg2_pg1_repeat1.md": "owl",
            "it__b_pg1_repeat1.md": "owl",
            "it__same_pg1_repeat1.md": "owl",
            "it__notes.md": "owl",
        }
    )
    found = {page.pdf: [path.name for path in page.outputs.get("it", ())] for page in read_bench(made).pages}
    assert found == {
        "x/a_pg2.pdf": ["a_pg2_pg1_repeat1.md"],
        "x/b.pdf": ["b_pg1_repeat1.md"],
        "x/same.pdf": [],
        "y/same.pdf": [],
    }


def test_repeats_are_in_the_order_of_their_numbers(folder):
    made = folder(**{"t.jsonl": [present("a.pdf", "1", "x")], **{f"it__a_pg1_repeat{r}.md": "" for r in (10, 9, 1)}})
    (page,) = read_bench(made).pages
    assert [path.stem.split("repeat")[1] for path in page.outputs["it"]] == ["1", "9", "10"]


def test_an_absent_test_passes_in_strict_mode_only_on_a_page_that_is_fit_for_its_baseline(folder):
    rows = [{"pdf": "a.pdf", "page": 1, "id": "1", "type": "absent", "text": "owl"}]
    made = folder(**{"t.jsonl": rows, "it__a_pg1_repeat1.md": " "})
    assert scores(made)["verdicts"][0]["candidates"]["it"]["why"].startswith("the page fails baseline")
    assert scores(made, "--skip-baseline")["candidates"]["it"]["score"] == 0.0


def test_a_category_that_an_empty_page_passes_is_named_and_left_out_of_a_second_score(folder):
    """Headers 1 of 1 and texts 1 of 2 are 0.75; without the headers it is 0.5."""
    headers = [{"pdf": "a.pdf", "page": 1, "id": "1", "type": "absent", "text": "owl"}]
    texts = [present("a.pdf", "2", "cat"), present("a.pdf", "3", "dog")]
    files = {"headers.jsonl": headers, "texts.jsonl": texts, "mine__a_pg1_repeat1.md": "the cat", "pdfs__a.pdf": ""}
    where = folder(**files)
    output = bench(where, "--compat", "olmocr", "--skip-baseline").output
    assert "warning: a page without any text passes 100% of headers; the scores without:" in output
    assert output.rstrip().endswith("0.500")
    assert "warning" not in bench(where, "--skip-baseline").output


def test_bytes_that_are_not_utf_8_and_windows_line_ends_are_no_obstacle(folder):
    rows = [present("a.pdf", "1", "quick owl"), present("a.pdf", "2", "\ufffd cat")]
    made = folder(**{"t.jsonl": rows, "it__a_pg1_repeat1.md": b"quick\r\nowl \xff cat"})
    assert scores(made)["candidates"]["it"]["score"] == 1.0


def test_the_same_seed_gives_the_same_report_and_another_one_other_intervals(worked):
    first, again, other = (scores(worked, "--seed", seed) for seed in (1, 1, 2))
    assert first == again
    assert first["verdicts"] == other["verdicts"]


def test_candidates_may_be_chosen(worked):
    assert list(scores(worked, "--candidate", "fox")["candidates"]) == ["fox"]
    assert scores(worked, "--candidate", "fox")["comparisons"] == []


def test_the_exit_code_is_1_if_a_candidate_is_below_the_bar(worked):
    bench(worked, "--fail-under", 0.5)
    bench(worked, "--fail-under", 0.6, exit_code=1)
    bench(worked, "--fail-under", 0.6, "--candidate", "owl")


def test_what_a_user_can_mend_is_one_line(worked, folder, tmp_path):
    assert complaint(worked, "--candidate", "fux").endswith('has no outputs of candidate "fux"; did you mean "fox"?')
    assert "the folder" in complaint(worked, "--json", "nowhere/out.json")
    (tmp_path / "empty").mkdir()
    assert "has no *.jsonl" in complaint(tmp_path / "empty")
    (tmp_path / "empty" / "t.jsonl").write_text('{"type": "presence"}', encoding="utf-8")
    assert 't.jsonl:1: "type" is "presence"; did you mean "present"?' in complaint(tmp_path / "empty")
    (tmp_path / "empty" / "t.jsonl").write_text("", encoding="utf-8")
    assert "have no tests" in complaint(tmp_path / "empty")
    (tmp_path / "empty" / "t.jsonl").write_text(json.dumps(present("a.pdf", "1", "x")), encoding="utf-8")
    assert "has no candidate" in complaint(tmp_path / "empty")


def test_the_interval_of_a_category_is_that_of_its_pages_drawn_with_replacement():
    """Two pages of one test, one passed: the score of a draw is 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    drawn = bootstrap_scores(np.array([[1, 0]]), np.array([[1, 1]]), samples=20_000, seed=0)[:, 0]
    shares = [float(np.mean(drawn == value)) for value in (0, 0.5, 1)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.015)
    assert interval(drawn) == (0, 1)


def test_tests_of_a_page_are_drawn_together():
    """Ten tests on a page that fails and ten on one that passes say no more than one test on each."""
    ten = bootstrap_scores(np.array([[10, 0]]), np.array([[10, 10]]), samples=500, seed=3)
    one = bootstrap_scores(np.array([[1, 0]]), np.array([[1, 1]]), samples=500, seed=3)
    assert np.array_equal(ten, one)


def test_pages_of_other_categories_are_not_drawn():
    """Page 2 has no test of category 0, page 1 none of category 1: each category is certain."""
    drawn = bootstrap_scores(np.array([[2, 0], [0, 1]]), np.array([[2, 0], [0, 4]]), samples=50, seed=0)
    assert np.array_equal(drawn, np.tile([1.0, 0.25], (50, 1)))


def test_the_p_value_counts_the_swaps_that_differ_as_much():
    """Five pages, all better by 1/5: of 32 sign patterns 2 reach |1|, so p is near 1/16."""
    better = score_difference(np.array([[1] * 5]), np.array([[0] * 5]), np.array([[1] * 5]))
    assert better.tolist() == pytest.approx([1 / 5] * 5)
    assert permutation_p(better, samples=20_000, seed=0) == pytest.approx(1 / 16, abs=0.006)


def test_candidates_that_never_differ_have_a_p_value_of_1():
    assert permutation_p(np.zeros(7), samples=100, seed=0) == 1.0


def test_a_p_value_is_never_0():
    assert permutation_p(np.full(60, 1 / 60), samples=99, seed=0) == 1 / 100


@given(st.data())
def test_the_difference_over_pages_sums_to_the_difference_of_scores(data):
    categories, pages = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    counts = st.lists(
        st.lists(st.integers(1, 3), min_size=pages, max_size=pages), min_size=categories, max_size=categories
    )
    tests = np.array(data.draw(counts))
    one, other = (np.minimum(np.array(data.draw(counts)), tests) for _ in range(2))
    by_hand = np.mean(one.sum(1) / tests.sum(1)) - np.mean(other.sum(1) / tests.sum(1))
    assert score_difference(one, other, tests).sum() == pytest.approx(by_hand, abs=1e-12)


@pytest.fixture(scope="module")
def sample(real_data):
    """olmOCR-bench's sample pages with the outputs of its systems, and olmOCR's verdicts by (system, test, output)."""
    folder = real_data / "olmocr_bench"
    rows = [row for _, row in read_jsonl(real_data / "olmocr_bench_extra" / "upstream_verdicts.jsonl")]
    return folder, {(row["system"], row["test_id"], row["candidate"]): row["passed"] for row in rows}


def test_compat_verdicts_of_a_whole_folder_are_those_of_olmocr(sample):
    folder, expected = sample
    data = read_bench(folder, compat="olmocr")
    ours = {}
    for page in data.pages:
        tests = tuple(test for test in page.tests if test.test.type != "math")  # olmOCR's own need a browser
        kept = type(page)(page.pdf, page.number, tests, page.outputs)
        for name, outcomes in score_page(kept, data.candidates, "olmocr").outcomes.items():
            for (_, test), outcome in zip(tests, outcomes, strict=True):
                for path, verdict in zip(page.outputs.get(name, ()), outcome.verdicts, strict=True):
                    ours[name, test.id, path.relative_to(folder).as_posix()] = verdict.passed
    assert len(expected) == 473
    assert {key: ours.get(key) for key in expected} == expected


def test_every_sample_system_is_ranked(sample):
    folder, _ = sample
    data = read_bench(folder)
    score = sum_up(data, [score_page(page, data.candidates) for page in data.pages], samples=100)
    assert len(score.candidates) == 9
    assert score.candidates[0].name == "olmocr_pipeline"
    assert score.candidates[0].missing == ()
    assert all(c.interval.low <= c.score <= c.interval.high for c in score.candidates)
