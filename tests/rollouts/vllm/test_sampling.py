"""What vLLM samples is what the trainer scores: the same prompts, the same distribution, the same end of a row."""

import math
from dataclasses import replace
from random import Random

import pytest
import torch

from helpers.tiny_models import BREAK, END, EOS, IMAGE, STOP, VOCABULARY, make_page
from helpers.vllm_scored import completions, worst_difference
from ocr_rl.config.presets import PromptFormat
from ocr_rl.data.images import ImageError
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Refused, Sampled, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine

PAGES = [make_page(i, size, prompt="ab" * i) for i, size in enumerate([(48, 32), (64, 64), (32, 64), (20, 70)])]


def with_head(policy, logits):
    """The policy with these logits for the first token of the first page, and similar ones later."""
    with torch.no_grad():
        state = policy.read(policy.prompt(PAGES[0])).last_hidden[0, 0]
        for token, logit in logits.items():
            policy.head.weight[token] = logit * state / state.square().sum()
    return policy


def fifty_sizes():
    random = Random(0)
    return [(random.randint(1, 200), random.randint(1, 200)) for _ in range(46)] + [
        (1, 1),
        (64, 64),
        (300, 2),
        (16, 17),
    ]


def test_prompts_of_fifty_sizes_are_the_trainer_s_token_for_token(engine, policy):
    """The worker compares them; a difference would be an `EngineError`."""
    pages = [make_page(i, size, prompt="abc"[: i % 4]) for i, size in enumerate(fifty_sizes())]
    groups = engine.generate(pages, Sampling(1, 1.0, 2), seed=0)
    assert [group.page for group in groups] == pages
    assert len({len(policy.prompt(page)) for page in pages}) > 10
    assert worst_difference(policy, groups) <= 1e-5


def test_a_prompt_that_differs_from_the_trainer_s_is_an_error(engine, monkeypatch):
    """As if trainer and engine had different pixel budgets: 48 x 32 pixels are 3 x 2 image tokens, plus one of text."""
    policy = engine._prompts.policy
    prompt_ids = policy.prompt_ids
    monkeypatch.setattr(policy, "prompt_ids", lambda page: [IMAGE, *prompt_ids(page)])
    with pytest.raises(EngineError, match=r"page0: the engine's prompt \(7 tokens\) differs from .* \(8 tokens\)"):
        engine.generate([make_page()], Sampling(1, 1.0, 2), seed=0)


def test_a_preset_s_prompt_comes_before_the_image_for_both(engine, policy, monkeypatch):
    asked = PromptFormat(prompt="abc", prompt_order="text_first")
    for one in (policy, engine._prompts.policy):
        monkeypatch.setattr(one, "prompt_format", asked)
    page = make_page(size=(64, 64))
    assert policy.unexpanded_ids(page)[:3] == policy.processor.tokenizer("abc")["input_ids"]
    groups = engine.generate([page], Sampling(2, 1.0, 6), seed=0)
    assert worst_difference(policy, groups) <= 1e-5


def test_special_tokens_of_the_output_format_are_text_and_ends_are_not(engine, policy, monkeypatch):
    monkeypatch.setattr(engine._decoding, "prompt_format", PromptFormat(output="doctags"))
    with_head(policy, {STOP: 8.0, EOS: 7.0})
    engine.sync(policy)
    found = completions(engine.generate(PAGES, Sampling(8, 1.0, 10), seed=2))
    assert sum(list(c.token_ids).count(STOP) for c in found) > 10
    for completion in found:
        assert completion.text.count("<stop>") == list(completion.token_ids).count(STOP)
        assert "</s>" not in completion.text


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0.0])
def test_sampling_logprobs_are_the_trainer_s_own(engine, policy, temperature):
    groups = engine.generate(PAGES, Sampling(5, temperature, 12), seed=1)
    assert [group.page for group in groups] == PAGES
    assert [len(group.completions) for group in groups] == [5] * 4
    assert worst_difference(policy, groups, temperature) <= 1e-5


def test_tokens_are_drawn_with_the_probabilities_that_are_reported(engine, policy):
    """2,000 first tokens against softmax(logits / 0.7); the standard error of a frequency is at most 0.011."""
    group = engine.generate([PAGES[0]], Sampling(2000, 0.7, 1), seed=3)[0]
    drawn = torch.bincount(torch.tensor([c.token_ids[0] for c in group.completions]), minlength=VOCABULARY) / 2000
    with torch.no_grad():
        exact = policy.logits(policy.read(policy.prompt(PAGES[0])).last_hidden[0, 0], 0.7).softmax(-1)
    torch.testing.assert_close(drawn, exact, atol=0.045, rtol=0)


def test_greedy_completions_are_those_of_the_transformers_engine(engine, policy):
    sampling = Sampling(1, 0.0, 24)
    ours = completions(engine.generate(PAGES, sampling, seed=0))
    theirs = completions(TransformersEngine(policy).generate(PAGES, sampling, seed=0))
    assert [(c.token_ids, c.text, c.finish_reason) for c in ours] == [
        (c.token_ids, c.text, c.finish_reason) for c in theirs
    ]


def test_the_same_seed_gives_the_same_completions_and_another_seed_others(engine):
    first, again, other = (completions(engine.generate(PAGES, Sampling(4, 1.0, 8), seed)) for seed in (7, 7, 8))
    assert [c.token_ids for c in first] == [c.token_ids for c in again]
    assert [c.token_ids for c in first] != [c.token_ids for c in other]
    assert len({c.text for c in first}) > 12


