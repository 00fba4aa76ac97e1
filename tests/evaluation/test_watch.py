"""Alarms: held-out pages that get worse while a reward is optimised."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.grpo_steps import metrics_of, run_training
from ocr_rl.evaluation.watch import Watch, alarms

WORDS = "bread salt rye oats malt flour hops yeast".split()


def page(i, text, edits=None, length=20):
    row = {"id": f"p{i}", "document": f"d{i // 2}", "text": text}
    return row if edits is None else row | {"cer": edits / length, "char_edits": edits, "reference_chars": length}


def texts(seed, count=24, words=3):
    rng = Random(seed)
    return [" ".join(rng.choices(WORDS, k=words)) for _ in range(count)]


def rows(found, edits=None):
    return [page(i, text, None if edits is None else edits[i]) for i, text in enumerate(found)]


def test_the_same_transcriptions_are_no_alarm():
    assert alarms(rows(texts(0), [2] * 24), rows(texts(0), [2] * 24), "the start") == []


def test_more_errors_are_an_alarm_and_fewer_are_none():
    few, many = rows(texts(0), [2] * 24), rows(texts(0), [4] * 24)
    assert alarms(few, many, "step 7") == ["CER on held-out pages is 0.200; it was 0.100 at step 7"]
    assert alarms(many, few, "step 7") == []


def test_a_rise_that_may_be_chance_is_none():
    """Half of the pages got better, half worse, and a little more of the latter."""
    before, now = rows(texts(0), [4] * 24), rows(texts(0), [0, 0, 9, 9] * 6)
    assert sum(row["char_edits"] for row in now) > sum(row["char_edits"] for row in before)
    assert alarms(before, now, "the start") == []


@pytest.mark.parametrize(("words", "found"), [(9, True), (1, True), (3, False)])
def test_texts_that_grow_or_shrink_are_an_alarm(words, found):
    lines = alarms(rows(texts(0)), rows(texts(1, words=words)), "the start")
    assert [line for line in lines if "characters" in line] == [
        line for line in lines if line.startswith("transcriptions of held-out pages have")
    ]
    assert any("characters" in line for line in lines) == found


def test_one_text_for_every_page_is_an_alarm():
    """Which no reward by agreement would notice."""
    [line] = alarms(rows(texts(0)), rows(["bread salt malt"] * 24), "the start")
    assert "of different held-out pages are more alike: similarity 1.00" in line


def test_texts_that_shrink_because_loops_are_gone_are_none():
    before = [page(i, "a loop " * 9, edits=45) for i in range(30)]
    now = [page(i, "a page", edits=2) for i in range(30)]
    assert alarms(before, now, "the start") == []


def test_nothing_on_any_page_is_an_alarm():
    assert any("have 0 characters" in line for line in alarms(rows(texts(0)), rows([""] * 24), "the start"))


@given(st.integers(0, 100), st.integers(0, 100))
def test_pages_of_another_evaluation_are_left_out(seed, other):
    before, now = rows(texts(seed), [2] * 24), rows(texts(seed), [2] * 24)
    assert alarms(before[:12], now, "the start") == alarms(before, now[:12], "the start") == []


def test_it_compares_with_the_best_evaluation_so_far():
    """.20, .05, .10: the last one is better than the start, and worse than it has been."""

    def evaluation(edits):
        return {"cer": edits / 20, "pages": rows(texts(0), [edits] * 24)}

    watch = Watch(evaluation(4))
    assert watch.look(evaluation(1), 5) == []
    assert watch.look(evaluation(2), 10) == ["CER on held-out pages is 0.100; it was 0.050 at step 5"]


def test_pages_without_texts_are_compared_with_the_start():
    watch = Watch({"cer": None, "pages": rows(texts(0))})
    assert watch.look({"cer": None, "pages": rows(texts(0))}, 5) == []
    assert len(watch.look({"cer": None, "pages": rows(["bread"] * 24)}, 10)) == 2


def test_the_pages_of_a_single_document_are_resampled():
    """Of one document alone the interval would have no width, and any change be an alarm."""
    before, now = rows(texts(0), [4] * 24), rows(texts(0), [0, 0, 9, 9] * 6)
    for row in (*before, *now):
        row["document"] = "book"
    assert alarms(before, now, "the start") == []


def test_an_alarm_is_said_logged_and_may_end_training(tmp_path, capsys):
    def evaluate(step):
        return {"cer": 0.1 * step, "alarms": ["CER is worse"] if step == 2 else []}

    for stop, steps in ((False, 3), (True, 2)):
        changes = {"train_eval_every": 1, "train_stop_on_alarm": stop}
        run, _ = run_training(tmp_path, f"run{stop}", evaluate=evaluate, **changes)
        logged = metrics_of(run)
        assert [row["eval/alarms"] for row in logged] == [[], ["CER is worse"], []][:steps]
        assert "alarm at step 2: CER is worse" in capsys.readouterr().err
        assert json.loads((run.checkpoint(steps) / "trainer" / "files.json").read_text())
