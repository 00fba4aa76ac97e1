"""Families of document models: their real config and processor classes, random small weights, local tokenizers.

`build(name)` -> (model, processor); `save(name, folder)` writes the checkpoint. One token per character; special tokens
and chat templates as the checkpoints have them, shortened. Image sizes are small, everything else of an image processor
is the checkpoint's. Image processors are the Pillow ones where there are some, video parts are stand-ins.
"""

# ruff: noqa: C408, E501, N812, RUF005
from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers as T
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from ocr_rl.models.checkpoints.processors import VideoStandIn, without_video_part

ALPHABET = "\n" + "".join(chr(i) for i in range(32, 127))
BASE = ["<pad>", "<unk>", "<s>", "</s>"]
PAD, UNK, BOS, EOS = range(4)
CLIP = dict(image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711])
HALF = dict(image_mean=[0.5] * 3, image_std=[0.5] * 3)


def images(name: str, **settings: Any) -> Any:
    """An image processor without torchvision where transformers has one."""
    return getattr(T, f"{name}Pil", getattr(T, name))(**settings)


def tokenizer(special, names=None, template=None, eos="</s>"):
    vocabulary = {t: i for i, t in enumerate([*BASE, *special, *ALPHABET])}
    tok = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tok.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?m)."), behavior="isolated")
    tok.decoder = decoders.Fuse()
    tok.add_special_tokens([*BASE, *special])
    fast = T.PreTrainedTokenizerFast(
        tokenizer_object=tok,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token=eos,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        extra_special_tokens=names or {},
    )
    fast.chat_template = template
    fast.ids = vocabulary
    return fast


def text_config(tok, **more):
    return (
        dict(
            vocab_size=len(tok.ids),
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=2,
            num_key_value_heads=1,
            num_hidden_layers=2,
            max_position_embeddings=4096,
            tie_word_embeddings=False,
            bos_token_id=BOS,
            eos_token_id=tok.eos_token_id,
            pad_token_id=PAD,
        )
        | more
    )


def chatml(image, system="You are a helpful assistant."):
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return (
        head
        + "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for p in m['content'] %}{% if p['type'] == 'image' %}"
        + image
        + "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


QWEN = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]


def qwen_tokenizer():
    t = tokenizer(QWEN, template=chatml("<|vision_start|><|image_pad|><|vision_end|>"), eos="<|im_end|>")
    return t


def qwen_ids(tok):
    i = tok.ids
    return dict(
        image_token_id=i["<|image_pad|>"],
        video_token_id=i["<|video_pad|>"],
        vision_start_token_id=i["<|vision_start|>"],
        vision_end_token_id=i["<|vision_end|>"],
        tie_word_embeddings=False,
    )


MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}


def qwen2_vl():
    tok = qwen_tokenizer()
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24}
    proc = T.Qwen2VLProcessor(
        images("Qwen2VLImageProcessor", size=size, patch_size=14, merge_size=2),
        tok,
        VideoStandIn({"video_processor_type": "Qwen2VLVideoProcessor"}),
        chat_template=tok.chat_template,
    )
    conf = T.Qwen2VLConfig(
        vision_config=dict(depth=2, embed_dim=32, hidden_size=32, num_heads=2, mlp_ratio=2),
        text_config=text_config(tok, rope_parameters=MROPE),
        **qwen_ids(tok),
    )
    return T.Qwen2VLForConditionalGeneration(conf), proc


def qwen2_5_vl():
    tok = qwen_tokenizer()
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24}
    proc = T.Qwen2_5_VLProcessor(
        images("Qwen2VLImageProcessor", size=size, patch_size=14, merge_size=2),
        tok,
        VideoStandIn({"video_processor_type": "Qwen2VLVideoProcessor"}),
        chat_template=tok.chat_template,
    )
    conf = T.Qwen2_5_VLConfig(
        vision_config=dict(
            depth=2,
            hidden_size=32,
            intermediate_size=48,
            num_heads=2,
            out_hidden_size=32,
            window_size=112,
            fullatt_block_indexes=[1],
        ),
        text_config=text_config(tok, rope_parameters=MROPE),
        **qwen_ids(tok),
    )
    return T.Qwen2_5_VLForConditionalGeneration(conf), proc


