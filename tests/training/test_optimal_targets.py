"""Own completions and the reference's tokens: characters, tokens of several characters, ends, byte tokens."""

from functools import partial

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from helpers.tiny_models import EOS, completion, make_page, make_policy, tokens
from ocr_rl.objectives.optimal_completion import optimal_tokens
from ocr_rl.training.optimal_targets import OptimalTargets
from ocr_rl.types import Completion


def targets(policy, text, completions, choice="uniform", max_tokens=32):
    page = make_page(0, text=text)
    found = OptimalTargets(policy, [page], max_tokens)
    return found.after_each(page, completions, partial(optimal_tokens, choice=choice))


@pytest.fixture(scope="module")
def characters():
    return make_policy()


def test_after_each_prefix_the_reference_goes_on(characters):
    """`abd` may have left `c` out, have written `d` in its place, or too much: `abdcd` has one edit too."""
    [found] = targets(characters, "abcd", [completion("abd")])
    assert found.next_tokens == [[t] for t in tokens("abc")] + [[*tokens("cd"), EOS]]


def test_after_a_wrong_token_it_may_stand_for_one_of_the_reference_or_for_none(characters):
    """After `abl` the best text ends with one edit, whether `l` is instead of `c` or too much."""
    for choice, learned in (("uniform", "cd"), ("nearest", "c"), ("furthest", "d")):
        [found] = targets(characters, "abcd", [completion("abl")], choice)
        assert found.next_tokens[3] == tokens(learned)


def test_the_end_is_learned_where_nothing_is_left_and_not_in_a_text_that_was_cut_off(characters):
    [found] = targets(characters, "ab", [completion("ab", finished=False)])
    assert found.next_tokens == [tokens("a"), tokens("b")]
    [ended] = targets(characters, "ab", [completion("abc")])
    assert ended.next_tokens[2:] == [[EOS], [EOS]]
    [cut] = targets(characters, "abcd", [completion("abcd")], max_tokens=3)
    assert cut.next_tokens == [tokens("a"), tokens("b"), tokens("c"), [], []]


def test_the_rest_of_the_reference_after_a_cut(characters):
    page = make_page(0, text="abcd")
    found = OptimalTargets(characters, [page], 6)
    [kept, wrong] = found.rest_after(page, [completion("abcd"), completion("lab")], [2, 1])
    assert kept.token_ids == [*tokens("abcd"), EOS]
    assert kept.next_tokens == [[], [], *([t] for t in tokens("cd")), [EOS]]
    assert wrong.token_ids == [*tokens("labcd"), EOS]  # `l` is too much: nothing is skipped
    assert wrong.next_tokens == [[], *([t] for t in tokens("abcd")), [EOS]]


@pytest.fixture(scope="module")
def pairs():
    """A policy whose tokens are bytes and pairs of letters."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<break>", "<end>", "<video>", "<stop>"]
    merges = [("a", "b"), ("c", "d"), ("b", "c")]
    vocabulary = {name: i for i, name in enumerate([*names, *alphabet, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(name, special=True) for name in names])
    policy = make_policy()
    policy.processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    return policy, lambda *pieces: [vocabulary[piece] for piece in pieces]


def written(policy, ids):
    return Completion([*ids, EOS], policy.text(ids), "end", [0.0] * (len(ids) + 1))


def test_inside_a_token_of_the_reference_its_rest_is_learned(pairs):
    """`abcd` is `ab` `cd`; after the single letters `a` and `b` `c` the rests are `b` and `d`."""
    policy, ids = pairs
    [found] = targets(policy, "abcd", [written(policy, ids("a", "b", "c", "d"))])
    assert found.next_tokens == [ids("ab"), ids("b"), ids("cd"), ids("d"), [EOS]]
    [across] = targets(policy, "abcd", [written(policy, ids("a", "bc", "d"))])
    assert across.next_tokens == [ids("ab"), ids("b"), ids("d"), [EOS]]
    page = make_page(0, text="abcd")
    [rest] = OptimalTargets(policy, [page], 9).rest_after(page, [written(policy, ids("a", "bc"))], [1])
    assert rest.token_ids == [*ids("a", "b", "cd"), EOS]


def test_within_a_character_of_several_tokens_nothing_is_learned(pairs):
    """`é` is two bytes: after the first one the second follows by itself."""
    policy, ids = pairs
    encoded = policy.processor.tokenizer("é", add_special_tokens=False)["input_ids"]
    assert len(encoded) == 2
    [found] = targets(policy, "aé", [written(policy, [*ids("a"), *encoded])])
    assert found.next_tokens == [ids("a"), encoded[:1], [], [EOS]]
