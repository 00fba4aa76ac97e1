"""Two vision-language architectures with random weights, small enough to train in milliseconds, and pages for them.

`lighton` has a Pixtral tower and plain rotary positions, `qwen` has windowed attention and M-RoPE.
"""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random

import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    LightOnOcrConfig,
    LightOnOcrForConditionalGeneration,
    LightOnOcrProcessor,
    PixtralImageProcessorPil,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessorPil,
)

from ocr_rl.config.schema import GrpoConfig, Recipe, RolloutConfig, TrainConfig
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.types import Completion, Group, Page

SPECIAL = ["<pad>", "<unk>", "<s>", "</s>", "<image>", "<break>", "<end>", "<video>", "<stop>"]
PAD, UNK, BOS, EOS, IMAGE, BREAK, END, VIDEO, STOP = range(len(SPECIAL))
ALPHABET = "\n abcdefghijkl"
FIRST = len(SPECIAL)
VOCABULARY = len(SPECIAL) + len(ALPHABET)
ARCHITECTURES = ("lighton", "qwen")


def tokens(text: str) -> list[int]:
    return [FIRST + ALPHABET.index(character) for character in text]


def make_tokenizer(names: dict[str, str]) -> PreTrainedTokenizerFast:
    """One token per character."""
    vocabulary = {token: i for i, token in enumerate([*SPECIAL, *ALPHABET])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=names | {"stop_token": "<stop>"},
    )
    fast.chat_template = (
        "{% for message in messages %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{% endfor %}<s>"
    )
    return fast


class VideolessQwenProcessor(Qwen2_5_VLProcessor):
    """The Qwen processor without its video part, which needs torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None, **kwargs):
        self.image_token, self.video_token = tokenizer.image_token, tokenizer.video_token
        self.image_token_id, self.video_token_id = tokenizer.image_token_id, tokenizer.video_token_id
        super(Qwen2_5_VLProcessor, self).__init__(image_processor, tokenizer, chat_template=chat_template)

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]


def make_processor(architecture: str):
    if architecture == "lighton":
        names = {"image_token": "<image>", "image_break_token": "<break>", "image_end_token": "<end>"}
        tokenizer = make_tokenizer(names)
        images = PixtralImageProcessorPil(size={"longest_edge": 64}, patch_size={"height": 16, "width": 16})
        return LightOnOcrProcessor(
            images, tokenizer, patch_size=8, spatial_merge_size=2, chat_template=tokenizer.chat_template
        )
    tokenizer = make_tokenizer({"image_token": "<image>", "video_token": "<video>"})
    images = Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
    )
    return VideolessQwenProcessor(images, tokenizer, chat_template=tokenizer.chat_template)


def make_model(architecture: str, seed: int = 0):
    """Hidden size 32, two layers, float32; the head's weights are large enough for an uneven distribution."""
    torch.manual_seed(seed)
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
    }
    special = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "tie_word_embeddings": False}
    if architecture == "lighton":
        config = LightOnOcrConfig(
            spatial_merge_size=2,
            image_token_id=IMAGE,
            vision_config={
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_attention_heads": 2,
                "num_hidden_layers": 2,
                "head_dim": 16,
                "patch_size": 8,
                "image_size": 64,
            },
            text_config=text | {"head_dim": 16},
            **special,
        )
        model = LightOnOcrForConditionalGeneration(config)
    else:
        config = Qwen2_5_VLConfig(
            image_token_id=IMAGE,
            video_token_id=VIDEO,
            vision_start_token_id=BREAK,
            vision_end_token_id=END,
            vision_config={
                "depth": 2,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_heads": 2,
                "out_hidden_size": 32,
                "patch_size": 8,
                "spatial_merge_size": 2,
                "temporal_patch_size": 2,
                "window_size": 32,
                "fullatt_block_indexes": [1],
            },
            text_config=text
            | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}},
            **special,
        )
        model = Qwen2_5_VLForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim >= 2:  # 1 / sqrt(fan in): with transformers' 0.02 narrow layers are almost zero
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1.5)
    model.generation_config.update(eos_token_id=EOS, pad_token_id=PAD, bos_token_id=BOS)
    return model