def qwen3_processor(tok):
    size = {"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 24}
    return T.Qwen3VLProcessor(
        images("Qwen2VLImageProcessor", size=size, patch_size=16, merge_size=2, **HALF),
        tok,
        VideoStandIn({"video_processor_type": "Qwen3VLVideoProcessor"}),
        chat_template=tok.chat_template,
    )


QWEN3_VISION = dict(
    depth=3,
    hidden_size=32,
    intermediate_size=48,
    num_heads=2,
    out_hidden_size=32,
    num_position_embeddings=64,
    patch_size=16,
)
MROPE3 = MROPE | {"mrope_interleaved": True}


def qwen3_vl():
    tok = qwen_tokenizer()
    conf = T.Qwen3VLConfig(
        vision_config=QWEN3_VISION | dict(deepstack_visual_indexes=[0, 1]),
        text_config=text_config(tok, head_dim=16, rope_parameters=MROPE3, num_hidden_layers=3),
        **qwen_ids(tok),
    )
    return T.Qwen3VLForConditionalGeneration(conf), qwen3_processor(tok)


def qwen3_vl_moe():
    tok = qwen_tokenizer()
    conf = T.Qwen3VLMoeConfig(
        vision_config=QWEN3_VISION | dict(deepstack_visual_indexes=[0, 1]),
        text_config=text_config(
            tok,
            head_dim=16,
            rope_parameters=MROPE3,
            num_hidden_layers=3,
            num_experts=4,
            num_experts_per_tok=2,
            moe_intermediate_size=24,
        ),
        **qwen_ids(tok),
    )
    return T.Qwen3VLMoeForConditionalGeneration(conf), qwen3_processor(tok)


def qwen3_5():
    tok = qwen_tokenizer()
    conf = T.Qwen3_5Config(
        vision_config=QWEN3_VISION,
        text_config=text_config(
            tok,
            head_dim=16,
            num_hidden_layers=4,
            rope_parameters=MROPE3 | {"partial_rotary_factor": 1.0},
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
        ),
        **qwen_ids(tok),
    )
    return T.Qwen3_5ForConditionalGeneration(conf), qwen3_processor(tok)


def lighton_ocr():
    tok = tokenizer(
        QWEN + ["<|vision_pad|>"],
        dict(image_token="<|image_pad|>", image_break_token="<|vision_pad|>", image_end_token="<|vision_end|>"),
        chatml("<|image_pad|>", ""),
        eos="<|im_end|>",
    )
    proc = T.LightOnOcrProcessor(
        images("PixtralImageProcessor", size={"longest_edge": 168}, patch_size={"height": 14, "width": 14}),
        tok,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=tok.chat_template,
    )
    conf = T.LightOnOcrConfig(
        spatial_merge_size=2,
        image_token_id=tok.ids["<|image_pad|>"],
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=2,
            num_hidden_layers=2,
            head_dim=16,
            patch_size=14,
            image_size=168,
        ),
        text_config=text_config(tok, head_dim=16),
    )
    return T.LightOnOcrForConditionalGeneration(conf), proc


def mistral3():
    tok = tokenizer(
        ["[INST]", "[/INST]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"],
        template="<s>{% for m in messages %}[INST]"
        "{% for p in m['content'] %}{% if p['type'] == 'image' %}[IMG]{% else %}{{ p['text'] }}{% endif %}{% endfor %}[/INST]{% endfor %}",
    )
    proc = T.PixtralProcessor(
        images("PixtralImageProcessor", size={"longest_edge": 168}, patch_size=14),
        tok,
        patch_size=14,
        spatial_merge_size=2,
        chat_template=tok.chat_template,
    )
    conf = T.Mistral3Config(
        image_token_index=tok.ids["[IMG]"],
        spatial_merge_size=2,
        tie_word_embeddings=False,
        vision_config=dict(
            model_type="pixtral",
            hidden_size=32,
            intermediate_size=48,
            num_attention_heads=2,
            num_hidden_layers=2,
            head_dim=16,
            patch_size=14,
            image_size=168,
        ),
        text_config=text_config(tok, model_type="mistral", head_dim=16, sliding_window=None),
    )
    return T.Mistral3ForConditionalGeneration(conf), proc


