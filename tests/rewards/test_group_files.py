"""Groups as JSON Lines, in the format that `ocr-verify groups` reads."""

import json

from ocr_rl.rewards.group_files import group_row
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Rubric, read_groups, score_groups


def test_ocr_verify_reads_a_row_of_a_group_and_gives_it_the_same_scores():
    tests = [{"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "two"}]
    page = Page("a.png", lambda: None, text="one two", tests=tests)
    completions = [
        Completion((5, 6, 7), "one two", "end", (-0.5, -0.25, 0.0)),
        Completion((5,), "one", "length", (-2.0,)),
        Completion((), "", "repetition", (float("nan"),)),
    ]
    scored = RewardFunction(Rubric(), [page]).score_groups([Group(page, completions)])[0]
    row = json.loads(json.dumps(group_row(scored), allow_nan=False))
    assert row["finish_reasons"] == ["end", "length", "repetition"]
    assert row["tokens"] == [3, 1, 0]
    assert row["sum_logprobs"] == [-0.75, -2.0, None]
    ((group, scores),) = score_groups(Rubric(), read_groups([(1, row)], "rollout.jsonl"))
    assert [score.reward for score in scores] == row["rewards"] == list(scored.rewards)
    assert [dict(score.parts) for score in scores] == row["parts"]
    assert group.tests[0].id == "t"
    assert row["rewards"][0] == 1.0
    unscored = group_row(scored.group)
    assert unscored == {name: value for name, value in row.items() if name not in ("rewards", "parts")}


def test_the_row_of_a_page_without_reference_and_tests_has_no_such_columns():
    group = Group(Page("a", lambda: None), [Completion((), "x", "end", ())])
    assert group_row(group).keys().isdisjoint({"reference", "tests", "rewards", "parts"})
