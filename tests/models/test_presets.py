"""Presets: which checkpoint has which, and that its makers' prompt reaches the model."""

import dataclasses
import json
import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st
from transformers.utils import is_torchvision_available

from helpers.commands import refused, rows_of, run
from helpers.families import build
from helpers.markdown import CHECKOUT
from helpers.tiny_models import make_page, make_policy, make_processor
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.presets import PRESETS, PromptFormat, named, recognised
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.checkpoints.loading import pixel_budget
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt_format import chat_template, prompt_format, writes
from ocr_rl.pipeline.job import take_prompt

CHECKPOINTS = {
    "allenai/olmOCR-2-7B-1025": ("Qwen2_5_VLConfig", "olmocr-2"),
    "allenai/olmOCR-2-7B-1025-FP8": ("Qwen2_5_VLConfig", "olmocr-2"),
    "nanonets/Nanonets-OCR-s": ("Qwen2_5_VLConfig", "nanonets-ocr"),
    "nanonets/Nanonets-OCR2-3B": ("Qwen2_5_VLConfig", "nanonets-ocr"),
    "lightonai/LightOnOCR-2-1B": ("LightOnOcrConfig", "lightonocr"),
    "lightonai/LightOnOCR-3-0.8B": ("Qwen3_5Config", "lightonocr-3"),
    "lightonai/LightOnOCR-3-1B": ("Mistral3Config", "lightonocr"),
    "PaddlePaddle/PaddleOCR-VL": ("PaddleOCRVLConfig", "paddleocr-vl"),
    "zai-org/GLM-OCR": ("GlmOcrConfig", "glm-ocr"),
    "tencent/HunyuanOCR": ("HunYuanVLConfig", "hunyuanocr"),
    "ibm-granite/granite-docling-258M": ("Idefics3Config", "granite-docling"),
    "docling-project/SmolDocling-256M-preview": ("Idefics3Config", "granite-docling"),
    "deepseek-community/DeepSeek-OCR-2": ("DeepseekOcr2Config", "deepseek-ocr-2"),
    "stepfun-ai/GOT-OCR-2.0-hf": ("GotOcr2Config", "got-ocr-2"),
    "Qwen/Qwen3-VL-8B-Instruct": ("Qwen3VLConfig", "qwen3-vl"),
    "Qwen/Qwen2.5-VL-7B-Instruct": ("Qwen2_5_VLConfig", ""),
    "HuggingFaceM4/Idefics3-8B-Llama3": ("Idefics3Config", ""),
    "models/my-finetune": ("Qwen2_5_VLConfig", ""),
}


@pytest.mark.parametrize(("path", "config", "expected"), [(path, *both) for path, both in CHECKPOINTS.items()])
def test_auto_recognises_a_checkpoint_by_its_config_and_name(path, config, expected):
    model_config = getattr(transformers, config)
    assert prompt_format(ModelConfig(path=path), model_config, [path]).preset == expected


def test_the_name_in_the_config_counts_where_the_folder_has_another():
    class Config:
        model_type = "qwen2_5_vl"
        _name_or_path = "allenai/olmOCR-2-7B-1025"

    assert prompt_format(ModelConfig("tiny"), Config, ["models/mine"]).preset == "olmocr-2"
    assert prompt_format(ModelConfig("tiny"), Config, ["models/Nanonets-OCR-s"]).preset == "nanonets-ocr"
    assert prompt_format(ModelConfig(preset="none"), Config, ["models/mine"]) == PromptFormat()


def test_every_preset_is_found_by_its_name_and_those_of_auto_by_a_model_type():
    names = [preset.format.preset for preset in PRESETS]
    assert len(set(names)) == len(names)
    for preset in PRESETS:
        assert named(preset.format.preset) == preset.format
        assert preset.source
        assert preset.model_types or not preset.names
        for model_type in preset.model_types:
            assert recognised(model_type, [*preset.names, ""]) == preset.format


