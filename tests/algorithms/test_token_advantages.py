"""GRPO with credit by token, and with the reference in the group."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.grpo_steps import RUBRIC, gradient, run_training
from helpers.tiny_models import assert_all_close, completion, group, make_page, make_policy, make_recipe
from ocr_rl.algorithms.grpo import GrpoLearner
from ocr_rl.config.loader import load_recipe
from ocr_rl.rewards.placed_parts import placed_parts, rewards_without
from ocr_rl.rewards.reward_function import RewardFunction, scored_group
from ocr_rl.training.group_advantages import advantages_of
from ocr_rl.training.references import References
from ocr_rl.types import Group
from ocr_verifiers import Rubric

BASELINE = {"type": "baseline", "pdf": "p", "page": 1, "id": "t"}


def scored(rubric, *texts, text="abcd", tests=()):
    page = replace(make_page(0), text=text, tests=tests)
    reward_function = RewardFunction(rubric, [page])
    own = group(page, *texts)
    return reward_function, reward_function.score_groups([own])[0]


def advantages(reward_function, one, **changes):
    changes = {"grpo_credit_lambda": 0.0, **changes}
    learner = GrpoLearner(make_policy(), make_recipe(grpo_credit="alignment", **changes))
    found, [by_token] = learner.advantages([one], reward_function)
    return found, by_token


def test_a_similarity_is_paid_to_tokens_alone():
    """`abld` has one wrong token of its five, `abcd` none: -1 against nine zeros."""
    found, by_token = advantages(*scored(Rubric(weights={"similarity": 1.0}), "abcd", "abld"))
    values = torch.tensor([0.0] * 9 + [-1.0])
    expected = (values - values.mean()) / (values.std() + 1e-4)
    assert by_token[0].tolist() == pytest.approx([expected[0].item()] * 5)
    assert by_token[1].tolist() == pytest.approx(
        [expected[0].item()] * 2 + [expected[9].item()] + [expected[0].item()] * 2
    )
    assert found.advantages[0].tolist() == pytest.approx(by_token.mean(1).tolist())
    assert found.spread.tolist() == [True]


def test_what_has_no_place_stays_with_the_completion():
    """Half of the reward is whether a text is exact; it is compared on the scale of the whole reward, 1 and .375."""
    reward_function, one = scored(Rubric(weights={"similarity": 1.0, "exact": 1.0}), "abcd", "abld")
    policy = make_policy()
    [part] = placed_parts(one, reward_function, policy.pieces)
    assert (part.name, part.share) == ("similarity", 0.5)
    assert rewards_without(one, [part]) == pytest.approx([0.5, 0.0])
    _, by_token = advantages(reward_function, one)
    similar = advantages(*scored(Rubric(weights={"similarity": 1.0}), "abcd", "abld"))[1]
    exact = torch.tensor([1, -1]) * (0.25 / (torch.tensor([1, 0.375]).std() + 1e-4))
    assert_all_close({"a": by_token}, {"a": 0.5 * similar + exact[:, None]}, 1e-6)


def test_what_a_gate_takes_stays_with_the_completion():
    """The same text, once cut off: what its tokens earn is the same, and the gate takes half of it."""
    page = make_page(0, text="abcd")
    reward_function = RewardFunction(RUBRIC, [page])
    own = Group(page, [completion("abcd"), completion("abcd", finished=False)])
    [one] = reward_function.score_groups([own])
    parts = placed_parts(one, reward_function, make_policy().pieces)
    assert one.rewards == [1.0, 0.5]
    assert rewards_without(one, parts) == pytest.approx([0, -0.5])
    _, by_token = advantages(reward_function, one)
    assert by_token[0][0] > 0.5 > -0.5 > by_token[1][0]


def test_what_nobody_reads_costs_the_completion_as_a_whole():
    reward_function, one = scored(Rubric(weights={"similarity": 1.0}), "abcd", "abcd")
    hidden = replace(one.group.completions[1], text="abcd<!-- jkl jkl jkl jkl -->")
    [one] = reward_function.score_groups([Group(one.group.page, [one.group.completions[0], hidden])])
    parts = placed_parts(one, reward_function, make_policy().pieces)
    assert one.rewards[1] < 0.5
    assert rewards_without(one, parts) == pytest.approx([0, one.rewards[1] - 1])


def test_a_completion_that_could_not_be_scored_has_no_credit():
    """It took too long, so that its text is not read again here, and its siblings do not agree with it."""
    rubric = Rubric(weights={"similarity": 1.0, "consensus": 1.0})
    reward_function, one = scored(rubric, "abcd", "abld", "abcd")
    alone = [reward_function.score(one.group.page, completion) for completion in one.group.completions]
    lost = replace(alone[2], reward=0.0, parts={}, trouble="scoring took too long")
    scores = reward_function.compare_siblings(one.group, [*alone[:2], lost])
    assert [score.parts.get("consensus") for score in scores] == [0.375, 0.375, None]
    one = scored_group(one.group, scores)
    parts = placed_parts(one, reward_function, make_policy().pieces)
    assert [part.credits[2] for part in parts] == [None, None]
    assert rewards_without(one, parts) == pytest.approx([0, 0, -1])
    _, by_token = advantages(reward_function, one)
    assert by_token[2].tolist() == pytest.approx([by_token[2][0].item()] * 5)
    assert by_token[2][0] < 0


def test_without_a_reference_tokens_are_compared_with_the_siblings():
    """`abcd` agrees most, so the wrong token of `abld` stands out; nothing is known about the page."""
    reward_function, one = scored(Rubric(weights={"consensus": 1.0}), "abcd", "abld", "abcd", text=None)
    [part] = placed_parts(one, reward_function, make_policy().pieces)
    assert [credit.deltas for credit in part.credits] == [[0] * 5, [0, 0, -1, 0, 0], [0] * 5]


def test_a_page_without_anything_to_align_keeps_its_sequence_advantages():
    rubric = Rubric(weights={"similarity": 1.0, "pass_rate": 1.0})
    reward_function, one = scored(rubric, "abcd", "", text=None, tests=[BASELINE])
    assert placed_parts(one, reward_function, make_policy().pieces) == []
    _, by_token = advantages(reward_function, one)
    sequence = advantages_of([one], make_recipe().grpo).advantages[0]
    assert by_token[0].tolist() == pytest.approx([sequence[0].item()] * 5)
    assert by_token[1].tolist() == pytest.approx([sequence[1].item()] + [0.0] * 4)


def present(text, **fields):
    return {"type": "present", "pdf": "p", "page": 1, "id": text, "text": text, **fields}


def test_a_test_is_paid_to_the_tokens_that_it_looks_at():
    """`bcd j` is found in the first and misread in the second; the other test passes in both."""
    rubric = Rubric(weights={"pass_rate": 1.0}, gates={})
    tests = [present("bcd j"), present("kl")]
    reward_function, one = scored(rubric, "abcd jkl", "abld jkl", text=None, tests=tests)
    found, by_token = advantages(reward_function, one, grpo_credit_tests=True)
    paid = 0.25 / (torch.tensor([1.0, 0.5]).std().item() + 1e-4)
    looked_at = [0.0] + [1.0] * 5 + [0.0] * 3
    assert by_token[0].tolist() == pytest.approx([paid * each for each in looked_at])
    assert by_token[1].tolist() == pytest.approx([-paid * each for each in looked_at])
    assert found.advantages[0].tolist() == pytest.approx(by_token.mean(1).tolist())


def test_a_test_whose_text_is_nowhere_stays_with_the_completion():
    rubric = Rubric(weights={"pass_rate": 1.0}, gates={})
    reward_function, one = scored(rubric, "abcd jkl", "jkl", text=None, tests=[present("abcd")])
    _, by_token = advantages(reward_function, one, grpo_credit_tests=True)
    paid = 0.5 / (torch.tensor([1.0, 0.0]).std().item() + 1e-4)
    assert by_token[0].tolist() == pytest.approx([paid] * 4 + [0.0] * 5)
    assert by_token[1].tolist() == pytest.approx([-paid] * 4 + [0.0] * 5)


@pytest.mark.parametrize("advantage", ["group", "batch", "leave_one_out"])
def test_tests_without_a_place_are_paid_as_before(advantage):
    """An order and the end of the page are matters of the whole completion."""
    rubric = Rubric(weights={"pass_rate": 1.0}, gates={})
    order = {"type": "order", "pdf": "p", "page": 1, "id": "o", "before": "ab", "after": "jkl"}
    tests = [order, present("kl", last_n=2), present("cd", first_n=3)]
    reward_function, one = scored(rubric, "abcd jkl", "jkl abcd", text=None, tests=tests)
    _, by_token = advantages(reward_function, one, grpo_credit_tests=True, grpo_advantage=advantage)
    sequence = advantages_of([one], make_recipe(grpo_advantage=advantage).grpo).advantages[0]
    assert_all_close({"a": by_token}, {"a": sequence[:, None].expand_as(by_token)}, 1e-6)


def test_edits_and_tests_are_paid_together():
    rubric = Rubric(weights={"similarity": 1.0, "pass_rate": 1.0}, gates={})
    reward_function, one = scored(rubric, "abcd jkl", "abld jkl", text="abcd jkl", tests=[present("bcd j")])
    _, with_tests = advantages(reward_function, one, grpo_credit_tests=True)
    _, without = advantages(reward_function, one)
    moved = with_tests - without
    paid = 0.25 / (torch.tensor(one.rewards).std().item() + 1e-4)
    assert moved[0].tolist() == pytest.approx([-paid] + [0.0] * 5 + [-paid] * 3, abs=1e-6)
    assert moved[1].tolist() == pytest.approx([paid] + [0.0] * 5 + [paid] * 3, abs=1e-6)


def test_every_token_of_a_better_completion_counts_the_same_at_lambda_1_but_for_what_came_before():
    reward_function, one = scored(Rubric(weights={"similarity": 1.0}), "lbcd", "abcd")
    _, by_token = advantages(reward_function, one, grpo_credit_lambda=1.0)
    assert by_token[0][0] < by_token[0][1]
    assert by_token[0][1:].tolist() == pytest.approx(by_token[1][1:].tolist())


def test_a_cap_below_what_reading_on_may_cost_is_refused():
    wrong = ["grpo.credit=alignment", "grpo.credit_lambda=0.9", "grpo.credit_cap=4"]
    with pytest.raises(ValueError, match=r"credit_cap is 4.0; write 0, or at least 10, 1 / \(1 - grpo.credit_lambda\)"):
        load_recipe("grpo", wrong)
    load_recipe("grpo", [*wrong, "grpo.credit_cap=10"])
    load_recipe("grpo", ["grpo.credit=alignment"])
    load_recipe("grpo", ["grpo.credit=alignment", "grpo.credit_lambda=1", "grpo.credit_cap=0"])


def pages_and_groups():
    pages = [make_page(i, text="abcd") for i in range(2)]
    reward_function = RewardFunction(Rubric(weights={"similarity": 1.0, "exact": 1.0}), pages)
    rows = [("abcd", "abx".replace("x", "l"), "ad"), ("abcdefgh", "", "b")]
    return reward_function, reward_function.score_groups([group(p, *row) for p, row in zip(pages, rows, strict=True)])


def test_the_gradient_does_not_depend_on_micro_batches():
    reward_function, groups = pages_and_groups()
    seen = []
    for size in (10_000, 10, 1):
        policy, recipe = make_policy(), make_recipe(grpo_credit="alignment", train_micro_batch_tokens=size)
        learner = GrpoLearner(policy, recipe)
        _, by_page = learner.advantages(groups, reward_function)
        learner.accumulate(groups, learner.prepare(groups, by_page, torch.ones(2, dtype=torch.bool)))
        seen.append({name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None})
    assert max(g.abs().max() for g in seen[0].values()) > 1e-4
    for other in seen[1:]:
        assert_all_close(other, seen[0], 1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"grpo_credit": "alignment"},
        {"grpo_credit": "alignment", "grpo_credit_baseline": "position", "grpo_credit_lambda": 0.9},
        {"grpo_reference_in_group": True},
        {"grpo_reference_in_group": True, "grpo_credit": "alignment", "grpo_updates_per_batch": 2},
    ],
    ids=["credit", "position", "reference", "both"],
)
def test_a_short_run_learns_and_logs_what_it_sampled(tmp_path, changes):
    folder, _ = run_training(tmp_path, **changes)
    steps = folder.logged()
    assert len(steps) == 3
    assert all(step.metrics["grad_norm"] > 0 for step in steps)
    rows = [json.loads(line) for line in (folder.path / "rollouts" / "step_000001.jsonl").read_text().splitlines()]
    assert len(rows) == steps[0].metrics["completions"]


def test_the_reference_is_one_more_completion_with_its_own_reward():
    policy, page = make_policy(), make_page(0, text="abcd")
    reward_function = RewardFunction(RUBRIC, [page])
    [one] = reward_function.score_groups([group(page, "abld", "b")])
    joined = References(policy, [page], reward_function, 10).joined(one)
    assert [c.text for c in joined.group.completions] == ["abld", "b", "abcd"]
    assert joined.rewards == pytest.approx([0.75, 0.25, 1.0])
    assert all(p != p for p in joined.group.completions[2].sampling_logprobs)  # NaN: nothing has sampled it


def test_the_reference_has_no_importance_weight():
    """Its gradient is that of a completion which the engine sampled with the trainer's own probabilities."""
    policy, page = make_policy(), make_page(0, text="abcd")
    reward_function = RewardFunction(RUBRIC, [page])
    [known] = reward_function.score_groups([group(page, "abld", "b", "abcd")])
    sampled = scored_group(known.group, known.scores)
    joined = References(policy, [page], reward_function, 10).joined(
        scored_group(group(page, "abld", "b"), known.scores[:2])
    )
    recipe = make_recipe()
    assert_all_close(gradient(policy, recipe, [joined]), gradient(policy, recipe, [sampled]), 1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "has no text, and grpo.reference_in_group"), ("abcdabcd", "more than rollout.max_tokens = 4 tokens")],
)
def test_a_page_whose_text_cannot_be_in_its_group_is_named(text, message):
    page = replace(make_page(0), text=text, tests=[BASELINE])
    with pytest.raises(ValueError, match=message):
        References(make_policy(), [page], RewardFunction(RUBRIC, []), 4)
