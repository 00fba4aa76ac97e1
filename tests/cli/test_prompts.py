"""Prompts that hold `<image>` or another special token, from the command line and from a dataset."""

import json
from pathlib import Path

import pytest

from helpers.commands import refused, rows_of, run, write_rows

SHORT = ["--max-tokens", "3", "--engine", "transformers"]


@pytest.fixture
def with_prompts(pages, tmp_path):
    """The six pages, with a prompt each."""

    def make(*prompts):
        rows = rows_of(pages / "metadata.jsonl")
        given = [row | {"prompt": prompt} for row, prompt in zip(rows, prompts, strict=True)]
        return write_rows(
            tmp_path / "prompts.jsonl", [row | {"file_name": f"{pages}/{row['file_name']}"} for row in given]
        )

    return make


def test_the_placeholder_of_an_image_is_left_out_of_a_prompt(pages, with_prompts):
    texts = {}
    for name, data, prompt in (
        ("plain", pages, "Read this."),
        ("placeholder", pages, "<image>\nRead this."),
        ("in the dataset", with_prompts(*["<image>Read this."] * 6), ""),
    ):
        result = run("eval", "tiny", "--data", data, "--limit", "2", "--prompt", prompt, *SHORT, "--json", "out.json")
        assert result.exit_code == 0, result.output
        texts[name] = [row["text"] for row in json.loads(Path("out.json").read_text())["pages"]]
    assert texts["plain"] == texts["placeholder"] == texts["in the dataset"]


def test_a_prompt_with_a_special_token_is_one_message_when_it_is_every_page_s(pages):
    evaluated = refused("eval", "tiny", "--data", pages, "--prompt", "Read</s>", *SHORT)
    assert "none of the 6 pages can be read; " in evaluated
    assert 'its prompt holds "</s>", a special token of the model; leave it out' in evaluated


@pytest.mark.parametrize("dry_run", [True, False])
def test_training_refuses_a_prompt_that_refuses_every_page_before_it_starts(pages, dry_run):
    arguments = ["--data", pages, "--set", "data.prompt=Read</s>", "--out", "run", *["--dry-run"] * dry_run]
    result = run("train", *arguments, "--set", "data.validation=0.4")
    assert result.exit_code == 2
    assert 'the prompt of every page holds a special token of the model, such as "</s>"' in result.stderr
    assert not Path("run").exists()


def test_one_page_with_such_a_prompt_costs_itself(with_prompts):
    data = with_prompts("Read", "Read", "Read<s>", "Read", "Read", "Read")
    result = run("eval", "tiny", "--data", data, *SHORT, "--json", "out.json")
    assert result.exit_code == 1
    assert 'left out: its prompt holds "<s>"' in result.stderr
    assert json.loads(Path("out.json").read_text())["n"] == 5
    checked = run("data", "check", data, "--model", "tiny")
    assert "1 pages are refused, since their prompts hold special tokens: " in checked.stdout