def make_policy(architecture: str = "lighton", seed: int = 0, **options) -> Policy:
    return Policy(make_model(architecture, seed), make_processor(architecture), **options)


def make_page(i: int = 0, size: tuple[int, int] = (48, 32), prompt: str = "", text: str = "abc") -> Page:
    """Noise, so that pages differ; page i is always the same."""
    pixels = Random(i).randbytes(3 * size[0] * size[1])
    return Page(f"page{i}", lambda: Image.frombytes("RGB", size, pixels), prompt=prompt, text=text)


def pages_of_different_sizes() -> list[Page]:
    sizes = [(48, 32), (64, 64), (32, 64), (20, 70)]
    return [make_page(i, size, prompt="ab" * i) for i, size in enumerate(sizes)]


def completion(text: str = "abc", finished: bool = True) -> Completion:
    """As if from an engine without log probabilities."""
    ids = tokens(text) + [EOS] * finished
    return Completion(ids, text, "end" if finished else "length", [math.nan] * len(ids))


def group(page: Page, *texts: str, finished: bool = True) -> Group:
    return Group(page, [completion(text, finished) for text in texts])


def make_recipe(**changes) -> Recipe:
    """A recipe for these models; `grpo_beta=0.1` sets recipe.grpo.beta, and so on."""
    recipe = Recipe(
        rollout=RolloutConfig(pages_per_step=2, group_size=4, max_tokens=8),
        grpo=GrpoConfig(min_group_std=1e-3),
        train=TrainConfig(steps=2, learning_rate=1e-3, tensorboard=False),
    )
    for name, value in changes.items():
        section, _, key = name.partition("_")
        recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{key: value})})
    return recipe


def gradients(policy: Policy) -> dict[str, torch.Tensor]:
    """Each parameter's gradient by name; resets them."""
    found = {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in policy.model.named_parameters()
        if p.requires_grad
    }
    policy.model.zero_grad(set_to_none=True)
    return found


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.model.state_dict().items()}


def assert_all_close(actual, expected, tolerance: float) -> None:
    """By name, within `tolerance` times the tensor's largest entry, or times 1 if that is more."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        room = tolerance * max(1.0, tensor.abs().max().item())
        difference = (actual[name] - tensor).abs().max().item()
        assert difference <= room, f"{name} differs by {difference:.2g}, more than {room:.2g}"


def plain_loss(policy, page, ids):
    """-sum log softmax(logits)[token] of one page, from one forward of the model over the whole sequence."""
    prompt = dict(policy.prompt(page).inputs)
    count = prompt["input_ids"].shape[1]
    prompt["input_ids"] = torch.cat([prompt["input_ids"], torch.tensor([ids])], dim=1)
    prompt["attention_mask"] = torch.ones_like(prompt["input_ids"])
    if "mm_token_type_ids" in prompt:
        prompt["mm_token_type_ids"] = torch.nn.functional.pad(prompt["mm_token_type_ids"], (0, len(ids)))
    logits = policy.model(**prompt).logits[0, count - 1 : -1]
    logits = logits.index_fill(-1, torch.tensor(policy.suppressed_ids), -torch.inf)
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids), reduction="sum")


def score_unshared(policy: Policy, prompt: Prompt, ids: torch.Tensor, mask: torch.Tensor, temperature: float):
    """`Policy.score` with the prompt repeated for each completion: one forward pass over whole rows."""
    rows, width = ids.shape
    repeated = {name: value.repeat(rows, *[1] * (value.ndim - 1)) for name, value in prompt.inputs.items()}
    repeated["input_ids"] = torch.cat([repeated["input_ids"], ids[:, :-1]], dim=1)
    if "mm_token_type_ids" in repeated:
        repeated["mm_token_type_ids"] = torch.nn.functional.pad(repeated["mm_token_type_ids"], (0, width - 1))
    repeated["attention_mask"] = torch.ones_like(repeated["input_ids"])
    hidden = policy.backbone(**repeated, use_cache=False).last_hidden_state[:, -width:]
    return policy.score_hidden(hidden, ids, mask, temperature)
