"""Qwen2.5-VL-like models of some tens or hundreds of millions of random weights, to measure what training takes."""

from transformers import Qwen2_5_VLConfig

from helpers.tiny_models import BREAK, END, EOS, IMAGE, PAD, VIDEO


def sized_config(hidden, layers, vocabulary=8000):
    """hidden 512 with 8 layers: 37 million weights; 1024 with 12: 185 million."""
    heads = hidden // 64
    return Qwen2_5_VLConfig(
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=BREAK,
        vision_end_token_id=END,
        vision_config={
            "depth": 4,
            "hidden_size": hidden // 2,
            "intermediate_size": 2 * hidden,
            "num_heads": heads // 2,
            "out_hidden_size": hidden,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "window_size": 32,
            "fullatt_block_indexes": [3],
        },
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": 3 * hidden,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 4,
            "num_hidden_layers": layers,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            "eos_token_id": EOS,
            "pad_token_id": PAD,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 12, 12]},
        },
        eos_token_id=EOS,
        pad_token_id=PAD,
        tie_word_embeddings=False,
    )
