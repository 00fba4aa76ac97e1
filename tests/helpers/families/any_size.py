"""Families that take a page at its own size and aspect ratio, in whole image tokens."""

from __future__ import annotations

from dataclasses import replace

from helpers.families.family import EXPERTS, HALF, HEAD, INTERLEAVED, LINEAR, MROPE, VIT, Family, chatml, pairs, square


def between(side: int, least: int, most: int) -> dict[str, int]:
    """Bounds on a page's pixels, given in image tokens of `side` x `side`."""
    return {"shortest_edge": least * side * side, "longest_edge": most * side * side}


QWEN_VIT = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "out_hidden_size": 64}
PIXTRAL = VIT | {"model_type": "pixtral", "head_dim": 16, "image_size": 168}

QWEN2_5_VL = Family(
    "Qwen2_5_VL",
    images="Qwen2VL",
    image_settings={"size": between(28, 4, 24), "patch_size": 14, "merge_size": 2},
    vision=QWEN_VIT | {"window_size": 112, "fullatt_block_indexes": [1]},
    text={"rope_parameters": MROPE},
    prompt=chatml("<|vision_start|><|image_pad|><|vision_end|>", "You are a helpful assistant."),
    end="<|im_end|>",
    config_ids=pairs(
        "image_token_id <|image_pad|> video_token_id <|video_pad|> "
        "vision_start_token_id <|vision_start|> vision_end_token_id <|vision_end|>"
    ),
    video="Qwen2VL",
)
QWEN3_VL = replace(
    QWEN2_5_VL,
    classes="Qwen3VL",
    image_settings={"size": between(32, 4, 24), "patch_size": 16, "merge_size": 2} | HALF,
    vision=QWEN_VIT | {"depth": 3, "num_position_embeddings": 64, "patch_size": 16, "deepstack_visual_indexes": [0, 1]},
    text=HEAD | {"rope_parameters": INTERLEAVED, "num_hidden_layers": 3},
    video="Qwen3VL",
)
QWEN3_5 = replace(
    QWEN3_VL,
    classes="Qwen3_5",
    vision=QWEN_VIT | {"num_position_embeddings": 64, "patch_size": 16},
    text=HEAD | LINEAR,
    processor="Qwen3VL",
)
LIGHTON_OCR = Family(
    "LightOnOcr",
    images="Pixtral",
    image_settings={"size": {"longest_edge": 168}, "patch_size": square(14)},
    vision=PIXTRAL,
    text=HEAD,
    config={"spatial_merge_size": 2},
    prompt=chatml("<|image_pad|>"),
    end="<|im_end|>",
    config_ids=pairs("image_token_id <|image_pad|>"),
    names=pairs("image_token <|image_pad|> image_break_token <|vision_pad|> image_end_token <|vision_end|>"),
    processor_settings={"patch_size": 14, "spatial_merge_size": 2},
)
GLM4V = Family(
    "Glm4v",
    images="Glm4v",
    image_settings={"size": between(28, 4, 48)},
    vision=QWEN_VIT | {"image_size": 84},
    text={"rope_parameters": MROPE | {"mrope_section": [2, 3, 3], "partial_rotary_factor": 0.5}},
    prompt=("[gMASK]<sop><|user|>\n", "<|begin_of_image|><|image|><|end_of_image|>", "\n<|assistant|>\n"),
    end="<|endoftext|>",
    config_ids=pairs(
        "image_token_id <|image|> image_start_token_id <|begin_of_image|> image_end_token_id <|end_of_image|> "
        "video_token_id <|video|> video_start_token_id <|begin_of_video|> video_end_token_id <|end_of_video|>"
    ),
    video="Glm4v",
)

ANY_SIZE = {
    "qwen2_vl": replace(
        QWEN2_5_VL,
        classes="Qwen2VL",
        vision={"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2},
    ),
    "qwen2_5_vl": QWEN2_5_VL,
    "qwen3_vl": QWEN3_VL,
    "qwen3_vl_moe": replace(
        QWEN3_VL,
        classes="Qwen3VLMoe",
        text=QWEN3_VL.text | EXPERTS | {"norm_topk_prob": True},  # for vLLM; transformers always does that
        processor="Qwen3VL",
    ),
    "qwen3_5": QWEN3_5,
    "qwen3_5_moe": replace(
        QWEN3_5, classes="Qwen3_5Moe", text=QWEN3_5.text | EXPERTS | {"shared_expert_intermediate_size": 24}
    ),
    "lighton_ocr": LIGHTON_OCR,
    "mistral3": replace(
        LIGHTON_OCR,
        classes="Mistral3",
        image_settings={"size": {"longest_edge": 168}, "patch_size": 14},
        text=HEAD | {"model_type": "mistral", "sliding_window": None},
        prompt=("<s>[INST]", "[IMG]", "[/INST]"),
        end="</s>",
        config_ids=pairs("image_token_index [IMG]"),
        names={},
        tokens="[IMG_BREAK] [IMG_END]",
        processor="Pixtral",
    ),
    "paddleocr_vl": Family(
        "PaddleOCRVL",
        images="PaddleOCRVL",
        image_settings={"size": between(28, 4, 24)} | HALF,
        vision=VIT | {"image_size": 84},
        text=HEAD | {"rope_parameters": MROPE},
        prompt=(
            "<|begin_of_sentence|>User: ",
            "<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
            "\nAssistant:\n",
        ),
        config_ids=pairs(
            "image_token_id <|IMAGE_PLACEHOLDER|> video_token_id <|video|> "
            "vision_start_token_id <|IMAGE_START|> vision_end_token_id <|IMAGE_END|>"
        ),
        names=pairs("image_token <|IMAGE_PLACEHOLDER|>"),
    ),
    "glm4v": GLM4V,
    "glm46v": replace(GLM4V, classes="Glm46V", images="Glm46V", video="Glm46V"),
    "glm_ocr": replace(
        GLM4V,
        classes="GlmOcr",
        images="Glm46V",
        text=HEAD | {"rope_parameters": MROPE | {"partial_rotary_factor": 1.0}},
        processor="Glm46V",
        video="Glm46V",
    ),
    "hunyuan_vl": Family(
        "HunYuanVL",
        images="HunYuanVL",
        image_settings={"size": between(32, 4, 24)},
        vision=VIT | {"patch_size": 16, "max_image_size": 128, "out_hidden_size": 64, "text_hidden_size": 64},
        text=HEAD | {"rope_parameters": MROPE | {"mrope_section": [4, 4, 4, 4]}},
        prompt=("<hy_begin>", "<im_start><im_patch><im_end>", "<hy_User>"),
        config_ids=pairs(
            "image_token_id <im_patch> im_start_id <im_start> im_end_id <im_end> im_newline_id <im_newline>"
        ),
        names=pairs("image_token <im_patch> image_start_token <im_start> image_end_token <im_end>"),
    ),
}
