"""The product's promise, measured: training makes the embedded policy read better, and only good rewards do.

Minutes each, so `make test-slow` runs them.
"""

import json

import pytest
from click.testing import CliRunner

from ocr_rl.cli.main import main

pytestmark = pytest.mark.slow


def train(out, *options):
    """What the held-out pages gave before and after training."""
    result = CliRunner().invoke(main, ["train", *options, "--out", str(out)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return tuple(json.loads((out / "eval" / f"{when}.json").read_text()) for when in ("before", "after"))


def test_the_default_run_cuts_the_cer_by_a_quarter_and_lifts_the_pass_rate_by_ten_points(tmp_path):
    before, after = train(tmp_path / "run", "grpo", "--seed", "1")
    assert after["cer"] <= 0.75 * before["cer"]
    assert after["cer_capped"] <= 0.75 * before["cer_capped"]
    assert after["pass_rate"] >= before["pass_rate"] + 0.10


def test_rewards_shuffled_within_each_group_teach_nothing(tmp_path):
    before, after = train(tmp_path / "run", "grpo", "--set", "reward.permute=true")
    assert after["cer"] > 0.95 * before["cer"]
    assert after["pass_rate"] < before["pass_rate"] + 0.05


def test_real_typewritten_lines_train_end_to_end(real_data, tmp_path):
    data = ["--data", str(real_data), "--where", "level=line", "--where", "source=ehri-en,tapuscorpus"]
    before, after = train(tmp_path / "run", "grpo-lines", "--model", "tiny", *data, "--steps", "3")
    assert before["n"] == after["n"] > 20
    assert before["cer"] != after["cer"]