def idefics_tokenizer():
    tiles = [f"<row_{i}_col_{j}>" for i in range(1, 7) for j in range(1, 7)]
    return tokenizer(
        [
            "<fake_token_around_image>",
            "<image>",
            "<end_of_utterance>",
            "<global-img>",
            "<|im_start|>",
            "<|start_of_role|>",
            "<|end_of_role|>",
            "<|end_of_text|>",
            *tiles,
        ],
        template="<|start_of_role|>user<|end_of_role|>"
        "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}"
        "{% endif %}{% endfor %}<|end_of_text|>\n{% endfor %}<|start_of_role|>assistant<|end_of_role|>",
        eos="<|end_of_text|>",
    )


def idefics3():
    tok = idefics_tokenizer()
    proc = T.Idefics3Processor(
        images("Idefics3ImageProcessor", size={"longest_edge": 168}, max_image_size={"longest_edge": 56}, **HALF),
        tok,
        image_seq_len=4,
        chat_template=tok.chat_template,
    )
    conf = T.Idefics3Config(
        image_token_id=tok.ids["<image>"],
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=text_config(tok, model_type="llama"),
    )
    return T.Idefics3ForConditionalGeneration(conf), proc


def smolvlm():
    tok = idefics_tokenizer()
    proc = T.SmolVLMProcessor(
        images("SmolVLMImageProcessor", size={"longest_edge": 168}, max_image_size={"longest_edge": 56}, **HALF),
        tok,
        VideoStandIn({"video_processor_type": "SmolVLMVideoProcessor"}),
        image_seq_len=4,
        chat_template=tok.chat_template,
    )
    conf = T.SmolVLMConfig(
        image_token_id=tok.ids["<image>"],
        scale_factor=2,
        tie_word_embeddings=False,
        pad_token_id=PAD,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=text_config(tok, model_type="llama"),
    )
    return T.SmolVLMForConditionalGeneration(conf), proc


