"""Models in the form of LightOnOCR with some tens or hundreds of millions of random weights."""

import copy

import torch
from transformers import LightOnOcrForConditionalGeneration

from helpers.tiny_models import make_model, make_processor
from ocr_rl.models.policy import Policy


def sized_policy(hidden: int, layers: int, vocabulary: int = 8000) -> Policy:
    """With heads of 64 in the decoder, and a tower of half its width and a third of its depth."""
    like = make_model("lighton")
    config = copy.deepcopy(like.config)
    text, vision = config.text_config, config.vision_config
    text.vocab_size, text.hidden_size, text.intermediate_size = vocabulary, hidden, 3 * hidden
    text.head_dim, text.num_attention_heads, text.num_key_value_heads = 64, hidden // 64, hidden // 128
    text.num_hidden_layers, text.layer_types = layers, ["full_attention"] * layers
    text.max_position_embeddings = 4096
    vision.hidden_size, vision.intermediate_size, vision.head_dim = hidden // 2, 2 * hidden, 32
    vision.num_attention_heads, vision.num_hidden_layers = hidden // 64, max(3, layers // 3)
    torch.manual_seed(0)
    model = LightOnOcrForConditionalGeneration(config)
    model.generation_config = like.generation_config
    processor = make_processor("lighton")
    processor.tokenizer.eos_token = "</s>"
    return Policy(model, processor)