def test_keys_of_the_recipe_have_priority():
    config = ModelConfig(preset="olmocr-2", output="markdown", prompt_order="image_first", longest_side=700)
    expected = dataclasses.replace(named("olmocr-2"), output="markdown", prompt_order="image_first", longest_side=700)
    assert prompt_format(config, None, []) == expected
    assert prompt_format(ModelConfig(preset="olmocr-2"), None, []) == named("olmocr-2")


def test_the_shipped_7b_recipe_uses_the_prompt_of_its_model():
    recipe = load_recipe("grpo-7b-lora")
    assert recipe.data.prompt == ""
    found = prompt_format(recipe.model, transformers.Qwen2_5_VLConfig, [recipe.model.path])
    assert (found.preset, found.longest_side, found.prompt_order) == ("olmocr-2", 1288, "text_first")
    assert found.output == "front_matter"


@pytest.mark.parametrize(
    ("size", "fitted"),
    [((1700, 2200), (1008, 1288)), ((1288, 1288), (1288, 1288)), ((600, 800), (588, 812)), ((5000, 500), (1288, 140))],
)
def test_the_longest_side_of_olmocr_2(size, fitted):
    """1288 is 46 * 28; 1700 / 2200 * 1288 is 35.5 * 28, and rounds up."""
    assert qwen_budget(1288).fitted_size(*size) == fitted


