"""compat="olmocr" against olmOCR's own verdicts, stored with their inputs outside of the repository."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from ocr_verifiers import PreparedPage, parse_test, read_jsonl, run_test

SHARED = Path(__file__).resolve().parents[2].parent / "shared"
REAL_DATA = Path(os.environ.get("OCR_RL_REAL_DATA", SHARED / "data" / "real"))
ORACLE = Path(os.environ.get("OCR_RL_ORACLE", SHARED / "oracle" / "olmocr"))
KINDS = ("present", "absent", "order", "baseline", "format", "footnote")


@pytest.mark.parametrize(
    ("workload", "verdicts", "runs"),
    [
        ("workload_sample", "verdicts_olmocr_sample", 68),
        ("workload_heavy", "verdicts_olmocr_heavy", 1120),
        ("text_workload", "text_verdicts", 9154),
    ],
)
def test_every_verdict_on_the_oracle_is_that_of_olmocr(workload, verdicts, runs):
    if not ORACLE.is_dir():
        pytest.skip(f"no oracle in {ORACLE}; set OCR_RL_ORACLE to its folder")
    expected = json.loads((ORACLE / f"{verdicts}.json").read_text(encoding="utf-8"))["verdicts"]
    counts, differ = Counter(), []
    for record in json.loads((ORACLE / f"{workload}.json").read_text(encoding="utf-8"))["pages"]:
        tests = [
            parse_test(test, workload, compat="olmocr") if test["type"] in KINDS else None for test in record["tests"]
        ]
        for i, completion in enumerate(record["completions"]):
            page = PreparedPage(completion)
            for test, passed in zip(tests, expected[record["page_id"]][i], strict=True):
                if test is None:
                    continue
                counts[test.type] += 1
                if run_test(test, page, "olmocr").passed != passed:
                    differ.append((record["page_id"], i, test.id))
    assert differ == []
    assert counts.total() == runs


def test_every_verdict_on_the_sample_pages_of_olmocr_bench_is_that_of_olmocr():
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data in {REAL_DATA}; set OCR_RL_REAL_DATA to its folder")
    bench = REAL_DATA / "olmocr_bench"
    rows = [row for _, row in read_jsonl(bench / "tests.jsonl")]
    tests = {row["id"]: parse_test(row, "tests.jsonl", compat="olmocr") for row in rows if row["type"] in KINDS}
    rows = [row for _, row in read_jsonl(REAL_DATA / "olmocr_bench_extra" / "upstream_verdicts.jsonl")]
    rows = [row for row in rows if row["type"] in KINDS]
    pages = {row["candidate"]: PreparedPage((bench / row["candidate"]).read_text(encoding="utf-8")) for row in rows}
    differ = [
        (row["test_id"], row["candidate"])
        for row in rows
        if run_test(tests[row["test_id"]], pages[row["candidate"]], "olmocr").passed != row["passed"]
    ]
    assert differ == []
    assert len(rows) == 417
