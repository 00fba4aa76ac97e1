"""`ocr-rl soup`: averages of checkpoints, the greedy choice among them, and what does not fit together."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from helpers.checkpoints import adapter, by_hand, train, write_pages
from helpers.commands import refused
from helpers.commands import run as ocr_rl
from helpers.families import save
from helpers.tiny_models import make_policy
from ocr_rl.data.loading import load_pages
from ocr_rl.publishing.reading import read
from ocr_rl.rollouts.console import SILENT


def soup(*arguments):
    result = ocr_rl("soup", *arguments, "--out", "out")
    assert result.exit_code == 0, result.output
    return result.stdout


def tensors(folder="out"):
    return {name: tensor.double() for name, tensor in load_file(Path(folder) / "model.safetensors").items()}


def checkpoint(folder, seed):
    make_policy("lighton", seed).save(folder)
    return folder


def test_a_soup_is_the_average_of_its_ingredients(tmp_path):
    folders = [checkpoint(tmp_path / name, seed) for seed, name in enumerate("abc")]
    printed = soup(*folders)
    parts = [tensors(folder) for folder in folders]
    for name, tensor in tensors().items():
        torch.testing.assert_close(tensor, sum(part[name] for part in parts) / 3, atol=1e-6, rtol=0)
    assert printed.count("share 0.333") == 3


def test_shares_weigh_the_ingredients(tmp_path):
    folders = [checkpoint(tmp_path / name, seed) for seed, name in enumerate("ab")]
    soup(*folders, "--weights", "0.75,0.25", "--dtype", "bfloat16")
    a, b = map(tensors, folders)
    for name, tensor in tensors().items():
        expected = 0.75 * a[name] + 0.25 * b[name]
        torch.testing.assert_close(tensor, expected, atol=expected.abs().max().item() * 2**-8, rtol=0)
    assert {tensor.dtype for tensor in load_file("out/model.safetensors").values()} == {torch.bfloat16}


def test_adapters_are_merged_before_they_are_averaged(saved, tmp_path):
    """W + mean(B A), which no average of the A and of the B gives."""
    folders = [adapter(saved, tmp_path / name, seed) for seed, name in enumerate("ab")]
    soup(*folders)
    a, b = (by_hand(saved, folder) for folder in folders)
    for name, tensor in tensors().items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2, atol=1e-5, rtol=0)


@pytest.fixture
def ingredients(tmp_path):
    """good reads its pages without an error, close almost does, broken has another head; and the pages."""
    policy = make_policy("lighton")
    draft = write_pages(tmp_path / "draft", ["a"] * 8)
    texts = [one.text or "a" for one in read(policy, load_pages(draft), 6, SILENT, "")[1]]
    pages = write_pages(tmp_path / "pages", texts)
    policy.save(tmp_path / "good")
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.add_(1e-6 * torch.randn_like(parameter))
        policy.save(tmp_path / "close")
        policy.head.weight.mul_(-3.0)  # outweighs the other two in an average
    policy.save(tmp_path / "broken")
    return [tmp_path / name for name in ("broken", "good", "close")], pages


def test_a_greedy_soup_leaves_out_what_makes_it_worse(ingredients):
    folders, pages = ingredients
    printed = soup(*folders, "--greedy", "--data", pages, "--max-tokens", 6)
    kept = [line.rpartition("; ")[2] for line in printed.splitlines()[:3]]
    assert kept == ["left out", "share 0.500", "share 0.500"]
    good, close = tensors(folders[1]), tensors(folders[2])
    for name, tensor in tensors().items():
        torch.testing.assert_close(tensor, (good[name] + close[name]) / 2, atol=1e-6, rtol=0)
    card = ModelCard.load("out/README.md")
    assert "average of 2 of 3 checkpoints, chosen greedily by cer" in card.text
    assert card.data.tags == ["ocr", "ocr-rl", "model-soup"]
    assert "| `broken` | 0.000 |" in card.text


def test_choices_and_results_are_of_different_pages(ingredients):
    from ocr_rl.data.splits import tuning_and_test

    folders, pages = ingredients
    printed = soup(*folders, "--data", pages, "--max-tokens", 6)
    tuning, test = tuning_and_test(load_pages(pages))
    assert len(tuning) + len(test) == 8
    assert f"soup: {len(test)} pages" in printed
    assert "best checkpoint, good" in printed


def test_runs_bring_their_held_out_pages(place):
    runs = [train(place, f"seed{seed}", f"--seed={seed}", "--steps=1") for seed in (0, 1)]
    printed = soup(*runs)
    assert "cer" in printed
    assert "to choose by" in printed
    text = Path("out/README.md").read_text()
    assert "| step 1 of `seed0` | 0.500 |" in text
    other = train(place, "other", "--steps=1", "--set=data.validation=0.25")
    message = refused("soup", runs[0], other, "--out", "elsewhere")
    assert message.startswith(f"{other} may have been trained on the held-out pages of {runs[0]}; give --data")


def test_the_last_checkpoints_of_a_run_are_averaged(place):
    run = train(place, "long", "--steps=3", "--set=train.checkpoint_every=1", "--set=train.keep_checkpoints=3")
    soup(run, "--last", "2")
    a, b = (tensors(Path(run) / "checkpoints" / f"step_00000{step}") for step in (2, 3))
    for name, tensor in tensors().items():
        torch.testing.assert_close(tensor, (a[name] + b[name]) / 2, atol=1e-6, rtol=0)
    message = refused("soup", run, "--last", "4", "--out", "elsewhere")
    assert message.startswith(f"{run} has 3 checkpoints, and --last is 4; give a lower one, or train with train.keep")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["a"], "a soup needs at least two checkpoints; `ocr-rl merge` writes a single one"),
        (["a", "a"], "a is named twice; --weights gives it a larger share"),
        (["a", "b", "--weights", "0.5,0.3,0.2"], "--weights has 3 shares for 2 checkpoints"),
        (["a", "b", "--weights", "0.5,0.3"], "--weights adds up to 0.8; write shares above 0 that add up to 1"),
        (["a", "b", "--weights", "1.5,-0.5"], "--weights adds up to 1; write shares above 0 that add up to 1"),
        (["a", "b", "--weights", "half,half"], "--weights half,half: write numbers between commas, e.g. 0.5,0.3,0.2"),
        (["a", "b", "--weights", "0.5,0.5", "--greedy"], "--greedy chooses equal shares itself; leave out --weights"),
        (["a", "b", "--metric", "speed"], "--metric speed: write one of cer, cer_capped, wer, exact, similarity, "),
        (
            ["a", "b", "--greedy"],
            "a greedy soup is chosen on held-out pages of two documents or more; there are 0: give",
        ),
        (["a", "b"], "b is a Qwen2_5_VLForConditionalGeneration, but a a LightOnOcrForConditionalGeneration; a soup "),
        (["e", "c"], "e started from base, but c from elsewhere; a soup needs checkpoints of one model"),
        (["a", "d"], " in d, but "),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path, options, message):
    checkpoint(tmp_path / "a", 0)
    save("qwen2_5_vl", tmp_path / "b")
    checkpoint(tmp_path / "elsewhere", 1)
    adapter("elsewhere", tmp_path / "c", seed=1)
    wide = make_policy("lighton")
    wide.model.resize_token_embeddings(40)
    wide.save(tmp_path / "d")
    checkpoint(tmp_path / "base", 2)
    adapter("base", tmp_path / "e", seed=2)
    assert message in refused("soup", *options, "--out", "out")
    assert not Path("out").exists()
