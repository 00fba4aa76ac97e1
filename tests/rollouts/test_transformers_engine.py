"""The transformers engine samples what the trainer scores, and no checkpoint's sampling settings change that."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig
from transformers.cache_utils import DynamicLayer

from helpers.tiny_models import (
    BREAK,
    END,
    EOS,
    FIRST,
    IMAGE,
    PAD,
    STOP,
    VIDEO,
    VOCABULARY,
    make_page,
    make_policy,
    pages_of_different_sizes,
    tokens,
)
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.kv_cache import AppendingLayer, cache_of, layer_of
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Refused, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine

HOSTILE = {
    "do_sample": True,
    "top_k": 1,
    "top_p": 0.1,
    "min_p": 0.9,
    "repetition_penalty": 5.0,
    "no_repeat_ngram_size": 1,
    "temperature": 0.01,
    "max_new_tokens": 1,
    "bad_words_ids": [[FIRST + 2]],
}


def with_head_bias(policy, biases):
    """The policy with these logits added, whatever the page."""
    head = policy.head
    head.bias = torch.nn.Parameter(torch.zeros(VOCABULARY))
    for token, bias in biases.items():
        head.bias.data[token] = bias
    return policy


def all_completions(groups):
    return [completion for group in groups for completion in group.completions]


@pytest.mark.parametrize("end_bias", [0.0, 3.0])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_sampling_logprobs_are_the_trainer_s_own(policy, temperature, end_bias):
    """Also when most completions end early, so that the engine drops their rows from its cache."""
    with_head_bias(policy, {EOS: end_bias})
    pages = pages_of_different_sizes()
    groups = TransformersEngine(policy).generate(pages, Sampling(5, temperature, 12), seed=1)
    assert not end_bias or any(len(c.token_ids) < 6 for c in all_completions(groups))
    for page, group in zip(pages, groups, strict=True):
        assert group.page is page
        ids, mask = pad_rows([list(c.token_ids) for c in group.completions], PAD)
        with torch.no_grad():
            scores = policy.score(policy.read(policy.prompt(page)), ids, mask, temperature)
        for row, completion in zip(scores.logprobs, group.completions, strict=True):
            sampled = torch.tensor(completion.sampling_logprobs)
            torch.testing.assert_close(row[: len(sampled)], sampled, atol=1e-5, rtol=1e-5)


def test_tokens_are_drawn_with_the_probabilities_that_are_reported():
    """4,000 first tokens against softmax(logits / 0.7); the standard error of a frequency is at most 0.008."""
    policy = make_policy()
    page = make_page()
    group = TransformersEngine(policy, rows=4000).generate([page], Sampling(4000, 0.7, 1), seed=3)[0]
    drawn = torch.bincount(torch.tensor([c.token_ids[0] for c in group.completions]), minlength=VOCABULARY) / 4000
    with torch.no_grad():
        state = policy.read(policy.prompt(page))
        exact = policy.logits(state.last_hidden[0, 0], 0.7).softmax(-1)
    torch.testing.assert_close(drawn, exact, atol=0.03, rtol=0)


def test_the_same_seed_gives_the_same_completions_and_another_seed_others(policy):
    engine, pages = TransformersEngine(policy), pages_of_different_sizes()
    first, again, other = (engine.generate(pages, Sampling(4, 1.0, 8), seed) for seed in (7, 7, 8))
    assert all_completions(first) == all_completions(again)
    assert all_completions(first) != all_completions(other)


def test_completions_of_one_page_differ_from_one_another(policy):
    group = TransformersEngine(policy).generate([make_page()], Sampling(8, 1.0, 8), seed=0)[0]
    assert len({c.text for c in group.completions}) > 4


def test_sampling_does_not_change_the_global_random_state(policy):
    before = torch.get_rng_state()
    TransformersEngine(policy).generate([make_page()], Sampling(4, 1.0, 4), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_page_gets_the_same_completion_in_a_batch_as_alone(policy, rows):
    pages, sampling = pages_of_different_sizes(), Sampling(1, 0.0, 12)
    together = all_completions(TransformersEngine(policy, rows).generate(pages, sampling, seed=0))
    alone = [TransformersEngine(policy).generate([page], sampling, seed=0)[0].completions[0] for page in pages]
    assert [c.token_ids for c in together] == [c.token_ids for c in alone]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.sampling_logprobs, b.sampling_logprobs, atol=1e-5, rtol=1e-5)


def test_greedy_is_what_the_model_s_own_generate_writes(policy):
    """The random models never choose an image token here, which `generate` would allow."""
    with_head_bias(policy, dict.fromkeys((IMAGE, BREAK, END, VIDEO), -20.0))
    for page in pages_of_different_sizes():
        completion = TransformersEngine(policy).generate([page], Sampling(1, 0.0, 12), seed=0)[0].completions[0]
        inputs = dict(policy.prompt(page).inputs)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        theirs = policy.model.generate(**inputs, max_new_tokens=12, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        assert list(completion.token_ids) == theirs.tolist()


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_completion_ends_at_its_first_end_token(policy, temperature):
    with_head_bias(policy, {EOS: 2.0})
    groups = TransformersEngine(policy).generate(pages_of_different_sizes(), Sampling(6, temperature, 10), seed=2)
    completions = all_completions(groups)
    ended = [c for c in completions if EOS in c.token_ids]
    assert ended
    for completion in completions:
        assert len(completion.sampling_logprobs) == len(completion.token_ids)
        if EOS in completion.token_ids:
            assert completion.finish_reason == "end"
            assert completion.finished
            assert list(completion.token_ids).index(EOS) == len(completion.token_ids) - 1
            assert tokens(completion.text) == [t for t in completion.token_ids if t >= FIRST]
        else:
            assert completion.finish_reason == "length"
            assert not completion.finished
            assert len(completion.token_ids) == 10


def test_an_end_token_at_the_limit_is_an_end():
    policy = with_head_bias(make_policy(), {EOS: 50.0})
    completion = TransformersEngine(policy).generate([make_page()], Sampling(1, 1.0, 1), seed=0)[0].completions[0]
    assert completion.finish_reason == "end"
    assert completion.token_ids == [EOS]
    assert completion.text == ""


def test_each_end_token_ends_a_completion():
    policy = with_head_bias(make_policy(), {EOS: 1.5, STOP: 1.5})
    policy.end_ids = [EOS, STOP]
    completions = all_completions(TransformersEngine(policy).generate([make_page()], Sampling(32, 1.0, 20), seed=0))
    assert {c.token_ids[-1] for c in completions if c.finished} == {EOS, STOP}
    for completion in completions:
        assert not {EOS, STOP} & set(completion.token_ids[:-1])


def test_image_tokens_are_never_sampled_even_by_a_model_that_prefers_them(policy):
    with_head_bias(policy, dict.fromkeys((IMAGE, BREAK, END), 50.0))
    for temperature in (0.0, 1.0):
        groups = TransformersEngine(policy).generate([make_page()], Sampling(8, temperature, 8), seed=0)
        for completion in all_completions(groups):
            assert not {IMAGE, BREAK, END} & set(completion.token_ids)
            assert all(math.isfinite(x) for x in completion.sampling_logprobs)


def test_a_checkpoint_s_generation_settings_change_nothing(saved):
    plain = Policy.load(ModelConfig(path=str(saved)))
    config = json.loads((saved / "generation_config.json").read_text())
    (saved / "generation_config.json").write_text(json.dumps(config | HOSTILE))
    assert GenerationConfig.from_pretrained(saved).top_k == 1
    hostile = Policy.load(ModelConfig(path=str(saved)))
    for sampling in (Sampling(4, 1.0, 8), Sampling(4, 0.7, 8), Sampling(1, 0.0, 8)):
        pages = pages_of_different_sizes()
        expected = TransformersEngine(plain).generate(pages, sampling, seed=5)
        assert TransformersEngine(hostile).generate(pages, sampling, seed=5) == [
            type(group)(page, group.completions) for page, group in zip(pages, expected, strict=True)
        ]


def test_of_generation_settings_the_end_and_padding_tokens_are_used(saved):
    config = json.loads((saved / "generation_config.json").read_text())
    config |= HOSTILE | {"eos_token_id": [STOP, EOS], "pad_token_id": STOP}
    (saved / "generation_config.json").write_text(json.dumps(config))
    policy = Policy.load(ModelConfig(path=str(saved)))
    assert policy.end_ids == [STOP, EOS]
    assert policy.pad_id == STOP


@pytest.mark.parametrize("settings", [HOSTILE, {"temperature": 0.01, "top_p": 0.1}])
def test_a_checkpoint_s_sampling_settings_are_dropped_when_it_is_saved_again(saved, tmp_path, settings):
    """Settings without do_sample load with a warning, and transformers refuses to save them."""
    config = json.loads((saved / "generation_config.json").read_text())
    (saved / "generation_config.json").write_text(json.dumps(config | settings))
    policy = Policy.load(ModelConfig(path=str(saved)))
    policy.save(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "generation_config.json").read_text())
    assert not settings.keys() & config.keys()
    assert Policy.load(ModelConfig(path=str(tmp_path / "again"))).end_ids == policy.end_ids


def test_a_policy_with_gradient_checkpointing_samples_as_one_without():
    pages, sampling = pages_of_different_sizes(), Sampling(4, 1.0, 8)
    plain = TransformersEngine(make_policy()).generate(pages, sampling, seed=0)
    assert TransformersEngine(make_policy(gradient_checkpointing=True)).generate(pages, sampling, seed=0) == plain


def test_after_a_sync_the_engine_samples_from_the_new_weights(policy):
    engine = TransformersEngine(make_policy(seed=5))
    engine.sync(policy)
    pages, sampling = [make_page()], Sampling(4, 1.0, 8)
    assert engine.generate(pages, sampling, 0) == TransformersEngine(policy).generate(pages, sampling, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(["drop rows", 1, 5, 100]), max_size=8), st.integers(0, 99))
def test_an_appending_cache_equals_one_that_is_copied_for_each_token(actions, seed):
    """Actions: drop every other row, or append this many tokens."""
    generator = torch.Generator().manual_seed(seed)

    def draw(rows, length):
        return torch.randn(rows, 2, length, 3, generator=generator)

    prompt = draw(6, 4), draw(6, 4)
    appending, copied = (cache_of([layer_of(DynamicLayer(), prompt, kind)]) for kind in (AppendingLayer, DynamicLayer))
    for action in actions:
        rows = copied.layers[0].keys.shape[0]
        if action == "drop rows":
            keep = torch.arange(0, rows, 2)
            appending.batch_select_indices(keep)
            copied.batch_select_indices(keep)
            continue
        more = draw(rows, action), draw(rows, action)
        for found, expected in zip(appending.update(*more, 0), copied.update(*more, 0), strict=True):
            assert torch.equal(found, expected)
    assert appending.get_seq_length() == copied.get_seq_length()
    assert torch.equal(appending.layers[0].values, copied.layers[0].values)


def test_sampling_does_not_write_into_the_prompt_state():
    """A state may be used again: what sampling appends must not end up in its keys and values."""
    keys, values = torch.ones(1, 1, 4, 2), torch.ones(1, 1, 4, 2)
    cache = cache_of([layer_of(DynamicLayer(), (keys, values), AppendingLayer)])
    cache.update(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), 0)
    assert keys.equal(torch.ones(1, 1, 4, 2))
    assert cache.layers[0].keys[0, 0, :, 0].tolist() == [1, 1, 1, 1, 0]


def test_a_stream_yields_every_completion_once_and_the_short_ones_first(policy):
    with_head_bias(policy, {EOS: 1.0})
    pages, sampling = pages_of_different_sizes(), Sampling(8, 1.0, 30)
    events = list(TransformersEngine(policy).stream(iter(pages), sampling, seed=3))
    assert sorted(event[:2] for event in events) == [(page, row) for page in range(4) for row in range(8)]
    lengths = [len(event.completion.token_ids) for event in events]
    assert lengths[-1] == max(lengths) > min(lengths)
    assert min(lengths[:8]) < max(lengths[8:])
    groups = TransformersEngine(policy).generate(pages, sampling, seed=3)
    for page, row, completion in events:
        assert groups[page].completions[row] == completion


def test_pages_are_taken_as_there_is_room_for_them(policy):
    taken = []

    def pages():
        for i in range(6):
            taken.append(i)
            yield make_page(i)

    stream = TransformersEngine(policy, rows=4).stream(pages(), Sampling(2, 1.0, 4), seed=0)
    assert next(stream).page in (0, 1)
    assert taken == [0, 1]
    assert {event.page for event in stream} | {0, 1} == set(range(6))


def test_a_row_that_has_ended_stays_ended():
    """A quarter of the rows must end before they are dropped; until then none of them may grow."""
    policy = with_head_bias(make_policy(), {EOS: 0.5})
    decoded = []
    decode = policy.decode
    policy.decode = lambda ids, *rest: decoded.append(len(ids)) or decode(ids, *rest)
    completions = all_completions(TransformersEngine(policy).generate([make_page()], Sampling(64, 1.0, 40), seed=0))
    lengths = sorted(len(c.token_ids) for c in completions)
    for step, rows in enumerate(decoded, 1):
        open_rows = sum(length > step for length in lengths)
        assert rows <= open_rows / 0.75


class Reluctant(TransformersEngine):
    """Refuses the pages with these ids."""

    refuses = ("page1",)

    def stream(self, pages, sampling, seed):
        numbered = list(enumerate(pages))
        read = [(i, page) for i, page in numbered if page.id not in self.refuses]
        yield from (Refused(i, "too many tokens") for i, page in numbered if page.id in self.refuses)
        for event in super().stream([page for _, page in read], sampling, seed):
            yield event._replace(page=read[event.page][0])


def test_a_refused_page_is_named_and_left_out(policy, capsys):
    pages = [make_page(i) for i in range(3)]
    groups = Reluctant(policy).generate(pages, Sampling(2, 1.0, 4), seed=0)
    assert [group.page.id for group in groups] == ["page0", "page2"]
    assert "page1: left out: too many tokens" in capsys.readouterr().err


def test_a_prompt_with_a_special_token_refuses_its_page_and_no_other(policy):
    pages = [make_page(0), make_page(1, prompt="ab<image>c"), make_page(2, prompt="abc")]
    events = list(TransformersEngine(policy).stream(pages, Sampling(1, 1.0, 2), seed=0))
    [refused] = [event for event in events if isinstance(event, Refused)]
    assert refused.page == 1
    assert 'its prompt holds "<' in str(refused)
    assert sorted(event.page for event in events if not isinstance(event, Refused)) == [0, 2]
