"""LightOnOCR of helpers.tiny_models with heads of 32, the minimum for vLLM's attention on a CPU."""

import copy

import torch
from transformers import LightOnOcrForConditionalGeneration

from helpers.tiny_models import make_model, make_processor
from ocr_rl.models.policy import Policy


def make_policy(seed: int = 0, tied: bool = False, **options) -> Policy:
    like = make_model("lighton")
    config = copy.deepcopy(like.config)
    config.text_config.head_dim = 32
    config.tie_word_embeddings = config.text_config.tie_word_embeddings = tied
    torch.manual_seed(seed)
    model = LightOnOcrForConditionalGeneration(config)
    for parameter in model.parameters():
        if parameter.ndim >= 2:
            torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(1.5)
    model.generation_config = like.generation_config
    processor = make_processor("lighton")
    processor.tokenizer.eos_token = "</s>"
    return Policy(model, processor, **options)
