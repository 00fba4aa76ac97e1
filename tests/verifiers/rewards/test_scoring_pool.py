"""Scoring in several processes: the same scores, and a stuck check is a reported timeout, never a hang."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ocr_verifiers
from ocr_verifiers import Rubric, parse_test
from ocr_verifiers.rewards.groups import OLMOCR, Group, score_groups
from ocr_verifiers.rewards.scoring_pool import CHUNK, ScoringPool

TESTS = tuple(
    parse_test({"pdf": "a.pdf", "page": 1, "id": text, "type": kind, "text": text}, "here")
    for kind, text in [("present", "one"), ("absent", "two"), ("present", "three")]
)


def group(*texts, number=0, reference="one", tests=TESTS, finished=None):
    return Group(f"lines:{number}", number, reference, tests, texts, finished or (True,) * len(texts))


@dataclass(frozen=True)
class Stuck(Rubric):
    """A rubric that misbehaves on certain texts; the processes import it from here."""

    def prepare(self, reference=None, tests=()):
        misbehave(reference)
        return Prepared(super().prepare(reference, tests))


class Prepared:
    def __init__(self, prepared):
        self.prepared, self.tests = prepared, prepared.tests

    def score(self, completion, finished=True):
        misbehave(completion)
        return self.prepared.score(completion, finished)


def misbehave(text):
    match text:
        case "loop forever":
            while True:
                pass
        case "sleep in compiled code":
            ctypes.PyDLL(None).sleep(1000)  # and never let Python see a signal
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "raise":
            raise KeyError("a bug")
        case "complain":
            raise ValueError("it cannot be")
        case "print":
            print("a message of some library")
            os.write(1, b"and another")


@pytest.fixture(scope="module")
def pool():
    with ScoringPool(Rubric(), 2, timeout=60) as pool:
        yield pool


def scores_of(pool, *groups):
    return [scores for _, scores in pool.score_groups(groups)]


TEXTS = st.lists(st.text(alphabet="onetwhr \n\x00\ud800*", max_size=30), max_size=2 * CHUNK + 1)


@settings(max_examples=15)
@given(st.lists(st.tuples(TEXTS, st.booleans()), max_size=5))
def test_scores_are_those_of_this_process_in_the_same_order(pool, lines):
    groups = [
        group(*texts, number=n, finished=tuple(i % 2 == finished for i in range(len(texts))))
        for n, (texts, finished) in enumerate(lines)
    ]
    assert list(pool.score_groups(groups)) == list(score_groups(Rubric(), groups))


def test_a_completion_that_comes_twice_is_scored_once(pool):
    (scores,) = scores_of(pool, group("one", "x", "one"))
    assert scores[0] is scores[2]
    assert scores[0] != scores[1]


def test_tests_come_back_as_the_objects_that_went(pool):
    (((score,)),) = scores_of(pool, group("one"))
    assert [test for test, _ in score.verdicts] == list(TESTS)
    assert all(test is sent for (test, _), sent in zip(score.verdicts, TESTS, strict=True))


def test_olmocrs_rubric_goes_to_the_processes():
    groups = [group("", "one", reference=None)]
    with ScoringPool(OLMOCR, 1) as pool:
        assert list(pool.score_groups(groups)) == list(score_groups(OLMOCR, groups))


@pytest.mark.parametrize("stuck", ["loop forever", "sleep in compiled code"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_stuck_check_is_a_failed_verdict_and_the_others_are_scored(stuck, processes):
    """Whatever comes before and after it, in its group and in the next."""
    groups = [group("one", stuck, "two", stuck + " not", stuck), group("one three", number=1)]
    with ScoringPool(Stuck(), processes, timeout=0.5) as pool:
        first, second = scores_of(pool, *groups)
    assert first[1].reward == 0
    assert first[1].parts == {}
    assert first[1].trouble == "took longer than 0.5 s"
    assert [(test.id, verdict.passed, verdict.why) for test, verdict in first[1].verdicts] == [
        (test.id, False, "took longer than 0.5 s") for test in TESTS
    ]
    expected = Rubric().prepare("one", TESTS)
    assert [first[i] for i in (0, 2, 3)] == [expected.score(groups[0].completions[i]) for i in (0, 2, 3)]
    assert second == [expected.score("one three")]
    assert first[4] == first[1]


def test_the_limit_is_for_each_completion_and_not_for_the_group(pool):
    """40 completions of 0.05 s take 2 s, twice the limit."""
    texts = tuple(f"nap {n}" for n in range(40))
    with ScoringPool(Nap(), 1, timeout=1) as napping:
        (scores,) = scores_of(napping, group(*texts))
    assert not any(score.trouble for score in scores)


class Nap(Stuck):
    def prepare(self, reference=None, tests=()):
        prepared = super().prepare(reference, tests)
        plain = prepared.score
        prepared.score = lambda *arguments: (time.sleep(0.05), plain(*arguments))[1]
        return prepared


def test_a_page_whose_tests_take_too_long_is_an_error():
    with (
        ScoringPool(Stuck(), 1, timeout=0.5) as pool,
        pytest.raises(ValueError, match=r"^lines:3: preparing its reference and tests took longer than 0.5 s$"),
    ):
        scores_of(pool, group("x", number=3, reference="loop forever"))


def test_an_error_comes_after_the_scores_of_the_groups_before_it():
    groups = [group("one", number=n, reference="complain" if n == 4 else "one") for n in range(9)]
    with ScoringPool(Stuck(), 2) as pool:
        scored = pool.score_groups(groups)
        assert [next(scored)[0].id for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match=r"^lines:4: it cannot be$"):
            next(scored)
        assert len(scores_of(pool, group("one"))) == 1  # the pool goes on


def test_an_error_in_reading_comes_in_its_place_too(pool):
    def read():
        yield group("one", number=1)
        raise ValueError("line 2 is no good")

    scored = pool.score_groups(read())
    assert next(scored)[0].id == 1
    with pytest.raises(ValueError, match="line 2 is no good"):
        next(scored)


def test_a_bug_keeps_its_traceback_and_a_crash_its_address():
    with ScoringPool(Stuck(), 1) as pool:
        with pytest.raises(RuntimeError, match=r"in misbehave\n.*\n(.*\n)?KeyError: 'a bug'"):
            scores_of(pool, group("raise"))
        with pytest.raises(RuntimeError, match=r"^lines:5: a scoring process ended with code -11$"):
            scores_of(pool, group("crash", number=5))
        assert len(scores_of(pool, group("one"))) == 1


def test_what_a_check_prints_disturbs_nothing(capfd):
    with ScoringPool(Stuck(), 1) as pool:
        (scores,) = scores_of(pool, group("print", "one"))
    assert scores == [Rubric().prepare("one", TESTS).score(text) for text in ("print", "one")]
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "and another" in captured.err


def test_the_main_module_is_not_run_again(tmp_path):
    """multiprocessing would run it again: a script without a guard, which may load torch."""
    script = tmp_path / "script.py"
    script.write_text(
        "print('once')\n"
        "from ocr_verifiers import Rubric\nfrom ocr_verifiers.rewards.groups import Group\n"
        "from ocr_verifiers.rewards.scoring_pool import ScoringPool\n"
        "pool = ScoringPool(Rubric(), 2, 60)\n"
        "((_, (score,)),) = pool.score_groups([Group('', 1, 'x', (), ('x',), (True,))])\n"
        "print(score.reward)\n"
    )
    folder = str(Path(ocr_verifiers.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, str(script)], env={"PYTHONPATH": folder}, capture_output=True, text=True, timeout=60
    )
    assert (run.stdout, run.returncode) == ("once\n1.0\n", 0)  # and a pool that nobody closed ends with its program


def test_closing_ends_processes_that_are_busy():
    pool = ScoringPool(Stuck(), 2)
    scored = pool.score_groups([group("one", number=1), group("loop forever", number=2)])
    next(scored)
    processes = [worker._process for worker in pool._workers if worker._process]
    assert processes
    begin = time.monotonic()
    pool.close()
    assert time.monotonic() - begin < 10
    assert all(process.returncode == -signal.SIGKILL for process in processes)
    assert not any(thread.is_alive() for thread in pool._threads._threads)


def test_groups_are_read_a_few_ahead(pool):
    """Of a thousand groups, only enough to keep two processes busy."""
    seen = []

    def read():
        for n in range(1000):
            seen.append(n)
            yield group("one", number=n)

    next(pool.score_groups(read()))
    assert len(seen) <= 4


@pytest.mark.parametrize(("processes", "timeout"), [(0, None), (1, 0), (1, -1.0), (1, float("nan"))])
def test_no_processes_or_no_time_is_a_mistake(processes, timeout):
    with pytest.raises(ValueError, match="write"):
        ScoringPool(Rubric(), processes, timeout)
