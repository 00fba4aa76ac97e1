"""The names of rates are written once."""

from typing import get_args

from ocr_rl.config.wording import schema_of
from ocr_rl.evaluation import rates
from ocr_rl.metric_names import LOWER_IS_BETTER, RATES, BestBy


def test_every_rate_has_a_function_in_the_order_of_the_tables():
    assert tuple(rates.RATES) == RATES


def test_the_best_step_is_chosen_by_a_rate():
    assert schema_of(["train", "keep_best"])["enum"] == ["", *get_args(BestBy)]
    assert set(get_args(BestBy)) == set(RATES) - {"truncated"}
    assert set(RATES) > LOWER_IS_BETTER
