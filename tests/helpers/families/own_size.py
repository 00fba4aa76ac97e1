"""Families whose processor scales or cuts every page to squares of its own; and two that cannot be trained."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from helpers.families.family import HALF, HEAD, LINEAR, VIT, Family, chatml, pairs, square

SIGLIP = VIT | {"model_type": "siglip_vision_model", "image_size": 56, "vision_use_head": False}
TILES = {"image_grid_pinpoints": [[56 * rows, 56 * columns] for rows, columns in product((1, 2), repeat=2)]}
SAM = {
    "hidden_size": 16,
    "output_channels": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 256,
    "patch_size": 4,
    "mlp_dim": 16,
    "global_attn_indexes": [],
}
SLIDING = {"sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}

IDEFICS3 = Family(
    "Idefics3",
    images="Idefics3",
    image_settings={"size": {"longest_edge": 168}, "max_image_size": {"longest_edge": 56}} | HALF,
    vision=VIT | {"image_size": 56},
    text={"model_type": "llama"},
    config={"scale_factor": 2},
    prompt=(
        "<|start_of_role|>user<|end_of_role|>",
        "<image>",
        "<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>",
    ),
    end="<|end_of_text|>",
    config_ids=pairs("image_token_id <image> pad_token_id <pad>"),
    tokens="<fake_token_around_image> <global-img> <end_of_utterance> "
    + " ".join(f"<row_{row}_col_{column}>" for row, column in product(range(1, 7), repeat=2)),
    processor_settings={"image_seq_len": 4},
)
INTERNVL = Family(
    "InternVL",
    images="GotOcr2",
    image_settings={"size": square(56), "crop_to_patches": False, "min_patches": 1, "max_patches": 4},
    vision=VIT | {"image_size": [56, 56], "patch_size": [14, 14]},
    text={"model_type": "qwen2"},
    config={"image_seq_length": 4},
    prompt=chatml("<IMG_CONTEXT>\n"),
    end="<|im_end|>",
    config_ids=pairs("image_token_id <IMG_CONTEXT>"),
    names=pairs("start_image_token <img> end_image_token </img> context_image_token <IMG_CONTEXT> video_token <video>"),
    processor_settings={"image_seq_length": 4},
    video="InternVL",
)
GRANITE_LLAVA_NEXT = Family(
    "LlavaNext",
    images="LlavaNext",
    image_settings={"size": square(56), "crop_size": square(56)} | TILES | HALF,
    vision=SIGLIP,
    text={
        "model_type": "granite",
        "logits_scaling": 8.0,
        "embedding_multiplier": 12.0,
        "residual_multiplier": 0.22,
        "attention_multiplier": 0.03125,
    },
    config=TILES | {"vision_feature_select_strategy": "full", "vision_feature_layer": -1},
    prompt=("<|user|>\n", "<image>", "\n<|assistant|>\n"),
    end="<|end_of_text|>",
    config_ids=pairs("image_token_index <image>"),
    processor_settings={
        "patch_size": 14,
        "vision_feature_select_strategy": "full",
        "num_additional_image_tokens": 0,
    },
)

OWN_SIZE = {
    "idefics3": IDEFICS3,
    "smolvlm": replace(IDEFICS3, classes="SmolVLM", images="SmolVLM", video="SmolVLM"),
    "internvl": INTERNVL,
    "qianfan_ocr": replace(
        INTERNVL,
        classes="QianfanOCR",
        image_settings={"size": square(56), "crop_to_patches": True, "max_patches": 4},
        text=HEAD | {"model_type": "qwen3"},
        prompt=chatml("<image>\n"),
        names=pairs("start_image_token <img> end_image_token </img> context_image_token <IMG_CONTEXT>"),
        video="",
    ),
    "gemma3": Family(
        "Gemma3",
        images="Gemma3",
        image_settings={"size": square(56)} | HALF,
        vision=SIGLIP,
        text=HEAD | SLIDING | {"query_pre_attn_scalar": 32},
        config={"mm_tokens_per_image": 4},
        prompt=("<s><start_of_turn>user\n", "<start_of_image>", "<end_of_turn>\n<start_of_turn>model\n"),
        end="<end_of_turn>",
        config_ids=pairs(
            "boi_token_index <start_of_image> eoi_token_index <end_of_image> image_token_index <image_soft_token>"
        ),
        names=pairs("boi_token <start_of_image> eoi_token <end_of_image> image_token <image_soft_token>"),
        processor_settings={"image_seq_length": 4},
    ),
    "gemma4": Family(
        "Gemma4",
        images="Gemma4",
        image_settings={"patch_size": 4, "max_soft_tokens": 70},
        vision=VIT | {"num_key_value_heads": 2, "head_dim": 16, "patch_size": 4, "position_embedding_size": 64},
        text=HEAD
        | SLIDING
        | {
            "global_head_dim": 32,
            "layer_types": SLIDING["layer_types"] * 2,
            "num_hidden_layers": 4,
            "num_kv_shared_layers": 2,
            "final_logit_softcapping": 30.0,
            "hidden_size_per_layer_input": 8,
            "vocab_size_per_layer_input": 128,
            "use_bidirectional_attention": "vision",
        },
        config={"audio_config": None},
        prompt=("<s><|turn>user\n", "<|image|>", "<turn|>\n<|turn>model\n"),
        end="<turn|>",
        config_ids=pairs(
            "image_token_id <|image|> boi_token_id <|image> eoi_token_id <image|> video_token_id <|video|> "
            "audio_token_id <|audio|> boa_token_id <|audio> eoa_token_index <audio|>"
        ),
        names=pairs(
            "image_token <|image|> boi_token <|image> eoi_token <image|> "
            "audio_token <|audio|> boa_token <|audio> eoa_token <audio|>"
        ),
        processor_settings={"image_seq_length": 70},
        video="Gemma4",
    ),
    "got_ocr2": Family(
        "GotOcr2",
        images="GotOcr2",
        image_settings={"size": square(256)},
        vision=SAM | {"num_hidden_layers": 2, "window_size": 14},
        text={"model_type": "qwen2"},
        config={"image_seq_length": 256},
        prompt=chatml("<img><imgpad></img>\n", "Follow the instructions."),
        end="<|im_end|>",
        config_ids=pairs("image_token_index <imgpad>"),
    ),
    "deepseek_ocr2": Family(
        "DeepseekOcr2",
        images="DeepseekOcr2",
        image_settings={"size": square(256), "tile_size": 192} | HALF,
        vision={
            "sam_config": SAM | {"downsample_channels": [16, 32]},
            "encoder_config": VIT | {"vocab_size": 1, "num_hidden_layers": 1, "num_key_value_heads": 1},
        },
        text=HEAD
        | {
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_shared_experts": 1,
            "moe_intermediate_size": 24,
            "mlp_layer_types": ["dense", "sparse"],
        },
        prompt=("<s>", "<image>\n", ""),
        config_ids=pairs("image_token_id <image>"),
        names=pairs("image_token <image>"),
        tokens="<|ref|> <|/ref|> <|det|> <|/det|> <|grounding|>",
        processor_settings={"patch_size": 4},
    ),
    "lfm2_vl": Family(
        "Lfm2Vl",
        images="Lfm2Vl",
        image_settings={
            "tile_size": 64,
            "encoder_patch_size": 16,
            "min_image_tokens": 2,
            "max_image_tokens": 8,
            "max_tiles": 4,
            "size": square(64),
        }
        | HALF,
        vision=VIT | {"model_type": "siglip2_vision_model", "patch_size": 16, "num_patches": 16},
        text={"model_type": "lfm2", "layer_types": ["conv", "full_attention"]},
        config={"projector_hidden_size": 32, "downsample_factor": 2},
        prompt=chatml("<image>"),
        end="<|im_end|>",
        config_ids=pairs("image_token_id <image>"),
        names=pairs(
            "image_token <image> image_start_token <|image_start|> image_end_token <|image_end|> "
            "image_thumbnail <|img_thumbnail|>"
        ),
        tokens=" ".join(f"<|img_row_{row}_col_{column}|>" for row, column in product(range(1, 5), repeat=2)),
    ),
    "minicpmv4_6": Family(
        "MiniCPMV4_6",
        images="MiniCPMV4_6",
        image_settings={"scale_resolution": 112, "max_slice_nums": 4} | HALF,
        vision=VIT | {"image_size": 112, "insert_layer_id": 0},
        text=HEAD | LINEAR | {"model_type": "qwen3_5_text"},
        config={"image_size": 112, "insert_layer_id": 0},
        prompt=chatml("<|image_pad|>\n"),
        end="<|im_end|>",
        config_ids=pairs("image_token_id <|image_pad|> video_token_id <|video_pad|>"),
        names=pairs(
            "image_token <|image_pad|> image_start_token <image> image_end_token </image> video_token <|video_pad|> "
            "slice_start_token <slice> slice_end_token </slice> "
            "image_id_start_token <image_id> image_id_end_token </image_id>"
        ),
        video="MiniCPMV4_6",
    ),
    "llava_onevision": Family(
        "LlavaOnevision",
        images="LlavaOnevision",
        image_settings={"size": square(56)} | TILES | HALF,
        vision=SIGLIP,
        text={"model_type": "qwen2"},
        config=TILES,
        prompt=chatml("<image>\n"),
        end="<|im_end|>",
        config_ids=pairs("image_token_index <image> video_token_index <video>"),
        processor_settings={"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        video="LlavaOnevision",
    ),
    "granite_llava_next": GRANITE_LLAVA_NEXT,
    "granite4_vision": replace(
        GRANITE_LLAVA_NEXT,
        classes="Granite4Vision",
        text=GRANITE_LLAVA_NEXT.text | {"model_type": "granite4_vision_text"},
        config=GRANITE_LLAVA_NEXT.config
        | {
            "downsample_rate": "1/2",
            "deepstack_layer_map": [[0, 0]],
            "spatial_target_layers": [1],
            "qformer_config": VIT
            | {
                "num_hidden_layers": 1,
                "encoder_hidden_size": 32,
                "cross_attention_frequency": 1,
                "max_position_embeddings": 64,
                "use_qformer_text_input": False,
            },
        },
        processor_settings=GRANITE_LLAVA_NEXT.processor_settings | {"downsample_rate": "1/2"},
    ),
    "ovis2": Family(
        "Ovis2",
        images="Ovis2",
        image_settings={"size": square(56), "crop_to_patches": True, "max_patches": 4} | HALF,
        vision=VIT | {"image_size": 56, "hidden_stride": 2, "vocab_size": 48},
        text={"model_type": "qwen2", "vocab_size": 256},
        config={"hidden_size": 64, "vocab_size": 256},
        prompt=chatml("<image>\n"),
        end="<|im_end|>",
        config_ids={
            "image_token_id": "<IMG_ATOM>",
            "visual_indicator_token_ids": ["<IMG_START>", "<IMG_GRID>", "<IMG_COL>", "<IMG_ROW>", "<IMG_END>"],
        },
        processor_settings={"image_seq_length": 4},
    ),
    "florence2": Family(
        "Florence2",
        images="CLIP",
        image_settings={"size": square(64), "crop_size": square(64)},
        vision={
            "depths": [1] * 4,
            "embed_dim": [8, 8, 16, 16],
            "num_heads": [2] * 4,
            "num_groups": [2] * 4,
            "window_size": 4,
            "projection_dim": 64,
        },
        text={"model_type": "bart", "d_model": 64, "encoder_layers": 1, "decoder_layers": 1}
        | {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": 3},
        has_template=False,
        config_ids=pairs("image_token_id <image>"),
        names=pairs("image_token <image>"),
        processor_settings={"num_additional_image_tokens": 0, "post_processor_config": {}},
    ),
    "kosmos2_5": Family(
        "Kosmos2_5",
        images="Kosmos2_5",
        image_settings={"max_patches": 64},
        vision=VIT | {"patch_embed_hidden_size": 768, "head_dim": 16, "max_num_patches": 64},
        text={"embed_dim": 64, "layers": 1, "ffn_dim": 48, "attention_heads": 2},
        config={"latent_query_num": 16},
        has_template=False,
        names=pairs("boi_token <image> eoi_token </image> image_token <s>"),
        tokens="<ocr> <md>",
        processor_settings={"num_image_tokens": 16},
    ),
}
