"""`--workers`, `--gpus` and `--gpu-memory`: what they give, and where they have no effect."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from helpers.commands import refused
from ocr_rl.cli.main import main


@pytest.fixture
def scans():
    Path("scans").mkdir()
    for i in range(3):
        Image.effect_noise((64, 48), 50 + i).save(f"scans/{i}.png")
        Path(f"scans/{i}.txt").write_text("ab")


def test_two_workers_write_the_rows_of_one(scans):
    for workers in ("1", "2"):
        words = ["transcribe", "scans", "--workers", workers, "--max-tokens", "4", "--out", f"{workers}.jsonl"]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, result.output
    assert Path("1.jsonl").read_bytes() == Path("2.jsonl").read_bytes()
    assert [json.loads(line)["id"] for line in Path("2.jsonl").read_text().splitlines()] == [
        f"{i}.png" for i in range(3)
    ]


def test_options_without_effect_are_refused(scans):
    Path("p.jsonl").write_text('{"id": "0.png", "text": "ab"}\n')
    scored = refused("eval", "--predictions", "p.jsonl", "--data", "scans", "--workers", "2")
    assert scored.startswith("--workers is for a MODEL")
    assert refused("train", "--data", "scans", "--gpus", "2").startswith("--gpus and --gpu-memory are for --dry-run")
    assert refused("train", "--resume", "scans", "--gpu-memory", "80").endswith("leave out --gpu-memory")