def paddleocr_vl():
    tok = tokenizer(
        [
            "<|IMAGE_START|>",
            "<|IMAGE_END|>",
            "<|IMAGE_PLACEHOLDER|>",
            "<|begin_of_sentence|>",
            "<|end_of_sentence|>",
            "<|video|>",
        ],
        dict(image_token="<|IMAGE_PLACEHOLDER|>"),
        "<|begin_of_sentence|>{% for m in messages %}User: {% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>{% else %}{{ p['text'] }}{% endif %}{% endfor %}"
        "\n{% endfor %}Assistant:\n",
    )
    proc = T.PaddleOCRVLProcessor(
        images("PaddleOCRVLImageProcessor", size={"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24}, **HALF),
        tok,
        chat_template=tok.chat_template,
    )
    conf = T.PaddleOCRVLConfig(
        image_token_id=tok.ids["<|IMAGE_PLACEHOLDER|>"],
        video_token_id=tok.ids["<|video|>"],
        vision_start_token_id=tok.ids["<|IMAGE_START|>"],
        vision_end_token_id=tok.ids["<|IMAGE_END|>"],
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=84,
            patch_size=14,
        ),
        text_config=text_config(tok, head_dim=16, rope_parameters=MROPE),
    )
    return T.PaddleOCRVLForConditionalGeneration(conf), proc


GLM = [
    "[gMASK]",
    "<sop>",
    "<|user|>",
    "<|assistant|>",
    "<|endoftext|>",
    "<|image|>",
    "<|video|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
]


def glm_tokenizer():
    return tokenizer(
        GLM,
        template="[gMASK]<sop>{% for m in messages %}<|user|>\n{% for p in m['content'] %}{% if p['type'] == 'image' %}"
        "<|begin_of_image|><|image|><|end_of_image|>{% else %}{{ p['text'] }}{% endif %}{% endfor %}\n{% endfor %}<|assistant|>\n",
        eos="<|endoftext|>",
    )


def glm_ids(tok):
    i = tok.ids
    return dict(
        image_token_id=i["<|image|>"],
        video_token_id=i["<|video|>"],
        image_start_token_id=i["<|begin_of_image|>"],
        image_end_token_id=i["<|end_of_image|>"],
        video_start_token_id=i["<|begin_of_video|>"],
        video_end_token_id=i["<|end_of_video|>"],
        tie_word_embeddings=False,
    )


def glm_ocr():
    tok = glm_tokenizer()
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 48}
    proc = T.Glm46VProcessor(
        images("Glm46VImageProcessor", size=size),
        tok,
        VideoStandIn({"video_processor_type": "Glm46VVideoProcessor"}),
        chat_template=tok.chat_template,
    )
    conf = T.GlmOcrConfig(
        vision_config=dict(
            depth=2, hidden_size=32, intermediate_size=48, num_heads=2, image_size=84, out_hidden_size=32
        ),
        text_config=text_config(tok, head_dim=16, rope_parameters=MROPE),
        **glm_ids(tok),
    )
    return T.GlmOcrForConditionalGeneration(conf), proc


def glm4v():
    tok = glm_tokenizer()
    size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 48}
    proc = T.Glm4vProcessor(
        images("Glm4vImageProcessor", size=size),
        tok,
        VideoStandIn({"video_processor_type": "Glm4vVideoProcessor"}),
        chat_template=tok.chat_template,
    )
    conf = T.Glm4vConfig(
        vision_config=dict(
            depth=2, hidden_size=32, intermediate_size=48, num_heads=2, image_size=84, out_hidden_size=32
        ),
        text_config=text_config(
            tok, rope_parameters=MROPE | {"mrope_section": [2, 1, 1], "partial_rotary_factor": 0.5}
        ),
        **glm_ids(tok),
    )
    return T.Glm4vForConditionalGeneration(conf), proc


def internvl():
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
        dict(
            start_image_token="<img>",
            end_image_token="</img>",
            context_image_token="<IMG_CONTEXT>",
            video_token="<video>",
        ),
        chatml("<IMG_CONTEXT>\n", ""),
        eos="<|im_end|>",
    )
    proc = T.InternVLProcessor(
        images(
            "GotOcr2ImageProcessor",
            size={"height": 56, "width": 56},
            crop_to_patches=False,
            min_patches=1,
            max_patches=4,
        ),
        tok,
        VideoStandIn({"video_processor_type": "InternVLVideoProcessor"}),
        image_seq_length=4,
        chat_template=tok.chat_template,
    )
    conf = T.InternVLConfig(
        image_token_id=tok.ids["<IMG_CONTEXT>"],
        image_seq_length=4,
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=[56, 56],
            patch_size=[14, 14],
        ),
        text_config=text_config(tok, model_type="qwen2"),
    )
    return T.InternVLForConditionalGeneration(conf), proc


def gemma3():
    tok = tokenizer(
        ["<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"],
        dict(boi_token="<start_of_image>", eoi_token="<end_of_image>", image_token="<image_soft_token>"),
        "<s>{% for m in messages %}<start_of_turn>user\n{% for p in m['content'] %}{% if p['type'] == 'image' %}<start_of_image>"
        "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<end_of_turn>\n{% endfor %}<start_of_turn>model\n",
        eos="<end_of_turn>",
    )
    proc = T.Gemma3Processor(
        images("Gemma3ImageProcessor", size={"height": 56, "width": 56}, **HALF),
        tok,
        chat_template=tok.chat_template,
        image_seq_length=4,
    )
    conf = T.Gemma3Config(
        mm_tokens_per_image=4,
        boi_token_index=tok.ids["<start_of_image>"],
        eoi_token_index=tok.ids["<end_of_image>"],
        image_token_index=tok.ids["<image_soft_token>"],
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=text_config(
            tok,
            head_dim=16,
            sliding_window=16,
            query_pre_attn_scalar=16,
            layer_types=["sliding_attention", "full_attention"],
        ),
    )
    return T.Gemma3ForConditionalGeneration(conf), proc


