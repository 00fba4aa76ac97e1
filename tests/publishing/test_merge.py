"""`ocr-rl merge`: a plain checkpoint in the base's dtype that reads pages as the adapter does, with a model card."""

import json
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from helpers.checkpoints import adapter, by_hand, train
from helpers.commands import refused
from helpers.commands import run as ocr_rl
from helpers.tiny_models import make_policy, weights
from ocr_rl.config.presets import PromptFormat
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.publishing.merge import MergeOptions, _check
from ocr_rl.publishing.reading import Comparison, Difference, compare
from ocr_rl.rewards.group_files import text_completion
from ocr_rl.types import Page

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None,
    reason="bitsandbytes is not installed",  # its CPU build is in requirements/dev.txt
)


def merged(*arguments):
    result = ocr_rl("merge", *arguments, "--out", "out")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_merged_adapter_is_its_base_plus_its_product_in_the_base_s_dtype(tmp_path, dtype):
    base = make_policy("lighton")
    base.model.to(dtype)
    base.save(tmp_path / "base")
    folder = adapter(tmp_path / "base", tmp_path / "adapter", seed=1)
    merged(folder, "--max-tokens", 3, "--accept-differences")
    found, expected = load_file("out/model.safetensors"), by_hand(tmp_path / "base", folder)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert tensor.dtype == dtype
        room = 1e-5 if dtype == torch.float32 else expected[name].abs().max().item() * 2**-8
        torch.testing.assert_close(tensor.double(), expected[name], atol=room, rtol=0)


def test_the_folder_is_a_plain_checkpoint_and_reads_ten_pages_as_before(saved, tmp_path):
    folder = adapter(saved, tmp_path / "adapter", seed=1)
    printed = merged(folder)
    assert "Its greedy transcriptions of 10 pages equal those of the checkpoint, token by token." in printed
    names = {path.name for path in Path("out").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert "adapter_config.json" not in names
    model = AutoModelForImageTextToText.from_pretrained("out")
    processor = AutoProcessor.from_pretrained("out")
    assert json.loads(Path("out/config.json").read_text())["dtype"] == "float32"
    assert processor.chat_template == make_policy("lighton").processor.chat_template
    assert model.state_dict().keys() == make_policy("lighton").model.state_dict().keys()
    assert not any(str(tmp_path) in path.read_text() for path in Path("out").iterdir() if path.suffix != ".safetensors")


def test_much_that_rounding_changes_is_refused_unless_accepted(saved, tmp_path):
    """Random weights have near ties everywhere."""
    folder = adapter(saved, tmp_path / "adapter", seed=1)
    arguments = ("merge", folder, "--out", "out", "--dtype", "bfloat16", "--max-tokens", 60)
    message = refused(*arguments)
    assert message.startswith("rounding to bfloat16 changes more than 2% of what is read: ")
    assert " of 10 pages, " in message
    assert "--dtype float32 does not round; --accept-differences writes it all the same" in message
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []
    result = ocr_rl(*arguments, "--accept-differences")
    assert result.exit_code == 0
    assert " of 10 pages equal those of the checkpoint in float32; " in result.stdout
    assert " became " in result.stdout
    assert "warning: rounding to bfloat16 changes what is read: " in result.stderr
    assert " of 10 pages equal those of the checkpoint in float32; " in Path("out/README.md").read_text()


def made(edits, characters=1000):
    return Comparison(10, characters, edits, [Difference("p1", "abc", "abd")] if edits else [])


def test_rounding_may_change_2_characters_in_100_and_merging_none():
    plain, accepting = MergeOptions(), MergeOptions(accept_differences=True)
    _check(made(0), None, plain)
    _check(made(20), torch.bfloat16, plain)
    with pytest.raises(
        ValueError, match=r"^rounding to bfloat16 changes more than 2% .*21 of 1,000 characters, e\.g\. p1"
    ):
        _check(made(21), torch.bfloat16, plain)
    with pytest.raises(
        ValueError, match=r"^merging changes what is read: 1 of 10 pages, 1 of 1,000 characters, e\.g\. p1"
    ):
        _check(made(1), None, plain)
    _check(made(999), torch.bfloat16, accepting)
    _check(made(1), None, accepting)


def test_what_an_empty_page_gains_counts():
    reading = [[Page("a", None), Page("b", None)], [text_completion("", True), text_completion("abcd", True)]]
    other = [reading[0], [text_completion("xy", True), text_completion("abed", True)]]
    found = compare(reading, other)
    assert (found.pages, found.characters, found.edits, found.share) == (2, 4, 3, 0.75)


@needs_bitsandbytes
def test_an_adapter_beside_a_quantised_base_is_merged_into_the_base_as_it_was(place):
    """The weights are W + B A of the unquantised W; what that changes against training is said."""
    quantized = "--set=model.quantize=nf4", "--set=rollout.engine=transformers"
    run = train(place, "qlora", "--set=model.lora_rank=2", *quantized)
    result = ocr_rl("merge", run, "--out", "out")
    assert result.exit_code == 0, result.output
    found, expected = load_file("out/model.safetensors"), by_hand(place / "policy", run / "checkpoints/step_000002")
    for name, tensor in found.items():
        torch.testing.assert_close(tensor.double(), expected[name], atol=1e-5, rtol=0)
    assert "pages equal those of the checkpoint, token by token. The adapter was trained beside its base in nf4" in (
        result.stdout
    )
    line = re.search(r"against training, (\d+) of (\d+) pages, (\d+) of (\d+) characters differ\.", result.stdout)
    assert line
    assert int(line[1]) > 0, "4 bits change what random weights read"
    assert f"the base was in nf4 in training; without that, {line[1]} of {line[2]} pages, " in result.stderr
    assert line[0] in Path("out/README.md").read_text()


def test_pages_of_a_dataset_check_it_and_fewer_than_ten_are_enough(saved, tmp_path, place):
    printed = merged(adapter(saved, tmp_path / "adapter", seed=1), "--data", place / "pages", "--max-tokens", 4)
    assert "transcriptions of 8 pages equal" in printed


def test_a_run_means_its_newest_checkpoint_and_is_checked_on_its_held_out_pages(run):
    printed = merged(run)
    assert printed.startswith(f"{run}/checkpoints/step_000002 -> out, float32")
    held_out = json.loads((run / "eval" / "before.json").read_text())["n"]
    assert f"transcriptions of {held_out} pages equal" in printed
    found, saved = load_file("out/model.safetensors"), load_file(run / "checkpoints/step_000002/model.safetensors")
    assert all(found[name].equal(tensor) for name, tensor in saved.items())
    assert not Path("out/trainer").exists()


def test_a_run_that_keeps_its_best_checkpoint_means_that(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "kept")
    (copy / "checkpoints" / "best.json").write_text('{"step": 1, "metric": "cer", "value": 0.5}')
    assert merged(copy).startswith(f"{copy}/checkpoints/step_000001 -> out")
    logged = json.loads((copy / "metrics.jsonl").read_text().splitlines()[0])
    low, high = logged["eval/cer_ci"]
    assert f"{logged['eval/cer']:.3f} [{low:.3f}, {high:.3f}]" in Path("out/README.md").read_text()


def test_a_lora_run_is_merged(place):
    run = train(place, "lora", "--set=model.lora_rank=2", "--set=model.lora_targets=language")
    merged(run)
    policy = Policy.load(ModelConfig(path=str(run / "checkpoints" / "step_000002")), device="cpu").merged()
    found = weights(Policy.load(ModelConfig(path="out"), device="cpu"))
    for name, tensor in weights(policy).items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)
    assert "LoRA: 14 layers have an adapter; these weights have none" in (place / "lora.log").read_text()


