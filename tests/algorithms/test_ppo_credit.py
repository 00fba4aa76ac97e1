"""PPO with rewards by token."""

import pytest
import torch

from helpers.tiny_models import group, make_page, make_policy, make_recipe
from ocr_rl.algorithms.ppo import PpoLearner
from ocr_rl.rewards.placed_parts import placed_parts, token_costs
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_verifiers import Rubric


def scored():
    page = make_page(0, text="abcd")
    reward_function = RewardFunction(Rubric(weights={"similarity": 3.0, "exact": 1.0}), [page])
    return reward_function, reward_function.score_groups([group(page, "abld", "abcdefgh", "ab", "abcd")])[0]


def test_each_edit_is_taken_from_the_reward_at_its_token():
    """3/4 of the reward is the similarity, 1 - edits / the longer length."""
    reward_function, one = scored()
    costs = token_costs(one, placed_parts(one, reward_function, make_policy().pieces))
    assert costs[0] == pytest.approx([0, 0, -0.75 / 4, 0, 0])
    assert costs[1] == pytest.approx([0] * 4 + [-0.75 / 8] * 4 + [0])
    assert costs[2] == pytest.approx([0, 0, -0.75 * 2 / 4])
    assert costs[3] == pytest.approx([0] * 5)


def test_rewards_by_token_add_up_to_the_reward():
    """So that, with lambda 1, the return of the first token is the same; later ones are what is still to come."""
    reward_function, one = scored()
    returns = []
    for credit in ("sequence", "alignment"):
        recipe = make_recipe(ppo_credit=credit, ppo_whiten=False, ppo_lam=1.0)
        [task] = PpoLearner(make_policy(), recipe, reward_function).experience([one])
        found = torch.zeros(4, 9)
        for batch in task.batches:
            found[batch.rows, : batch.ids.shape[1]] = batch.returns
        returns.append(found)
    assert torch.allclose(returns[0][:, 0], returns[1][:, 0], atol=1e-6)
    assert returns[1][0].tolist()[:5] == pytest.approx([*[9 / 16] * 3, *[12 / 16] * 2])
