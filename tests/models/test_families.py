"""Document model families with their real processor classes: they load without torchvision, and train exactly."""

import shutil
from random import Random

import pytest
import torch
from PIL import Image
from transformers.utils import is_torchvision_available

from helpers.families import FAMILIES, save
from helpers.tiny_models import gradients
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.checkpoints.processors import MissingVideoSettingError, VideoStandIn, matching_torchvision
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Page

REFUSED = {"florence2": "encoder-decoder", "kosmos2_5": "no `.model`", "smolvlm": "num2words"}
TORCHVISION = ("lfm2_vl", "mistral3", "hunyuan_vl", "gemma4", "minicpmv4_6")
"""Families whose processor cannot be built without torchvision."""
SLOW = ("got_ocr2", "deepseek_ocr2", "gemma4", "minicpmv4_6", "qwen3_vl_moe", "qwen2_vl", "glm4v", "qianfan_ocr")
TRAINED = [name for name in FAMILIES if name not in REFUSED]


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in names]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folders = {}

    def get(name):
        if name in TORCHVISION and not is_torchvision_available():
            # their processor classes cannot be imported without it; the refusal has a test below
            pytest.skip("its processor needs torchvision")
        if name not in folders:
            folders[name] = save(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return get


def page(width=120, height=170, prompt="Read it."):
    pixels = Random(width).randbytes(3 * width * height)
    return Page("page", lambda: Image.frombytes("RGB", (width, height), pixels), prompt=prompt, text="abc")


def completions(policy):
    letters = policy.processor.tokenizer.convert_tokens_to_ids(list("abcdefghij"))
    random = Random(3)
    return [[*random.choices(letters, k=length), policy.end_ids[0]] for length in (8, 4, 6)]


def plain_logprobs(policy, prompt, row):
    """(T,) one completion's, from one forward pass of the whole model without a cache."""
    if hasattr(policy.backbone, "rope_deltas"):
        policy.backbone.rope_deltas = None
    ids, completion = prompt.inputs["input_ids"], torch.tensor([row])
    inputs = {
        name: torch.cat([value, torch.zeros_like(completion).to(value.dtype)], 1) if value.shape == ids.shape else value
        for name, value in prompt.inputs.items()
    }
    inputs["input_ids"] = torch.cat([ids, completion], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    logits = policy.base(**inputs, use_cache=False).logits[0, -len(row) - 1 : -1]
    logits = logits.index_fill(-1, torch.tensor(policy.suppressed_ids, dtype=torch.long), -torch.inf)
    return logits.log_softmax(-1).gather(1, completion.T).squeeze(1)


def shared_logprobs(policy, prompt, rows, coefficients):
    ids, mask = pad_rows(rows, policy.pad_id)
    state = policy.read(prompt, grad=True)
    logprobs = policy.score(state, ids, mask, 1.0).logprobs
    (logprobs * coefficients)[mask].sum().backward()
    state.backward()
    return logprobs.detach()


@pytest.mark.parametrize("name", marked(TRAINED))
def test_a_page_read_once_trains_as_the_plain_model_does_with_checkpointing_and_without(checkpoint, name):
    """Gradients: difference relative to a tensor's largest entry, or to 1 if that is less."""
    folder = str(checkpoint(name))
    coefficients = torch.randn(3, 9, generator=torch.Generator().manual_seed(1))
    policy = Policy.load(ModelConfig(path=folder), device="cpu")
    prompt, rows = policy.prompt(page()), completions(policy)
    expected = [plain_logprobs(policy, prompt, row) for row in rows]
    sum((c[: len(row)] * row).sum() for c, row in zip(coefficients, expected, strict=True)).backward()
    plain = gradients(policy)
    recomputed = Policy.load(ModelConfig(path=folder, gradient_checkpointing=True), device="cpu")
    for one in (policy, recomputed):
        found = shared_logprobs(one, prompt, rows, coefficients)
        for row, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(row[: len(wanted)], wanted.detach(), atol=1e-4, rtol=1e-4)
        actual = gradients(one)
        for key, gradient in plain.items():
            assert (actual[key] - gradient).abs().max() <= 1e-4 * max(1.0, gradient.abs().max()), key


@pytest.mark.parametrize("name", marked(TRAINED))
def test_the_engine_samples_as_generate_does(checkpoint, name):
    policy = Policy.load(ModelConfig(path=str(checkpoint(name))), device="cpu")
    pages = [page(), page(200, 90)]
    groups = TransformersEngine(policy).generate(pages, Sampling(group_size=2, temperature=0.0, max_tokens=8), seed=5)
    for one, group in zip(pages, groups, strict=True):
        prompt = policy.prompt(one)
        if hasattr(policy.backbone, "rope_deltas"):
            policy.backbone.rope_deltas = None
        generated = policy.base.generate(
            **prompt.inputs,
            attention_mask=torch.ones_like(prompt.inputs["input_ids"]),
            do_sample=False,
            max_new_tokens=8,
            bad_words_ids=[[i] for i in policy.suppressed_ids] or None,
        )
        assert list(group.completions[0].token_ids) == generated[0, len(prompt) :].tolist()


@pytest.mark.parametrize("name", marked(n for n in TRAINED if n not in TORCHVISION))
def test_a_fitted_page_keeps_its_size_and_its_image_tokens_are_those_counted(checkpoint, name):
    """Of families that take pages of any size; the others scale a page to their own."""
    policy = Policy.load(ModelConfig(path=str(checkpoint(name))), device="cpu")
    config, random = policy.base.config, Random(0)
    if policy.budget.multiple == 1:
        assert policy.budget.fitted_size(123, 457) == (123, 457)
        with pytest.raises(ValueError, match=r"max_pixels is 1000.*write model.max_pixels = 0"):
            Policy.load(ModelConfig(path=str(checkpoint(name)), max_pixels=1000), device="cpu")
        return
    image = next(getattr(config, key) for key in ("image_token_id", "image_token_index") if hasattr(config, key))
    for _ in range(30):
        width, height = random.randint(20, 600), random.randint(20, 600)
        ids = policy.prompt(page(width, height)).token_ids
        extra = policy.budget.fitted_size(width, height)[1] // policy.budget.multiple if name == "hunyuan_vl" else 0
        assert ids.count(image) in {
            policy.budget.tokens(width, height),
            policy.budget.tokens(width, height) + extra + 2,
        }
        fitted = policy.budget.fitted_size(width, height)
        assert policy.budget.fitted_size(*fitted) == fitted


@pytest.mark.parametrize("name", marked(["qwen2_5_vl", "gemma3", "idefics3", "qwen3_5"]))
def test_an_adapter_is_the_same_after_a_reload(checkpoint, name, tmp_path):
    policy = Policy.load(ModelConfig(path=str(checkpoint(name)), lora_rank=4), device="cpu")
    for parameter in policy.trainable_parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prompt, row = policy.prompt(page()), completions(policy)[0]
    policy.save(tmp_path)
    again = Policy.load(ModelConfig(path=str(tmp_path)), device="cpu")
    with torch.no_grad():
        expected = plain_logprobs(policy, prompt, row)
        torch.testing.assert_close(plain_logprobs(again, again.prompt(page()), row), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_be_trained_is_refused_with_the_reason(checkpoint, name):
    if name == "smolvlm":
        # the builder needs what the refused checkpoint needs
        pytest.skip("its processor cannot be built without num2words")
    with pytest.raises(ValueError, match=REFUSED[name]):
        Policy.load(ModelConfig(path=str(checkpoint(name))), device="cpu")


@pytest.mark.skipif(is_torchvision_available(), reason="needs an environment without torchvision")
def test_a_processor_that_needs_torchvision_is_refused_with_its_version(checkpoint, tmp_path):
    """Mistral 3's processor class cannot even be imported without torchvision."""
    folder = shutil.copytree(checkpoint("qwen2_5_vl"), tmp_path / "model")
    for file in ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json"):
        if (folder / file).exists():
            text = (folder / file).read_text().replace("Qwen2_5_VLProcessor", "PixtralProcessor")
            (folder / file).write_text(text)
    with pytest.raises(ValueError, match=r'needs torchvision: pip install "torchvision==0\.\d+'):
        Policy.load(ModelConfig(path=str(folder)), device="cpu")


def test_a_stand_in_has_the_checkpoint_s_settings_and_names_others_as_missing():
    part = VideoStandIn({"fps": 2})
    assert part.fps == 2
    assert not hasattr(part, "slice_mode")
    with pytest.raises(MissingVideoSettingError, match="slice_mode"):
        part.slice_mode  # noqa: B018  reading it is what is tested


def test_settings_of_the_video_part_are_kept(checkpoint, tmp_path):
    policy = Policy.load(ModelConfig(path=str(checkpoint("qwen2_5_vl"))), device="cpu")
    policy.processor.save_pretrained(tmp_path)
    assert "Qwen2VLVideoProcessor" in (tmp_path / "processor_config.json").read_text()


def test_the_torchvision_that_goes_with_a_torch():
    assert matching_torchvision("2.13.0+cpu") == "0.28.*"
    assert matching_torchvision("2.1.2") == "0.16.*"
