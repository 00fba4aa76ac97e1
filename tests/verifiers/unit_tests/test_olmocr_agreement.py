"""compat="olmocr" against olmOCR's own verdicts, stored with their inputs outside of the repository."""

import pytest

from ocr_verifiers import PreparedPage, parse_test, read_jsonl, run_test


@pytest.mark.parametrize(
    ("workload", "verdicts", "runs"),
    [
        ("workload_sample", "verdicts_olmocr_sample", 88),
        ("workload_heavy", "verdicts_olmocr_heavy", 1120),
        ("workload_table", "verdicts_olmocr_table", 840),
        ("text_workload", "text_verdicts", 11188),
    ],
)
def test_every_verdict_on_the_oracle_is_that_of_olmocr(oracle, workload, verdicts, runs):
    """Runs in which olmOCR raises are recorded as failed, and fail here too."""
    expected = oracle(verdicts)["verdicts"]
    count, differ = 0, []
    for record in oracle(workload)["pages"]:
        tests = [parse_test(test, workload, compat="olmocr") for test in record["tests"]]
        for i, completion in enumerate(record["completions"]):
            page = PreparedPage(completion)
            for test, passed in zip(tests, expected[record["page_id"]][i], strict=True):
                count += 1
                if run_test(test, page, "olmocr").passed != passed:
                    differ.append((record["page_id"], i, test.id))
    assert differ == []
    assert count == runs


def test_every_verdict_on_the_sample_pages_of_olmocr_bench_is_that_of_olmocr(real_data):
    bench = real_data / "olmocr_bench"
    rows = [row for _, row in read_jsonl(real_data / "olmocr_bench_extra" / "upstream_verdicts.jsonl")]
    judged = {row["test_id"] for row in rows}
    records = [row for _, row in read_jsonl(bench / "tests.jsonl") if row["id"] in judged]
    tests = {record["id"]: parse_test(record, "tests.jsonl", compat="olmocr") for record in records}
    pages = {row["candidate"]: PreparedPage((bench / row["candidate"]).read_text(encoding="utf-8")) for row in rows}
    differ = [
        (row["test_id"], row["candidate"])
        for row in rows
        if run_test(tests[row["test_id"]], pages[row["candidate"]], "olmocr").passed != row["passed"]
    ]
    assert differ == []
    assert len(rows) == 473
