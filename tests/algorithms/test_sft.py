"""Supervised fine-tuning compared with the plain model, and whole runs."""

import json
from dataclasses import replace

import pytest
import torch

from helpers.runs import before_touching, contents, done, killed, resume, train
from helpers.tiny_models import (
    ARCHITECTURES,
    EOS,
    STOP,
    assert_all_close,
    gradients,
    make_page,
    make_policy,
    make_recipe,
    pages_of_different_sizes,
    plain_loss,
    tokens,
    weights,
)
from ocr_rl.algorithms.sft import SftTrainer
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.models.text_encoder import TextEncoder, end_id
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.loop import TrainingLoop
from ocr_rl.training.references import require_texts

TEXTS = ["abc", "", "adfghi", "kl"]


def pages_with_texts():
    return [replace(page, text=text) for page, text in zip(pages_of_different_sizes(), TEXTS, strict=True)]


def sft(policy, pages=None, **changes):
    return SftTrainer(policy, TransformersEngine(policy), pages or pages_with_texts(), make_recipe(**changes))


# What is learned.


def test_the_gradient_is_that_of_cross_entropy_over_all_tokens_of_the_batch(policy):
    """4 + 1 + 7 + 3 tokens, each text with its end; every token has weight 1 / 15."""
    trainer, pages = sft(policy), pages_with_texts()
    for page in pages:
        (plain_loss(policy, page, [*tokens(page.text), EOS]) / 15).backward()
    expected = gradients(policy)
    metrics = trainer.accumulate(pages)
    assert_all_close(gradients(policy), expected, 1e-5)
    with torch.no_grad():
        loss = sum(plain_loss(policy, page, [*tokens(page.text), EOS]) for page in pages) / 15
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["tokens"] == 15
    assert metrics["truncated_fraction"] == 0
    assert max(g.abs().max() for g in expected.values()) > 1e-3


def test_a_long_text_is_cut_off_and_has_no_end(policy):
    """At 4 tokens, "adfghi" is "adfg" without an end; "abc" and its end are 4."""
    trainer = sft(policy, rollout_max_tokens=4)
    pages = [pages_with_texts()[i] for i in (0, 2)]
    plain_loss(policy, pages[0], [*tokens("abc"), EOS]).div(8).backward()
    plain_loss(policy, pages[1], tokens("adfg")).div(8).backward()
    expected = gradients(policy)
    metrics = trainer.accumulate(pages)
    assert_all_close(gradients(policy), expected, 1e-5)
    assert metrics["truncated_fraction"] == 1 / 2


def test_the_sampling_temperature_does_not_matter(policy):
    pages = pages_with_texts()
    sft(policy).accumulate(pages)
    expected = gradients(policy)
    sft(policy, rollout_temperature=0.5).accumulate(pages)
    assert_all_close(gradients(policy), expected, 0.0)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_checkpointing_does_not_change_the_step(architecture):
    found = []
    for checkpointing in (False, True):
        policy = make_policy(architecture, gradient_checkpointing=checkpointing)
        sft(policy).accumulate(pages_with_texts())
        found.append(gradients(policy))
    assert_all_close(found[1], found[0], 1e-5)


def test_a_page_is_read_once(policy, monkeypatch):
    read, original = [], policy.read
    monkeypatch.setattr(policy, "read", lambda prompt, **options: read.append(prompt) or original(prompt, **options))
    sft(policy).accumulate(pages_with_texts())
    assert len(read) == 4


# Texts as the policy would write them.


def test_the_end_token_is_the_one_that_follows_an_answer_in_the_chat_format():
    """A checkpoint may name several end tokens, in any order."""
    policy = make_policy()
    policy.end_ids = [EOS, STOP]
    assert end_id(policy) == EOS  # the template has no answers, so it is the first
    policy.processor.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}<stop>{% endif %}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}<s>{% else %}</s>{% endif %}"
    )
    assert end_id(policy) == EOS
    policy.processor.chat_template = policy.processor.chat_template.replace(
        "{% if add_generation_prompt %}<s>{% else %}</s>{% endif %}", ""
    )
    assert end_id(policy) == STOP


def test_a_text_that_looks_like_a_special_token_is_text():
    written = TextEncoder(make_policy()).completion("a</s><image>b", True, 99)
    assert EOS not in written.token_ids[:-1]
    assert len(written.token_ids) > 4


@pytest.mark.parametrize(
    ("text", "finished", "max_tokens", "ids", "reason"),
    [
        ("ab", True, 3, [*tokens("ab"), EOS], "end"),
        ("ab", True, 2, tokens("ab"), "length"),
        ("ab", False, 9, tokens("ab"), "length"),
        ("", True, 9, [EOS], "end"),
        ("", False, 9, [EOS], "end"),
    ],
)
def test_a_text_and_its_tokens(text, finished, max_tokens, ids, reason):
    written = TextEncoder(make_policy()).completion(text, finished, max_tokens)
    assert (written.token_ids, written.finish_reason) == (ids, reason)


def test_pages_without_text_are_named_before_training(policy):
    pages = [replace(make_page(i), text=None if i % 2 else "a") for i in range(14)]
    with pytest.raises(ValueError, match=r"^7 of 14 pages .* no text: page1, page3, page5, page7, page9 and 2 more"):
        sft(policy, pages)
    require_texts(pages[::2])


# Whole runs.


def test_the_policy_learns_to_write_the_text(tmp_path):
    policy = make_policy()
    pages = [make_page(i, text="ab") for i in range(3)]
    recipe = make_recipe(train_steps=30, train_learning_rate=1e-2)
    run = RunFolder.create(tmp_path / "run", "")
    trainer = SftTrainer(policy, TransformersEngine(policy), pages, recipe)
    TrainingLoop(trainer, policy, pages, recipe, run, lambda step: {}).run()
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert rows[0]["loss"] > 2
    assert rows[-1]["loss"] < 0.1
    assert rows[0].keys() == {
        "step", "time_s", "loss", "entropy", "pages", "refused", "tokens", "truncated_fraction", "grad_norm", "lr",
        "tokens_per_s", "time/learn", "time/compute", "peak_memory_mib", "threads",
    }  # fmt: skip
    written = TransformersEngine(policy).generate([make_page(9)], Sampling(1, 0.0, 5), seed=0)[0].completions[0]
    assert (written.text, written.finished) == ("ab", True)
    again = Policy.load(ModelConfig(path=str(run.checkpoints()[-1])))  # what `ocr-rl train --model` starts from
    assert_all_close(weights(again), weights(policy), 0.0)


def test_a_dry_run_counts_what_sft_does(place, fresh, monkeypatch):
    """It reads texts, and samples nothing."""
    monkeypatch.setattr(TransformersEngine, "stream", lambda *_: pytest.fail("sampled"))
    output = done(train(fresh, "--set=algorithm=sft", "--dry-run")).output
    assert "step        2 pages, each with its text\n" in output
    assert "minutes at most for 6 steps" in output


def test_a_run_killed_and_resumed_equals_one_that_was_not(place, fresh):
    whole = place / "whole-sft"
    done(train(whole, "--set=algorithm=sft"))
    killed(train(fresh, "--set=algorithm=sft", kill=before_touching("metrics.jsonl", 6)))
    assert RunFolder(fresh).checkpoints()
    done(resume(fresh))
    assert contents(fresh) == contents(whole)
