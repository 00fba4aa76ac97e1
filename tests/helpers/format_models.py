"""A LightOnOCR of helpers.tiny_models whose tokenizer has an output format's special tokens, and scripts for it."""

import copy
import re
import string

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LightOnOcrForConditionalGeneration, PreTrainedTokenizerFast

from helpers.tiny_models import EOS, SPECIAL, make_model, make_processor
from ocr_rl.config.presets import PromptFormat
from ocr_rl.models.policy import Policy

MARKUP = {
    "doctags": r"</?[a-z_]+(?:_?\d+)?>",
    "otsl": r"<(?:[felrux]cel|[cr]hed|srow|nl)>",
    "grounding": r"<\|/?[a-z]+\|>",
}
"""What is a special token of the makers' tokenizers."""


def make_tokenizer(output: str, text: str) -> PreTrainedTokenizerFast:
    """One token per character, and one for each piece of markup in the text."""
    markup = sorted(set(re.findall(MARKUP[output], text)) - set(SPECIAL)) if output in MARKUP else []
    special = [*SPECIAL, *markup]
    characters = sorted({*text, *string.ascii_letters, *string.digits, *string.punctuation, " ", "\n"})
    tokenizer = Tokenizer(
        models.WordLevel({token: i for i, token in enumerate([*special, *characters])}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special)
    names = {"image_token": "<image>", "image_break_token": "<break>", "image_end_token": "<end>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=names,
    )


def make_policy(output: str, text: str) -> Policy:
    like, processor = make_model("lighton"), make_processor("lighton")
    processor.tokenizer = make_tokenizer(output, text)
    config = copy.deepcopy(like.config)
    config.text_config.vocab_size = len(processor.tokenizer)
    model = LightOnOcrForConditionalGeneration(config)
    model.generation_config = like.generation_config
    return Policy(model, processor, prompt_format=PromptFormat(output=output))


def token_ids(policy: Policy, text: str) -> list[int]:
    """As its model would sample them: the markup in special tokens, and the end token."""
    return [*policy.processor.tokenizer(text, add_special_tokens=False)["input_ids"], EOS]


def script(monkeypatch, ids: list[int]) -> None:
    """From now on every policy writes these tokens, again for each batch of pages."""
    steps = 0

    def logits(self, hidden, temperature):
        nonlocal steps
        certain = torch.full((*hidden.shape[:-1], self.head.weight.shape[0]), -1e4)
        certain[..., ids[steps % len(ids)]] = 0.0
        steps += 1
        return certain

    monkeypatch.setattr(Policy, "logits", logits)