GOT_TEMPLATE = (
    "<|im_start|>system\nYou should follow the instructions carefully and explain your answers in detail.<|im_end|><|im_start|>user\n"
    "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<img><imgpad></img>\n{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}<|im_end|><|im_start|>assistant\n"
)  # the checkpoint has none: its processor writes this itself when text is None


def got_ocr2():
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<imgpad>", "<|endoftext|>"],
        template=GOT_TEMPLATE,
        eos="<|im_end|>",
    )
    proc = T.GotOcr2Processor(
        images("GotOcr2ImageProcessor", size={"height": 256, "width": 256}, **CLIP), tok, chat_template=GOT_TEMPLATE
    )
    conf = T.GotOcr2Config(
        image_token_index=tok.ids["<imgpad>"],
        image_seq_length=256,
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=16,
            output_channels=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=256,
            patch_size=4,
            mlp_dim=16,
            window_size=14,
            global_attn_indexes=[],
        ),
        text_config=text_config(tok, model_type="qwen2"),
    )
    return T.GotOcr2ForConditionalGeneration(conf), proc


def lfm2_vl():
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", "<image>", "<|image_start|>", "<|image_end|>", "<|img_thumbnail|>"]
        + [f"<|img_row_{i}_col_{j}|>" for i in range(1, 5) for j in range(1, 5)],
        dict(
            image_token="<image>",
            image_start_token="<|image_start|>",
            image_end_token="<|image_end|>",
            image_thumbnail="<|img_thumbnail|>",
        ),
        chatml("<image>", ""),
        eos="<|im_end|>",
    )
    proc = T.Lfm2VlProcessor(
        images(
            "Lfm2VlImageProcessor",
            tile_size=64,
            encoder_patch_size=16,
            min_image_tokens=2,
            max_image_tokens=8,
            max_tiles=4,
            size={"height": 64, "width": 64},
            **HALF,
        ),
        tok,
        chat_template=tok.chat_template,
    )
    conf = T.Lfm2VlConfig(
        image_token_id=tok.ids["<image>"],
        projector_hidden_size=32,
        tie_word_embeddings=False,
        downsample_factor=2,
        vision_config=dict(
            model_type="siglip2_vision_model",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            patch_size=16,
            num_patches=16,
        ),
        text_config=text_config(tok, model_type="lfm2", layer_types=["conv", "full_attention"]),
    )
    return T.Lfm2VlForConditionalGeneration(conf), proc


