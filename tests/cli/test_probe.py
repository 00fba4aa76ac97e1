"""`ocr-rl probe`: pages ranked by what their completions say, and training on those that are kept."""

import math
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run, write_rows
from helpers.tiny_models import make_page
from ocr_rl.rewards.probe import probed_pages


def group(id, *rewards, tokens=10, logprob=-2.0):
    texts = [str(i) for i in range(len(rewards))]
    sums = [logprob] * len(rewards)
    return {"id": id, "completions": texts, "tokens": [tokens] * len(rewards), "sum_logprobs": sums, "rewards": rewards}


GROUPS = [
    group("alike", 0.5, 0.5, 0.5, 0.5),
    group("wide", 0.0, 0.0, 0.0, 0.8),
    group("narrow", 0.5, 0.5, 0.5, 0.6),
    group("unsure", 0.4, 0.4, 0.4, 0.6, logprob=-20.0),
    {"id": "broken", "completions": [], "error": "no image"},
]


def test_pages_are_ranked_by_headroom_spread_and_entropy():
    """wide: mean .2, best .8, variance .12, .2 nats a token: .6 exp(.2 + .24)."""
    write_rows(Path("groups.jsonl"), GROUPS)
    result = run("probe", "groups.jsonl", "--keep", "0.75", "--out", "kept.jsonl")
    assert result.output == "3 of 4 pages in kept.jsonl; 1 have completions of one reward alone\n"
    rows = rows_of(Path("kept.jsonl"))
    assert [row["id"] for row in rows] == ["unsure", "wide", "narrow"]
    unsure, wide, _ = rows
    assert wide == {
        "id": "wide",
        "score": pytest.approx(0.6 * math.exp(0.44), abs=1e-6),
        "mean": pytest.approx(0.2),
        "best": 0.8,
        "spread": pytest.approx(0.12**0.5, abs=1e-6),
        "entropy": pytest.approx(0.2),
    }
    assert unsure["score"] == pytest.approx(0.15 * math.exp(2 + 2 * 0.0075), abs=1e-6)
    for by, first in (("spread", "wide"), ("entropy", "unsure")):
        assert run("probe", "groups.jsonl", "--keep", "0.1", "--by", by, "--out", "one.jsonl").exit_code == 0
        assert [row["id"] for row in rows_of(Path("one.jsonl"))] == [first]


def test_rewards_of_another_rubric_and_files_without_probabilities():
    rows = [{"id": "a", "completions": ["x", "y"]}, {"id": "b", "completions": ["x", "y"]}]
    write_rows(Path("groups.jsonl"), rows)
    scores = [{"id": i, "completions": [{"reward": 0.1}, {"reward": best}]} for i, best in (("a", 0.2), ("b", 0.9))]
    write_rows(Path("scores.jsonl"), scores)
    assert run("probe", "groups.jsonl", "--scores", "scores.jsonl", "--out", "kept.jsonl").exit_code == 0
    assert [(row["id"], row["entropy"]) for row in rows_of(Path("kept.jsonl"))] == [("b", 0.0)]


def test_mistakes_have_an_address():
    write_rows(Path("groups.jsonl"), [group("a", 0.5, 0.5)])
    assert "of none of the 1 pages do the completions differ" in refused("probe", "groups.jsonl", "--out", "kept.jsonl")
    assert not Path("kept.jsonl").exists()
    write_rows(Path("groups.jsonl"), [{"id": "a", "completions": ["x"]}])
    assert refused("probe", "groups.jsonl", "--out", "kept.jsonl").startswith('groups.jsonl:1: "rewards" is missing')


def test_training_takes_the_pages_that_are_named_and_holds_out_the_same():
    pages, held_out = [make_page(i) for i in range(4)], [make_page(4)]
    write_rows(Path("kept.jsonl"), [{"id": "page3"}, {"id": "page1"}, {"id": "page4"}])
    assert [page.id for page in probed_pages(Path("kept.jsonl"), pages, held_out)] == ["page1", "page3"]
    with pytest.raises(ValueError, match=r"data.only: kept.jsonl names none of the 1 pages to train on"):
        probed_pages(Path("kept.jsonl"), pages[:1], [*pages, *held_out])
    with pytest.raises(ValueError, match=r"kept.jsonl:1: .id. is page3, which is not a page"):
        probed_pages(Path("kept.jsonl"), pages[:3])
    with pytest.raises(ValueError, match=r"data.only: nowhere.jsonl does not exist; `ocr-rl probe` writes"):
        probed_pages(Path("nowhere.jsonl"), pages)


def test_from_a_rollout_to_training(pages):
    out = run("rollout", "tiny", "--data", pages, "--group-size", 4, "--max-tokens", 24, "--processes", 0, "--out", "g")
    assert out.exit_code == 0, out.output
    assert run("probe", "g", "--keep", "0.5", "--out", "kept.jsonl").exit_code == 0
    kept = {row["id"] for row in rows_of(Path("kept.jsonl"))}
    settings = ["data.only=kept.jsonl", "data.validation=0.3", "rollout.group_size=2", "rollout.pages_per_step=2"]
    settings += ["rollout.max_tokens=24", "reward.processes=0", "train.steps=1", "train.tensorboard=false"]
    options = [word for setting in settings for word in ("--set", setting)]
    result = run("train", "--data", pages, "--out", "run", *options)
    assert result.exit_code == 0, result.output
    trained = {row["page"] for row in rows_of(Path("run/rollouts/step_000001.jsonl"))}
    assert trained <= kept


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": ["z", 1]}, """2: "tokens" holds 'z'; write the number of tokens of each completion"""),
        ({"tokens": [None, 1]}, '2: "tokens" holds None; write the number of tokens of each completion'),
        ({"tokens": [1.5, 1]}, '2: "tokens" holds 1.5; write'),
        ({"sum_logprobs": [None, "x"]}, """2: "sum_logprobs" holds 'x'; write a number for each completion, null if"""),
        ({"id": "wide"}, '2: "id" is wide, as on line 1; keep one group of each page'),
    ],
)
def test_a_line_that_is_wrong_is_named(changes, message):
    write_rows(Path("groups.jsonl"), [group("wide", 0.0, 1.0), group("other", 0.0, 1.0) | changes])
    assert refused("probe", "groups.jsonl", "--out", "kept.jsonl").startswith(f"groups.jsonl:{message}")
    assert not Path("kept.jsonl").exists()
