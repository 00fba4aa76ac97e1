"""What both vLLM engines do with pages and completions. No test here starts vLLM."""

import pytest

from helpers.tiny_models import EOS, IMAGE, STOP, make_page, make_policy, tokens
from ocr_rl.rollouts.vllm.prompts import (
    PromptReader,
    model_length,
    pages_at_once,
    prompt_mismatch,
    sampled_completion,
)


def test_a_prompt_has_the_fitted_image_and_its_tokens_before_and_after_expansion():
    """200 x 100 pixels fit as 64 x 32: 4 x 2 image tokens, plus one of text."""
    policy = make_policy()
    prompt = PromptReader(policy, 512, "").read(make_page(0, (200, 100)), max_tokens=4)
    assert (prompt.image.size, prompt.image.mode) == ((64, 32), "RGB")
    assert prompt.prompt_ids.count(IMAGE) == 1
    assert prompt.expanded_ids.count(IMAGE) == 8
    assert prompt.expanded_ids == policy.prompt(make_page(0, (200, 100))).token_ids


def test_a_prompt_may_fill_the_engine_up_to_the_last_token():
    """48 x 32 pixels are 6 image tokens, plus one of text: 7 + 5 = 12."""
    reader = PromptReader(make_policy(), 12, "raise max_model_len")
    assert len(reader.read(make_page(), max_tokens=5).expanded_ids) == 7
    message = "its prompt of 7 tokens and a completion of 6 exceed the engine's 12; raise max_model_len or lower model"
    with pytest.raises(ValueError, match=message):
        reader.read(make_page(), max_tokens=6)


@pytest.mark.parametrize(
    ("ids", "reason", "expected"),
    [
        ([*tokens("ab"), EOS], "stop", "end"),
        ([*tokens("ab"), STOP], "stop", "end"),
        (tokens("abc"), "length", "length"),
        ([*tokens("ab"), EOS], "length", "end"),  # an end token at the limit is an end
        (tokens("abab"), "repetition", "repetition"),
    ],
)
def test_finish_reasons(ids, reason, expected):
    completion = sampled_completion(ids, [-1.0] * len(ids), reason, [EOS, STOP])
    assert (completion.finish_reason, completion.text, completion.token_ids) == (expected, "", ids)


def test_pages_at_once_are_those_that_fit_and_eight_more():
    assert [pages_at_once(rows, 2) for rows in (32, 33, 1)] == [16 + 8, 17 + 8, 1 + 8]


def test_the_length_is_limited_by_the_model_s_positions():
    """The models of these tests have 512."""
    assert [model_length(make_policy(), length) for length in (100, 8192)] == [100, 512]


def test_a_prompt_mismatch_shows_both_lengths():
    assert prompt_mismatch(make_page(), 7, 8).startswith(
        "page0: the engine's prompt (7 tokens) differs from the trainer's (8 tokens): vLLM runs another model"
    )
