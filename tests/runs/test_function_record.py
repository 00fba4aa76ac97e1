"""Which code gave the rewards of which steps, also where a run resumes before a change."""

import json

import pytest

from ocr_rl.runs.function_record import record_functions

SPEC = "mine.py:f"


def uses_of(run):
    record = json.loads((run / "reward_functions.json").read_text())[SPEC]
    return [(use["after_step"], use["sha256"]) for use in record]


@pytest.mark.parametrize(
    ("resumed", "code", "changed", "uses"),
    [
        (5, "B", True, [(0, "A"), (5, "B")]),  # B gives the rewards of steps 6 to 10 now
        (5, "A", False, [(0, "A")]),
        (10, "B", True, [(0, "A"), (10, "B")]),
        (10, "A", False, [(0, "A")]),
        (15, "B", False, [(0, "A"), (10, "B")]),
        (15, "C", True, [(0, "A"), (10, "B"), (15, "C")]),
        (0, "B", False, [(0, "B")]),
    ],
)
def test_a_run_with_a_from_step_0_and_b_from_10_resumes(tmp_path, resumed, code, changed, uses):
    assert record_functions(tmp_path, {SPEC: "A"}, 0) == []
    assert record_functions(tmp_path, {SPEC: "B"}, 10) == [SPEC]
    assert record_functions(tmp_path, {SPEC: code}, resumed) == [SPEC] * changed
    assert uses_of(tmp_path) == uses