def test_the_card_holds_what_the_run_folder_holds(run):
    merged(run)
    card = ModelCard.load("out/README.md")
    assert card.data.library_name == "transformers"
    assert card.data.pipeline_tag == "image-text-to-text"
    assert card.data.base_model is None, "a folder is not on the hub"
    assert card.data.license is None
    text = card.text
    assert "This is `policy`, trained with `grpo` for 2 steps, saved as float32 by ocr-rl" in text
    for name in ("before", "after"):
        evaluation = json.loads((run / "eval" / f"{name}.json").read_text())
        for rate in ("cer", "reward"):
            low, high = evaluation[f"{rate}_ci"]
            assert f"{evaluation[rate]:.3f} [{low:.3f}, {high:.3f}]" in text
    assert f"On {evaluation['n']} held-out pages" in text
    assert "The prompt is the page image alone" in text
    assert "learning_rate = 0.001" in text
    assert "vllm serve out" in text
    assert str(run.parent) not in text


def test_the_card_names_a_base_of_the_hub(run):
    from dataclasses import replace

    from ocr_rl.publishing.model_card import front_matter
    from ocr_rl.publishing.source import find_source

    source = find_source(str(run))
    on_hub = replace(source.recipe, model=replace(source.recipe.model, path="org/reader"))
    data = ModelCard(front_matter([replace(source, recipe=on_hub)]) + "\n# x\n").data
    assert (data.base_model, data.base_model_relation) == ("org/reader", "finetune")


def test_a_mistake_is_one_message_and_writes_nothing(run, saved, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("mine")
    assert refused("merge", run, "--out", "there") == "there exists already; give another --out"
    assert (tmp_path / "there" / "file").read_text() == "mine"
    assert refused("merge", "nowhere", "--out", "out").startswith('no folder "nowhere"; a model is a folder')
    started = shutil.copytree(run, tmp_path / "runs" / "started")
    assert refused("merge", "runs", "--out", "out") == "runs holds the runs started; name one of them"
    shutil.rmtree(started / "checkpoints")
    (started / "checkpoints").mkdir()
    assert refused("merge", started, "--out", "out").startswith(
        f"{started} has no checkpoint yet; `ocr-rl train --resu"
    )
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "checkpoints" / "step_000002" / "config.json").unlink()
    assert refused("merge", damaged, "--out", "out").endswith("config.json is missing; name another checkpoint")
    folder = adapter(saved, tmp_path / "adapter", seed=1)
    shutil.rmtree(saved)
    assert "its base model" in refused("merge", folder, "--out", "out")
    assert not Path("out").exists()


def test_a_checkpoint_without_trainer_files_can_be_merged(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "small")
    for folder in (copy / "checkpoints").glob("step_*"):
        shutil.rmtree(folder / "trainer")
    assert "step_000002 -> out" in merged(copy)


def test_the_prompt_format_goes_with_the_checkpoint_and_into_its_card(saved, tmp_path):
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=2), device="cpu")
    policy.prompt_format = PromptFormat(prompt="abc abc", prompt_order="text_first", longest_side=48, output="otsl")
    policy.save(tmp_path / "adapter")
    merged(tmp_path / "adapter", "--max-tokens", 4)
    assert Policy.load(ModelConfig(path="out"), device="cpu").prompt_format == policy.prompt_format
    text = Path("out/README.md").read_text()
    assert "The prompt is this text and then the page image:\n\n```text\nabc abc\n```" in text
    assert "The output format is `otsl`." in text
    assert "at most 48 pixels on their longer side" in text
