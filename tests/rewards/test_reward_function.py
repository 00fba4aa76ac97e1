"""A recipe's [reward] as a rubric."""

from ocr_rl.config.schema import RewardConfig
from ocr_rl.rewards.reward_function import make_rubric


def test_wrong_numbers_close_a_gate_on_request():
    """19 for 17: one of five characters, and the only number."""
    page = {"reference": "No 17"}
    plain = make_rubric(RewardConfig(weights={"similarity": 1.0}))
    assert plain.score("No 19", **page).reward == 0.8
    assert "wrong_numbers" not in plain.score("No 17", **page).parts
    gated = make_rubric(RewardConfig(weights={"similarity": 1.0}, wrong_numbers_gate=0.5))
    assert gated.score("No 19", **page).reward == 0.8 * 0.5
    assert gated.score("No 17", **page).reward == 1.0