def test_a_row_does_not_depend_on_what_is_sampled_beside_it(engine):
    together = engine.generate(PAGES, Sampling(4, 1.0, 8), seed=7)
    alone = engine.generate(PAGES[:1], Sampling(2, 1.0, 8), seed=7)
    assert [c.token_ids for c in together[0].completions[:2]] == [c.token_ids for c in alone[0].completions]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_suppressed_tokens_are_never_sampled_and_have_no_probability(engine, policy, temperature):
    with_head(policy, dict.fromkeys((IMAGE, BREAK, END), 50.0))
    engine.sync(policy)
    groups = engine.generate(PAGES, Sampling(8, temperature, 8), seed=0)
    state = policy.read(policy.prompt(PAGES[0]))
    unrestricted = policy.head(state.last_hidden[0, 0]).softmax(-1)
    assert unrestricted[[IMAGE, BREAK, END]].sum() > 0.9, "the model must prefer them"
    for completion in completions(groups):
        assert not {IMAGE, BREAK, END} & set(completion.token_ids)
        assert all(math.isfinite(x) for x in completion.sampling_logprobs)
    assert worst_difference(policy, groups, temperature) <= 1e-5


def test_a_completion_ends_with_its_end_token_or_at_the_limit(engine, policy):
    with_head(policy, {EOS: 5.0})
    engine.sync(policy)
    found = completions(engine.generate(PAGES, Sampling(8, 1.0, 10), seed=2))
    assert {c.finish_reason for c in found} == {"end", "length"}
    for completion in found:
        if completion.finish_reason == "end":
            assert list(completion.token_ids).index(EOS) == len(completion.token_ids) - 1
        else:
            assert EOS not in completion.token_ids
            assert len(completion.token_ids) == 10
        assert completion.text == policy.text(completion.token_ids)
        assert "</s>" not in completion.text


def test_the_policy_s_end_tokens_end_a_completion_and_no_others(engine, policy):
    """The tokenizer's own end token is EOS; the policy's is STOP, alone or beside it."""
    with_head(policy, {STOP: 8.0, EOS: 8.0})
    for ends in ([STOP], [EOS, STOP]):
        policy.end_ids = ends
        engine.sync(policy)
        found = completions(engine.generate(PAGES, Sampling(8, 1.0, 10), seed=2))
        assert {c.token_ids[-1] for c in found if c.finished} == set(ends)
        for completion in found:
            assert not set(ends) & set(completion.token_ids[:-1])
            assert completion.finished or len(completion.token_ids) == 10
        assert (EOS in ends) != any(EOS in c.token_ids[:-1] for c in found)


def test_a_loop_ends_early_if_the_options_say_so(engine, monkeypatch):
    """Greedy decoding of random weights ends in a loop."""
    whole = completions(engine.generate(PAGES, Sampling(1, 0.0, 60), seed=0))
    monkeypatch.setattr(engine, "options", replace(engine.options, stop_repetition=(8, 3)))
    cut = completions(engine.generate(PAGES, Sampling(1, 0.0, 60), seed=0))
    assert "repetition" in {c.finish_reason for c in cut}
    for one, other in zip(cut, whole, strict=True):
        assert list(one.token_ids) == list(other.token_ids)[: len(one.token_ids)]
        if one.finish_reason == "repetition":
            assert len(one.token_ids) < len(other.token_ids)
            assert not one.finished


def test_pages_that_are_unreadable_or_too_long_are_refused_and_the_others_sampled(engine):
    def unreadable():
        raise ImageError("scan.png", "is not an image")

    pages = [
        PAGES[0],
        replace(PAGES[1], open_image=unreadable),
        replace(PAGES[2], prompt="a" * 600),
        PAGES[3],
    ]
    events = list(engine.stream(pages, Sampling(2, 1.0, 4), seed=0))
    refused = {event.page: event.why for event in events if isinstance(event, Refused)}
    assert refused[1] == "scan.png: is not an image"
    assert "its prompt of 609 tokens and a completion of 4 exceed the engine's 512" in refused[2]
    rows = sorted((event.page, event.row) for event in events if isinstance(event, Sampled))
    assert rows == [(0, 0), (0, 1), (3, 0), (3, 1)]


def test_pages_are_taken_as_there_is_room_for_them(engine):
    """Of a million pages: with G = 2, 32 rows and 8 pages ahead make 16 + 8 at most, besides the finished."""
    taken = 0

    def million():
        nonlocal taken
        for i in range(1_000_000):
            taken += 1
            yield make_page(i % 7)

    events = engine.stream(million(), Sampling(2, 1.0, 4), seed=0)
    for _ in range(40):
        next(events)
    events.close()
    assert 20 <= taken <= 24 + 40
    assert len(engine.generate(PAGES, Sampling(2, 1.0, 4), seed=0)) == 4, "a closed stream ended the engine"


def test_a_million_pages_may_all_be_refused(engine):
    def unreadable():
        raise ImageError("scan.png", "is not an image")

    pages = (replace(PAGES[0], open_image=unreadable) for _ in range(300))
    assert all(isinstance(event, Refused) for event in engine.stream(pages, Sampling(2, 1.0, 4), seed=0))