def llava_onevision():
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", "<image>", "<video>"], template=chatml("<image>\n", ""), eos="<|im_end|>"
    )
    pins = [[56 * i, 56 * j] for i in (1, 2) for j in (1, 2)]
    proc = T.LlavaOnevisionProcessor(
        images("LlavaOnevisionImageProcessor", size={"height": 56, "width": 56}, image_grid_pinpoints=pins, **HALF),
        tok,
        VideoStandIn({"video_processor_type": "LlavaOnevisionVideoProcessor"}),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=tok.chat_template,
    )
    conf = T.LlavaOnevisionConfig(
        image_token_index=tok.ids["<image>"],
        video_token_index=tok.ids["<video>"],
        image_grid_pinpoints=pins,
        tie_word_embeddings=False,
        vision_config=dict(
            model_type="siglip_vision_model",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=text_config(tok, model_type="qwen2"),
    )
    return T.LlavaOnevisionForConditionalGeneration(conf), proc


def florence2():
    tok = tokenizer(["<image>"], dict(image_token="<image>"), template=None)
    proc = T.Florence2Processor(
        images("CLIPImageProcessor", size={"height": 64, "width": 64}, crop_size={"height": 64, "width": 64}),
        tok,
        num_additional_image_tokens=0,
        post_processor_config={},
    )
    conf = T.Florence2Config(
        image_token_id=tok.ids["<image>"],
        vision_config=dict(
            depths=[1, 1, 1, 1],
            embed_dim=[8, 8, 16, 16],
            num_heads=[2] * 4,
            num_groups=[2] * 4,
            window_size=4,
            projection_dim=32,
        ),
        text_config=dict(
            model_type="bart",
            vocab_size=len(tok.ids),
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=512,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
            decoder_start_token_id=EOS,
        ),
    )
    return T.Florence2ForConditionalGeneration(conf), proc


def kosmos2_5():
    tok = tokenizer(
        ["<image>", "</image>", "<ocr>", "<md>"],
        dict(boi_token="<image>", eoi_token="</image>", image_token="<s>"),
        template="<s>{% for m in messages %}{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}",
    )  # the checkpoint has no template; its prompt is <ocr> or <md>
    proc = T.Kosmos2_5Processor(images("Kosmos2_5ImageProcessor", max_patches=64), tok, num_image_tokens=16)
    conf = T.Kosmos2_5Config(
        latent_query_num=16,
        vision_config=dict(
            hidden_size=32,
            patch_embed_hidden_size=768,
            intermediate_size=48,
            head_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_num_patches=64,
        ),
        text_config=dict(
            vocab_size=len(tok.ids),
            embed_dim=32,
            layers=2,
            ffn_dim=48,
            attention_heads=2,
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            max_position_embeddings=512,
        ),
    )
    return T.Kosmos2_5ForConditionalGeneration(conf), proc


def granite_llava_next():
    """granite-vision-3.x: llava_next with a Granite decoder, whose logits are divided by logits_scaling."""
    tok = tokenizer(
        ["<image>", "<|user|>", "<|assistant|>", "<|end_of_text|>"],
        template="{% for m in messages %}<|user|>\n{% for p in m['content'] %}"
        "{% if p['type'] == 'image' %}<image>{% else %}\n{{ p['text'] }}{% endif %}{% endfor %}\n{% endfor %}<|assistant|>\n",
        eos="<|end_of_text|>",
    )
    pins = [[56 * i, 56 * j] for i in (1, 2) for j in (1, 2)]
    proc = T.LlavaNextProcessor(
        images(
            "LlavaNextImageProcessor",
            size={"height": 56, "width": 56},
            crop_size={"height": 56, "width": 56},
            image_grid_pinpoints=pins,
            **HALF,
        ),
        tok,
        patch_size=14,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=tok.chat_template,
    )
    conf = T.LlavaNextConfig(
        image_token_index=tok.ids["<image>"],
        image_grid_pinpoints=pins,
        tie_word_embeddings=False,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        vision_config=dict(
            model_type="siglip_vision_model",
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
            vision_use_head=False,
        ),
        text_config=text_config(
            tok,
            model_type="granite",
            logits_scaling=8.0,
            embedding_multiplier=12.0,
            residual_multiplier=0.22,
            attention_multiplier=0.0625,
        ),
    )
    return T.LlavaNextForConditionalGeneration(conf), proc


def hunyuan_vl():
    tok = tokenizer(
        ["<im_start>", "<im_end>", "<im_patch>", "<im_newline>", "<hy_User>", "<hy_Assistant>", "<hy_begin>"],
        dict(image_token="<im_patch>", image_start_token="<im_start>", image_end_token="<im_end>"),
        "<hy_begin>{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<im_start><im_patch><im_end>{% else %}{{ p['text'] }}"
        "{% endif %}{% endfor %}<hy_User>{% endfor %}",
    )
    proc = T.HunYuanVLProcessor(
        images("HunYuanVLImageProcessor", size={"shortest_edge": 32 * 32 * 4, "longest_edge": 32 * 32 * 24}, **CLIP),
        tok,
        chat_template=tok.chat_template,
    )
    conf = T.HunYuanVLConfig(
        image_token_id=tok.ids["<im_patch>"],
        im_start_id=tok.ids["<im_start>"],
        im_end_id=tok.ids["<im_end>"],
        im_newline_id=tok.ids["<im_newline>"],
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            out_hidden_size=32,
            text_hidden_size=32,
            max_image_size=128,
        ),
        text_config=text_config(
            tok, head_dim=16, rope_parameters={"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2, 2]}
        ),
    )
    return T.HunYuanVLForConditionalGeneration(conf), proc


def deepseek_ocr2():
    tok = tokenizer(
        ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>"],
        dict(image_token="<image>"),
        "<s>{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>\n{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}",
    )
    proc = T.DeepseekOcr2Processor(
        images("DeepseekOcr2ImageProcessor", size={"height": 256, "width": 256}, tile_size=192, **HALF),
        tok,
        chat_template=tok.chat_template,
        patch_size=4,
    )
    conf = T.DeepseekOcr2Config(
        image_token_id=tok.ids["<image>"],
        tie_word_embeddings=False,
        vision_config=dict(
            sam_config=dict(
                hidden_size=16,
                output_channels=8,
                num_hidden_layers=1,
                num_attention_heads=2,
                image_size=256,
                patch_size=4,
                mlp_dim=16,
                global_attn_indexes=[],
                downsample_channels=[16, 32],
            ),
            encoder_config=dict(
                vocab_size=1,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=1,
                num_attention_heads=2,
                num_key_value_heads=1,
            ),
        ),
        text_config=text_config(
            tok,
            head_dim=16,
            n_routed_experts=4,
            num_experts_per_tok=2,
            n_shared_experts=1,
            moe_intermediate_size=24,
            mlp_layer_types=["dense", "sparse"],
        ),
    )
    return T.DeepseekOcr2ForConditionalGeneration(conf), proc


def minicpmv4_6():
    names = dict(
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        image_start_token="<image>",
        image_end_token="</image>",
        slice_start_token="<slice>",
        slice_end_token="</slice>",
        image_id_start_token="<image_id>",
        image_id_end_token="</image_id>",
    )
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", *names.values()], names, chatml("<|image_pad|>\n", ""), eos="<|im_end|>"
    )
    proc = T.MiniCPMV4_6Processor(
        images("MiniCPMV4_6ImageProcessor", scale_resolution=112, max_slice_nums=4, **HALF),
        VideoStandIn({"video_processor_type": "MiniCPMV4_6VideoProcessor"}),
        tok,
        chat_template=tok.chat_template,
    )
    conf = T.MiniCPMV4_6Config(
        image_token_id=tok.ids["<|image_pad|>"],
        video_token_id=tok.ids["<|video_pad|>"],
        insert_layer_id=0,
        image_size=112,
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=112,
            patch_size=14,
            insert_layer_id=0,
        ),
        text_config=text_config(
            tok,
            model_type="qwen3_5_text",
            head_dim=16,
            num_hidden_layers=4,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 1e4,
                "mrope_section": [2, 3, 3],
                "partial_rotary_factor": 1.0,
            },
        ),
    )
    return T.MiniCPMV4_6ForConditionalGeneration(conf), proc