def qwen_budget(longest_side):
    images = SimpleNamespace(
        patch_size=14, merge_size=2, size={"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 16384}
    )
    return pixel_budget(SimpleNamespace(image_processor=images), None, longest_side)


@given(st.integers(30, 6000), st.integers(30, 6000), st.integers(120, 3000))
def test_a_fitted_page_keeps_the_longest_side_and_stays_as_it_is(width, height, longest_side):
    budget = qwen_budget(longest_side)
    fitted = budget.fitted_size(width, height)
    smallest = 56 * 56 if max(width, height) <= 20 * min(width, height) else 28 * 28 * 400
    assert max(fitted) <= longest_side or fitted[0] * fitted[1] <= 4 * smallest
    assert budget.fitted_size(*fitted) == fitted


def test_a_longest_side_that_the_processor_would_undo_is_refused():
    qwen_budget(56)
    with pytest.raises(ValueError, match=r"^model.longest_side is 55, .* at least 3136 pixels; write 56 or more$"):
        qwen_budget(55)


def test_a_processor_with_squares_of_its_own_refuses_a_longest_side():
    processor = SimpleNamespace(image_processor=SimpleNamespace(size={"height": 1024, "width": 1024}))
    with pytest.raises(ValueError, match=r"^model.longest_side is 1288, but .* write model.longest_side = 0$"):
        pixel_budget(processor, None, 1288)


def test_the_text_comes_first_where_the_preset_says_so():
    processor = build("qwen2_5_vl")[1]
    asked = [
        policy_of(processor, dataclasses.replace(named("olmocr-2"), prompt="Read.", prompt_order=order))
        for order in ("text_first", "image_first")
    ]
    first, second = (policy._chat_text(make_page()) for policy in asked)
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    assert f"<|im_start|>user\nRead.{image}<|im_end|>" in first
    assert f"<|im_start|>user\n{image}Read.<|im_end|>" in second


def policy_of(processor, format):
    policy = make_policy("lighton", prompt_format=PromptFormat(output=format.output))
    policy.processor, policy.prompt_format = processor, format
    return policy


def test_a_page_s_own_prompt_has_priority_and_a_page_without_one_gets_the_preset_s():
    policy = make_policy("lighton", prompt_format=PromptFormat(prompt="abc"))
    own, preset = (policy._chat_text(make_page(prompt=prompt)) for prompt in ("def", ""))
    assert (own, preset) == ("<image>def<s>", "<image>abc<s>")
    assert policy.unexpanded_ids(make_page()) == policy.unexpanded_ids(make_page(prompt="abc"))


def test_got_ocr_2_is_asked_as_its_processor_asks():
    processor = build("got_ocr2")[1]
    format = named("got-ocr-2")
    processor.chat_template = None
    image = make_page(size=(64, 64)).image
    expected = processor(images=image, format=True, return_tensors="pt")["input_ids"]
    processor.chat_template = chat_template(ModelConfig("tiny"), format, processor)
    content = [{"type": "image"}, {"type": "text", "text": format.prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    assert processor(images=image, text=[text], return_tensors="pt")["input_ids"].tolist() == expected.tolist()


def test_deepseek_ocr_2_is_asked_as_its_documentation_asks():
    processor = build("deepseek_ocr2")[1]
    format = named("deepseek-ocr-2")
    processor.chat_template = None
    processor.chat_template = chat_template(ModelConfig("tiny"), format, processor)
    content = [{"type": "image"}, {"type": "text", "text": format.prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
    assert text == "<image>\n<|grounding|>Convert the document to markdown."


@pytest.mark.skipif(not is_torchvision_available(), reason="HunYuanVLProcessor cannot be imported without torchvision")
def test_hunyuanocr_has_an_empty_system_message():
    processor = build("hunyuan_vl")[1]
    seen = []
    processor.apply_chat_template = lambda messages, **_: seen.append(messages) or "x"
    policy_of(processor, named("hunyuanocr"))._chat_text(make_page())
    assert seen[0][0] == {"role": "system", "content": ""}
    assert [part["type"] for part in seen[0][1]["content"]] == ["image", "text"]


def test_a_preset_s_end_tokens_end_a_completion_too():
    policy = make_policy("lighton", prompt_format=PromptFormat(end_tokens=("<stop>", "<not in the vocabulary>")))
    stop = policy.processor.tokenizer.convert_tokens_to_ids("<stop>")
    assert policy.end_ids[1:] == [stop]
    assert policy.base.generation_config.eos_token_id == policy.end_ids


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_policy("lighton").save(Path("model"))
    return Path("model")


def test_a_checkpoint_keeps_its_format_and_auto_reads_it(checkpoint):
    assert not (checkpoint / "prompt_format.json").exists()
    policy = Policy.load(ModelConfig(path=str(checkpoint), preset="paddleocr-vl-table", longest_side=48), "cpu")
    policy.save(Path("trained"))
    again = Policy.load(ModelConfig(path="trained"), "cpu").prompt_format
    assert again == policy.prompt_format == dataclasses.replace(named("paddleocr-vl-table"), longest_side=48)
    assert Policy.load(ModelConfig(path="trained", preset="none"), "cpu").prompt_format == PromptFormat()
    Path("trained/prompt_format.json").write_text('{"prompt": 3')
    with pytest.raises(ValueError, match=r"^trained/prompt_format.json: is damaged .* set model.preset$"):
        Policy.load(ModelConfig(path="trained"), "cpu")


def test_the_embedded_policy_has_no_preset():
    assert Policy.load(ModelConfig("tiny"), "cpu").prompt_format == PromptFormat()
    assert Policy.load(ModelConfig(path=str(EMBEDDED["tiny"])), "cpu").prompt_format == PromptFormat()
    explicit = Policy.load(ModelConfig("tiny", output="tags"), "cpu")
    assert explicit.prompt_format == PromptFormat(output="tags")
    assert not writes(explicit.processor, "text")
    assert writes(make_processor("lighton"), "text")


def test_a_chat_template_of_the_recipe_replaces_the_checkpoint_s_and_is_saved_with_it(checkpoint):
    Path("mine.jinja").write_text(
        "{% for m in messages %}{% for p in m['content'] %}{% if p['type'] == 'image' %}<image>{% else %}k"
        "{{ p['text'] }}{% endif %}{% endfor %}{% endfor %}"
    )
    policy = Policy.load(ModelConfig(path=str(checkpoint), chat_template="mine.jinja"), "cpu")
    assert policy._chat_text(make_page(prompt="ab")) == "<image>kab"
    policy.save(Path("trained"))
    assert Policy.load(ModelConfig(path="trained"), "cpu")._chat_text(make_page(prompt="ab")) == "<image>kab"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, "No such file or directory"),
        ("{% for m in messages %}", "unexpected"),
        ("{{ messages[0]['content'][-1]['text'] }}", "writes nothing for a part of type image"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused(checkpoint, template, why):
    if template is not None:
        Path("mine.jinja").write_text(template)
    with pytest.raises(ValueError, match=r'^model.chat_template "mine.jinja": ') as error:
        chat_template(ModelConfig(chat_template="mine.jinja"), PromptFormat(), make_processor("lighton"))
    assert why.lower() in str(error.value).lower()


def test_unknown_names_are_refused_with_the_known_ones(checkpoint):
    assert refused("train", "grpo", "--out", "run", "--set", "model.preset=olmocr").startswith(
        "model.preset is 'olmocr'; write one of auto, none, olmocr-2, "
    )
    assert "model.output is 'docling'; write one of 'auto', 'markdown', " in refused(
        "train", "grpo", "--out", "run", "--set", "model.output=docling"
    )
    make_page().image.save("page.png")
    assert 'unknown preset "olmocr"; did you mean "olmocr-2"?' in refused(
        "transcribe", "page.png", "--model", checkpoint, "--preset", "olmocr"
    )


SHORT = "rollout.pages_per_step=2 rollout.group_size=2 rollout.max_tokens=4 data.validation=0.25 train.steps=1".split()
SETTINGS = [word for setting in SHORT for word in ("--set", setting)]


def test_a_run_says_its_preset_counts_malformed_completions_and_its_checkpoint_is_asked_alike(place, tmp_path):
    out = tmp_path / "run"
    options = ["--data", place / "pages", "--model", place / "policy", "--out", out, *SETTINGS]
    options += ["--set", "model.preset=granite-docling", "--set", "data.prompt=ab"]
    result = run("train", "grpo", *options)
    assert result.exit_code == 0, result.output
    line = 'preset granite-docling: prompt "Convert this page to docling.", output doctags\n'
    assert line in result.stdout
    assert re.search(r"2 of 2 pages are not in the model's output format .*: it has no DocTags", result.stdout)
    before = json.loads((out / "eval/before.json").read_text())
    assert before["pages"][0]["malformed"] == "it has no DocTags; keep special tokens when decoding"
    assert rows_of(out / "metrics.jsonl")[-1]["malformed_fraction"] == 1.0
    assert rows_of(out / "rollouts/step_000001.jsonl")[0]["malformed"].startswith("it has no DocTags")
    saved = Policy.load(ModelConfig(path=str(out / "checkpoints/step_000001")), "cpu").prompt_format
    assert saved == dataclasses.replace(named("granite-docling"), prompt="ab")
    shutil.rmtree(out)


def test_settings_that_do_nothing_or_teach_another_format(place, tmp_path):
    options = [
        "--data",
        place / "pages",
        "--model",
        place / "policy",
        "--out",
        tmp_path / "run",
        *SETTINGS,
        "--dry-run",
    ]
    said = run("train", "grpo", *options, "--set", "model.prompt_order=text_first").stdout
    assert "model.prompt_order = 'text_first' has no effect: there is no prompt\n" in said
    result = run("train", "sft", *options, "--set", "model.output=layout_json")
    assert result.exit_code == 2
    assert "the model's output is layout_json, and sft teaches the references, which are markdown" in result.stderr


def test_the_documentation_has_the_presets_of_now():
    script = runpy.run_path(str(CHECKOUT / "scripts" / "make_presets_table.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    assert text == script["page"](text), "run: python scripts/make_presets_table.py"


def test_a_run_keeps_its_prompt_with_the_policy_and_names_what_does_nothing():
    recipe = load_recipe("grpo", ['data.prompt="ab"', "model.prompt_order=text_first"])
    policy = make_policy("lighton")
    assert list(take_prompt(recipe, policy, [make_page()])) == []
    assert policy.prompt_format.prompt == "ab"
    silent = Policy.load(ModelConfig("tiny"), "cpu")
    assert list(take_prompt(recipe, silent, [make_page()])) == [
        "prompts have no effect: the model's chat template writes no text"
    ]
    assert list(take_prompt(load_recipe("grpo"), Policy.load(ModelConfig("tiny"), "cpu"), [make_page()])) == []
