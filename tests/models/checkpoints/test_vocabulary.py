"""Characters that a tokenizer loses, and references that are too long, are named before training."""

from dataclasses import replace

from transformers import AutoTokenizer

from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.models.checkpoints.vocabulary import lost_characters, unwritable
from ocr_rl.types import Page


def page(name, text):
    return Page(name, lambda: None, text=text)


def test_characters_that_become_the_unknown_token_or_vanish_are_counted():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED["tiny"])
    assert lost_characters(tokenizer, "Dear Sir,\nthank you.") == {}
    assert lost_characters(tokenizer, "日本 a 日") == {"日": 2, "本": 1}


def test_lost_characters_and_long_references_are_named_with_examples():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED["tiny"])
    pages = [page("a.png", "日本日"), page("b.png", "日 Sir"), page("c.png", "Sir"), page("d.png", None)]
    assert unwritable(tokenizer, pages[2:], 512, "rollout.max_tokens") == []
    characters, length = unwritable(tokenizer, [*pages, page("e.png", "x y " * 50)], 100, "rollout.max_tokens")
    assert characters == (
        "the model's tokenizer cannot write 4 characters of the references: '日' 3 times (in a.png), "
        "'本' 1 times (in a.png)"
    )
    assert length.startswith("1 references are longer than the 100 tokens of rollout.max_tokens: e.png (")


def test_prompts_with_special_tokens_are_counted_and_named():
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED["tiny"])
    pages = [replace(page(f"{prompt}.png", "Sir"), prompt=prompt) for prompt in ("Read", "a</s>", "<s>b")]
    assert unwritable(tokenizer, pages, 512, "rollout.max_tokens") == [
        "2 pages are refused, since their prompts hold special tokens: a</s>.png (</s>), <s>b.png (<s>)"
    ]