def gemma4(softcap=30.0):
    names = dict(
        boi_token="<|image>",
        eoi_token="<image|>",
        image_token="<|image|>",
        audio_token="<|audio|>",
        boa_token="<|audio>",
        eoa_token="<audio|>",
    )
    tok = tokenizer(
        ["<|turn>", "<turn|>", "<|video|>", *names.values()],
        names,
        "<s>{% for m in messages %}<|turn>user\n{% for p in m['content'] %}{% if p['type'] == 'image' %}<|image|>"
        "{% else %}{{ p['text'] }}{% endif %}{% endfor %}<turn|>\n{% endfor %}<|turn>model\n",
        eos="<turn|>",
    )
    proc = T.Gemma4Processor(
        T.Gemma4AudioFeatureExtractor(),
        images("Gemma4ImageProcessor", patch_size=4, max_soft_tokens=70),
        tok,
        VideoStandIn({"video_processor_type": "Gemma4VideoProcessor"}),
        chat_template=tok.chat_template,
        image_seq_length=70,
    )
    i = tok.ids
    conf = T.Gemma4Config(
        boi_token_id=i["<|image>"],
        eoi_token_id=i["<image|>"],
        image_token_id=i["<|image|>"],
        video_token_id=i["<|video|>"],
        audio_token_id=i["<|audio|>"],
        boa_token_id=i["<|audio>"],
        eoa_token_index=i["<audio|>"],
        audio_config=None,
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            head_dim=16,
            patch_size=4,
            position_embedding_size=64,
        ),
        text_config=text_config(
            tok,
            head_dim=16,
            global_head_dim=16,
            sliding_window=16,
            layer_types=["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            num_hidden_layers=4,
            final_logit_softcapping=softcap,
            vocab_size_per_layer_input=len(tok.ids),
            hidden_size_per_layer_input=8,
            num_kv_shared_layers=2,
            use_bidirectional_attention="vision",
        ),
    )
    return T.Gemma4ForConditionalGeneration(conf), proc


