"""What a run may spend: it ends with the step that uses it up, resumed or not."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.config.loader import load_recipe
from ocr_rl.runs.budget import Budget
from ocr_rl.training.resources import compute_clock


def recipe(*overrides):
    return load_recipe("grpo", list(overrides))


def steps_until_used_up(budget, metrics, limit=1000):
    """How many steps run, and after which of them an evaluation is due."""
    due = []
    for step in range(1, limit):
        if budget.used_up:
            return step - 1, due
        if budget.spend(metrics):
            due.append(step)
    raise AssertionError("never used up")


def test_without_limits_the_steps_decide():
    assert steps_until_used_up(Budget(recipe("train.steps=7")), {"completions": 1e9}) == (7, [])


def test_the_step_that_reaches_a_limit_is_the_last():
    """100 completions at 32 a step: 96 after three steps, 128 after four."""
    budget = Budget(recipe("train.steps=0", "budget.completions=100"))
    assert steps_until_used_up(budget, {"completions": 32}) == (4, [])


def test_the_nearest_limit_counts():
    """20 pages at 4 a step are five steps, 6 seconds at 2 a step are three."""
    budget = Budget(recipe("train.steps=60", "budget.pages=20", "budget.seconds=6"))
    assert steps_until_used_up(budget, {"pages": 4, "time/compute": 2.0}) == (3, [])


def test_evaluations_are_evenly_spaced_and_none_is_at_the_end():
    """Three in eight steps: at a quarter, a half and three quarters."""
    budget = Budget(recipe("train.steps=8", "budget.evaluations=3"))
    assert steps_until_used_up(budget, {}) == (8, [2, 4, 6])


def test_one_step_may_pass_two_evaluations_and_has_one():
    budget = Budget(recipe("train.steps=0", "budget.pages=10", "budget.evaluations=9"))
    assert steps_until_used_up(budget, {"pages": 4}) == (3, [1, 2])


def test_a_metric_that_a_step_lacks_or_that_is_null_costs_nothing():
    budget = Budget(recipe("train.steps=2", "budget.completions=1"))
    assert steps_until_used_up(budget, {"completions": None}) == (2, [])


def test_no_steps_and_no_limit_is_nothing_to_do():
    assert Budget(recipe("train.steps=0")).used_up


@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 5))
def test_a_resumed_run_continues_as_if_it_had_not_stopped(costs, cut, evaluations):
    rows = [{"completions": cost} for cost in costs]
    limited = recipe("train.steps=25", "budget.completions=300", f"budget.evaluations={evaluations}")
    whole, resumed = Budget(limited), Budget(limited, rows[:cut])
    for row in rows[:cut]:
        whole.spend(row)
    assert [whole.spend(row) for row in rows[cut:]] == [resumed.spend(row) for row in rows[cut:]]
    assert whole.used_up == resumed.used_up


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["budget.pages=-1"], r"budget.pages is -1; write an integer of at least 0"),
        (
            ["budget.pages=9", "train.schedule=linear"],
            r"^train.schedule is 'linear'; write constant: .* may end the run",
        ),
        (["algorithm=sft", "budget.completions=9"], r"^budget.completions is 9; write 0: sft samples none here"),
        (["algorithm=kto", "pairs.path=a", "budget.completions=9"], r"write 0: kto samples none here"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(overrides, message):
    with pytest.raises(ValueError, match=message):
        recipe(*overrides)


def test_the_clock_counts_the_work_of_started_processes_and_no_sleep():
    busy = "import time\nwhile time.process_time() < 0.4: pass\nprint('done', flush=True)\ninput()"
    before = compute_clock(on_gpu=False)
    with subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(0.5)
        spent = compute_clock(on_gpu=False) - before
        process.communicate(b"\n")
    assert 0.35 < spent < 0.9
