"""Scoring during generation gives the scores of `RewardFunction`, and causes no wait, hang or orphan process."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.odd_rubrics import Odd
from helpers.tiny_models import make_page, make_policy
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Page
from ocr_verifiers import Rubric

TEST = {"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "abc"}


def pages(count=3):
    return [Page(f"page{i}", lambda: None, text="abcdefg"[i:], tests=[TEST] if i % 2 else []) for i in range(count)]


class Script(Engine):
    """Yields the given (page, row, text), `pause` seconds apart; the text None refuses the page."""

    def __init__(self, events, pause=0.0):
        self.events, self.pause = events, pause

    def stream(self, pages, sampling, seed):
        for page, row, text in self.events:
            time.sleep(self.pause)
            yield Refused(page, "too large") if text is None else Sampled(page, row, completion_of(text))

    def sync(self, policy):
        pass


def completion_of(text):
    return text if isinstance(text, Completion) else Completion((), text, "end", ())


def roll_out(events, size, rubric=None, processes=1, timeout=60, pause=0.0, count=3, permute=None):
    with GroupScorer(RewardFunction(rubric or Rubric(), pages(count)), processes, timeout) as scorer:
        return scorer.roll_out(Script(events, pause), pages(count), Sampling(size), 0, permute)


def troubles(out):
    return [score.trouble for group in out.groups for score in group.scores]


@pytest.fixture(scope="module")
def scorers():
    reward_function = RewardFunction(Rubric(), pages())
    with (
        GroupScorer(reward_function, 0) as none,
        GroupScorer(reward_function, 1) as one,
        GroupScorer(reward_function, 2) as two,
    ):
        yield [none, one, two]


GROUPS = st.lists(
    st.lists(st.tuples(st.text("abc \n", max_size=6), st.sampled_from(["end", "length"])), min_size=4, max_size=4),
    min_size=3,
    max_size=3,
)


@settings(max_examples=20)
@given(GROUPS, st.randoms(use_true_random=False), st.booleans(), st.sets(st.integers(0, 2), max_size=2))
def test_scores_are_those_of_the_reward_function_in_any_order(scorers, texts, random, permuted, refused):
    """Rewards are permuted in the same way; refused pages are listed and left out."""
    known = pages()
    answers = [[Completion((), text, reason, ()) for text, reason in group] for group in texts]
    events = [(p, r, answers[p][r]) for p in range(3) for r in range(4) if p not in refused]
    random.shuffle(events)
    events += [(p, 0, None) for p in sorted(refused, reverse=True)]
    for scorer in scorers:
        out = scorer.roll_out(Script(events), known, Sampling(4), 0, Random(5) if permuted else None)
        assert [group.group.page for group in out.groups] == [known[p] for p in range(3) if p not in refused]
        expected = scorer.reward_function.score_groups(
            [group.group for group in out.groups], Random(5) if permuted else None
        )
        assert out.groups == expected
        assert [list(group.group.completions) for group in out.groups] == [
            answers[p] for p in range(3) if p not in refused
        ]
        assert out.refused == [(known[p], "too large") for p in sorted(refused)]


def test_a_real_engine_s_groups_are_scored_as_generate_and_score_groups_would():
    engine, known, sampling = TransformersEngine(make_policy(), rows=8), [make_page(i) for i in range(5)], Sampling(4)
    reward_function = RewardFunction(Rubric(), known)
    with GroupScorer(reward_function, 1) as scorer:
        out = scorer.roll_out(engine, known, sampling, 3, Random(1))
    assert out.groups == reward_function.score_groups(engine.generate(known, sampling, 3), Random(1))


@pytest.mark.parametrize("processes", [0, 2])
def test_identical_completions_of_a_page_are_scored_once(tmp_path, processes):
    """The same three times on three pages: three calls. A truncated one is another completion: a fourth."""
    events = [(page, row, "count") for page in (0, 1, 2) for row in range(3)]
    events[-1] = (2, 2, Completion((), "count", "length", ()))
    out = roll_out(events, 3, Odd(folder=str(tmp_path)), processes)
    assert len(list(tmp_path.glob("count *"))) == 4
    assert out.groups[0].scores[0] is out.groups[0].scores[2]


def test_a_page_is_prepared_once_in_a_process_and_stays_prepared(tmp_path):
    """Two batches of three pages: three preparations in the process, besides the check in this one."""
    with GroupScorer(RewardFunction(Odd(folder=str(tmp_path)), pages()), 1) as scorer:
        for _ in range(2):
            events = [(p, r, f"{r}") for r in range(4) for p in range(3)]
            scorer.roll_out(Script(events), pages(), Sampling(4), 0)
    others = [file.name for file in tmp_path.glob("prepared *") if str(os.getpid()) not in file.name.split()]
    assert sorted(name.split()[1] for name in others) == sorted(page.text for page in pages())


def test_a_process_forgets_the_page_that_was_used_longest_ago(tmp_path, monkeypatch):
    """With room for two: page 2 replaces page 1, which is prepared again; page 0 was used more recently."""
    monkeypatch.setattr("ocr_verifiers.rewards.scoring_pool.PAGES_KEPT", 2)
    known = pages()
    with GroupScorer(RewardFunction(Odd(folder=str(tmp_path)), ()), 1) as scorer:
        for number in (0, 1, 0, 2, 0, 1):
            scorer.roll_out(Script([(0, 0, "x")]), [known[number]], Sampling(1), 0)
        assert Counter(file.name.split()[1] for file in tmp_path.glob("prepared *")) == {
            page.text: times for page, times in zip(known, (1, 2, 1), strict=True)
        }
        with pytest.raises(ValueError, match=r"^nothing: the page cannot be scored"):
            scorer.roll_out(Script([(0, 0, "x")]), [Page("nothing", lambda: None)], Sampling(1), 0)
        events = [(number, row, page.text) for row in range(2) for number, page in enumerate(known)]
        out = scorer.roll_out(Script(events), known, Sampling(2), 0)
    assert [score.parts["similarity"] for group in out.groups for score in group.scores] == [1.0] * 6


def test_completions_are_scored_while_others_are_generated():
    """8 completions, one every 0.1 s, take 0.05 s each: at the end only the last one is waited for, not 0.4 s."""
    events = [(0, row, f"nap 0.05 {row}") for row in range(8)]
    with GroupScorer(RewardFunction(Odd(), pages(1)), 1) as scorer:
        scorer.roll_out(Script([(0, 0, "a")]), pages(1), Sampling(1), 0)  # the process starts
        out = scorer.roll_out(Script(events, pause=0.1), pages(1), Sampling(8), 0)
    assert out.generate_s >= 0.8
    assert 0.03 < out.score_s < 0.4


def test_without_processes_scoring_time_is_separate_from_generation_time():
    out = roll_out([(0, row, f"nap 0.05 {row}") for row in range(4)], 4, Odd(), 0, pause=0.02, count=1)
    assert 0.08 <= out.generate_s < 0.2 <= out.score_s


def test_a_scoring_process_does_not_load_torch():
    modules = troubles(roll_out([(0, 0, "modules")], 1, Odd(), count=1))[0].split()
    assert "ocr_verifiers" in modules
    assert not {"torch", "transformers", "ocr_rl", "tqdm", "PIL"} & set(modules)
    assert "torch" in sys.modules


def test_a_verifier_that_hangs_costs_only_its_completion_and_the_time_limit():
    began = time.monotonic()
    events = [(0, 0, "abc"), (0, 1, "loop"), (0, 2, "abcdefg"), (1, 0, "loop"), (1, 1, "a"), (1, 2, "b")]
    out = roll_out(events, 3, Odd(), timeout=0.5, count=2)
    assert time.monotonic() - began < 10
    assert troubles(out) == ["", "took longer than 0.5 s", "", "took longer than 0.5 s", "", ""]
    assert [score.reward for score in out.groups[0].scores][1:] == [0.0, 1.0]
    assert out.groups[0].rewards[0] == Rubric().score("abc", reference="abcdefg").reward


def test_a_process_that_dies_is_replaced_and_its_completion_scored_again(tmp_path):
    out = roll_out([(0, 0, "abc"), (0, 1, "crash once"), (0, 2, "pid")], 3, Odd(folder=str(tmp_path)), count=1)
    assert out.groups[0].scores[1] == Rubric().score("crash once", reference="abcdefg")
    assert (tmp_path / "crashed").exists()


def test_a_completion_that_ends_two_processes_is_an_error_with_its_page():
    with GroupScorer(RewardFunction(Odd(), pages(1)), 1) as scorer:
        with pytest.raises(RuntimeError, match=r"^page0: a scoring process ended with code -9$"):
            scorer.roll_out(Script([(0, 0, "crash")]), pages(1), Sampling(1), 0)
        out = scorer.roll_out(Script([(0, 0, "abcdefg")]), pages(1), Sampling(1), 0)
    assert out.groups[0].rewards == [1.0]


def test_a_process_that_is_killed_between_two_batches_is_replaced():
    with GroupScorer(RewardFunction(Odd(), pages(1)), 1) as scorer:
        (first,) = troubles(scorer.roll_out(Script([(0, 0, "pid")]), pages(1), Sampling(1), 0))
        os.kill(int(first), signal.SIGKILL)
        (second,) = troubles(scorer.roll_out(Script([(0, 0, "pid")]), pages(1), Sampling(1), 0))
    assert first != second


PROGRAM = """
import sys, time
sys.path[:0] = {folders!r}
import test_scoring as t
with t.GroupScorer(t.RewardFunction(t.Odd(), t.pages(2)), 2) as scorer:
    out = scorer.roll_out(t.Script([(0, 0, "pid"), (1, 0, "pid")]), t.pages(2), t.Sampling(1), 0)
    print(*t.troubles(out), flush=True)
    try:
        scorer.roll_out(t.Script([(0, 0, {text!r}), (1, 0, {text!r})]), t.pages(2), t.Sampling(1), 0)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def alive(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


# On other systems processes end with their input or at their time limit: nothing kills them before.
@pytest.mark.skipif(
    sys.platform != "linux", reason="reads /proc, and processes are killed with their parent on Linux only"
)
@pytest.mark.parametrize("stop", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_processes_end_with_the_trainer_even_while_a_verifier_runs(stop):
    """By SIGKILL without cleaning up, or by Ctrl-C, which reaches the whole process group."""
    code = PROGRAM.format(
        folders=[str(Path(__file__).parent), *(p for p in sys.path if p.endswith("tests"))], text="loop"
    )
    trainer = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    scoring = [int(pid) for pid in trainer.stdout.readline().split()]
    assert scoring
    time.sleep(0.5)
    assert all(alive(pid) for pid in scoring)
    if stop == signal.SIGKILL:
        trainer.kill()
    else:
        os.killpg(trainer.pid, signal.SIGINT)
    out, err = trainer.communicate(timeout=30)
    if stop == signal.SIGINT:
        assert (out, err, trainer.returncode) == ("interrupted\n", "", 0)
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in scoring) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in scoring)


def test_a_page_that_cannot_be_scored_is_an_error_before_anything_is_generated():
    with (
        GroupScorer(RewardFunction(Rubric(), ()), 0) as scorer,
        pytest.raises(ValueError, match=r"^page0: the page cannot be sc"),
    ):
        scorer.roll_out(Script([]), [Page("page0", lambda: None)], Sampling(1), 0)


def test_a_negative_number_of_processes_is_an_error():
    with pytest.raises(ValueError, match="write 0 to score in the trainer's process"):
        GroupScorer(RewardFunction(Rubric(), ()), -1)
