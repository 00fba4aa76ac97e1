"""From a row of the tables to a model and its processor."""

from __future__ import annotations

import re
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers.utils import is_torchvision_available

from helpers.families.family import Family
from ocr_rl.models.checkpoints.processors import VideoStandIn, image_processor_class, without_video_part

PLAIN = ["<pad>", "<unk>", "<s>", "</s>"]
PAD, _, BOS, _ = range(4)
CHARACTERS = "\n" + "".join(map(chr, range(ord(" "), 127)))
SPECIAL = re.compile(r"<[^<>\s]+>|\[/?\w+\]")


def build_family(family: Family, seed: int) -> tuple[Any, Any]:
    with without_video_part():
        processor = _processor(family)
    torch.manual_seed(seed)
    model = _class(family.classes, "ForConditionalGeneration")(_config(family, processor.tokenizer))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim > 1:  # 1 / sqrt(fan in): with transformers' 0.02 narrow layers are almost zero
                parameter.normal_(std=parameter[0].numel() ** -0.5)
            elif "layer_scale" in key or "lambda" in key:
                parameter.fill_(1.0)
        if head := model.get_output_embeddings():
            head.weight.mul_(1.5)
    model.generation_config.update(bos_token_id=BOS, pad_token_id=PAD, eos_token_id=processor.tokenizer.eos_token_id)
    return model.eval(), processor


def _class(*name: str) -> Any:
    return getattr(transformers, "".join(name))


def _config(family: Family, tokenizer: Any) -> Any:
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": PAD,
    }
    return _class(family.classes, "Config")(
        vision_config=dict(family.vision),
        text_config=text | dict(family.text),
        tie_word_embeddings=False,
        **{key: tokenizer.convert_tokens_to_ids(token) for key, token in family.config_ids.items()},
        **family.config,
    )


def _processor(family: Family) -> Any:
    name = family.processor or family.classes
    images = f"{family.images}ImageProcessor"
    parts = {
        "image_processor": (image_processor_class(f"{images}Pil") or _class(images))(**family.image_settings),
        "tokenizer": _tokenizer(family),
    }
    if family.video:
        video = f"{family.video}VideoProcessor"
        real = is_torchvision_available()
        parts["video_processor"] = _class(video)() if real else VideoStandIn({"video_processor_type": video})
    if hasattr(transformers, f"{name}AudioFeatureExtractor"):
        parts["feature_extractor"] = _class(name, "AudioFeatureExtractor")()
    if family.has_template:
        parts["chat_template"] = _template(*family.prompt)
    return _class(name, "Processor")(**parts, **family.processor_settings)


def _template(before: str, image: str, after: str) -> str:
    part = f"{{% if part.type == 'image' %}}{image}{{% else %}}{{{{ part.text }}}}{{% endif %}}"
    parts = f"{{% for part in message.content %}}{part}{{% endfor %}}"
    return f"{before}{{% for message in messages %}}{parts}{{% endfor %}}{after}"


def _tokenizer(family: Family) -> Any:
    """One token per character, and the family's special tokens."""
    special = [*PLAIN, *SPECIAL.findall("".join(family.prompt)), family.end, *family.names.values()]
    for tokens in family.config_ids.values():
        special += [tokens] if isinstance(tokens, str) else tokens
    special = list(dict.fromkeys([*special, *family.tokens.split()]))
    vocabulary = {token: i for i, token in enumerate([*special, *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token=family.end,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=dict(family.names),
    )
