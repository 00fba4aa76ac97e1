"""Policies in the variants that sharding has to keep apart, and what several processes do with them."""

import torch
from peft import LoraConfig, get_peft_model

from helpers.tiny_models import make_model, make_processor
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.models.checkpoints.loading import vision_tower
from ocr_rl.models.policy import Policy


def make_variant(architecture="lighton", variant="", seed=0, mesh=None):
    """`variant` has some of the words tied, lora, frozen (the tower), recomputed, bf16, offloaded."""
    words = variant.split()
    model = make_model(architecture, seed)
    if "tied" in words:
        model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = True
        model.tie_weights()
        assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    tower = vision_tower(model)
    if "lora" in words:
        if "bf16" in words:  # as `Policy.load` keeps frozen weights
            model.to(torch.bfloat16)
        model.name_or_path = str(EMBEDDED["tiny"])
        torch.manual_seed(seed + 1)
        lora = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear", init_lora_weights=False)
        model = get_peft_model(model, lora)
    if "frozen" in words:
        tower.requires_grad_(False)
    return Policy(
        model,
        make_processor(architecture),
        gradient_checkpointing="recomputed" in words,
        compute_dtype=torch.bfloat16 if "bf16" in words else torch.float32,
        mesh=mesh,
        offload="offloaded" in words,
    )