def qianfan_ocr():
    tok = tokenizer(
        ["<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<image>"],
        dict(start_image_token="<img>", end_image_token="</img>", context_image_token="<IMG_CONTEXT>"),
        chatml("<image>\n", ""),
        eos="<|im_end|>",
    )
    proc = T.QianfanOCRProcessor(
        images("GotOcr2ImageProcessor", size={"height": 56, "width": 56}, crop_to_patches=True, max_patches=4),
        tok,
        image_seq_length=4,
        chat_template=tok.chat_template,
    )
    conf = T.QianfanOCRConfig(
        image_token_id=tok.ids["<IMG_CONTEXT>"],
        image_seq_length=4,
        tie_word_embeddings=False,
        vision_config=dict(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=[56, 56],
            patch_size=[14, 14],
        ),
        text_config=text_config(tok, model_type="qwen3", head_dim=16),
    )
    return T.QianfanOCRForConditionalGeneration(conf), proc


FAMILIES = {
    f.__name__: f
    for f in (
        qwen2_5_vl,
        qwen2_vl,
        qwen3_vl,
        qwen3_vl_moe,
        qwen3_5,
        lighton_ocr,
        mistral3,
        idefics3,
        smolvlm,
        paddleocr_vl,
        glm_ocr,
        glm4v,
        internvl,
        gemma3,
        got_ocr2,
        lfm2_vl,
        llava_onevision,
        florence2,
        kosmos2_5,
        granite_llava_next,
        hunyuan_vl,
        deepseek_ocr2,
        minicpmv4_6,
        gemma4,
        qianfan_ocr,
    )
}


def build(name: str, seed: int = 0) -> tuple[Any, Any]:
    torch.manual_seed(seed)
    with without_video_part():
        model, processor = FAMILIES[name]()
    for n, p in model.named_parameters():
        if p.ndim >= 2:
            torch.nn.init.normal_(p, std=p[0].numel() ** -0.5)
        elif "layer_scale" in n or n.endswith("lambda_1"):
            torch.nn.init.ones_(p)
    head = model.get_output_embeddings()
    if head is not None:
        with torch.no_grad():
            head.weight.mul_(1.5)
    model.generation_config.update(eos_token_id=processor.tokenizer.eos_token_id, pad_token_id=PAD, bos_token_id=BOS)
    return model.eval(), processor


def save(name: str, folder: Path) -> Path:
    """The checkpoint of a family in a folder."""
    model, processor = build(name)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
