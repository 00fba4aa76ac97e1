"""Document model families with their real processor classes: they load without torchvision, and train exactly."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers.utils import is_torchvision_available

from helpers.families import ANY_SIZE, FAMILIES, OWN_SIZE, save
from helpers.families.checks import (
    ODD_SIZES,
    fits,
    gradient_rounding,
    load,
    page,
    reloaded_adapter,
    sampled_as_generate,
    trained_as_plain,
)
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.checkpoints.processors import MissingVideoSettingError, VideoStandIn, matching_torchvision
from ocr_rl.models.policy import Policy

REFUSED = {"florence2": "encoder-decoder", "kosmos2_5": "no `.model`", "smolvlm": "num2words"}
TORCHVISION = ("lfm2_vl", "mistral3", "gemma4", "minicpmv4_6")
"""Families whose processor cannot be built without torchvision."""
ALIKE = ("qwen2_vl", "qwen3_vl_moe", "qwen3_5_moe", "glm4v", "glm46v", "qianfan_ocr", "granite_llava_next")
SLOW = ("got_ocr2", "deepseek_ocr2", "gemma4", "minicpmv4_6", *ALIKE)
"""Large images, and families much like one that is tested at each run."""
TRAINED = [name for name in FAMILIES if name not in REFUSED]


def marked(names):
    return [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in names if name not in REFUSED]


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


@pytest.mark.parametrize("name", marked(TRAINED))
def test_a_page_read_once_trains_as_the_plain_model_does_with_checkpointing_and_without(checkpoint, name):
    for logprobs, gradients in trained_as_plain(checkpoint(name)).values():
        assert logprobs <= 1e-4
        assert gradients <= 1e-4 or gradients <= 3 * gradient_rounding(checkpoint(name))


@pytest.mark.parametrize("name", marked(TRAINED))
def test_the_engine_samples_as_generate_does(checkpoint, name):
    assert sampled_as_generate(load(checkpoint(name))) <= 1e-4


@pytest.mark.parametrize("name", marked(ANY_SIZE))
def test_the_processor_leaves_a_fitted_page_as_it_is_and_writes_the_image_tokens_that_were_counted(checkpoint, name):
    """300 sizes; pages of one pixel and very long ones too."""
    fits(load(checkpoint(name)), name, pages=300)


@pytest.mark.parametrize("name", marked(OWN_SIZE))
def test_a_family_that_scales_pages_itself_has_no_budget_and_reads_odd_pages(checkpoint, name):
    policy = load(checkpoint(name))
    assert policy.budget.fitted_size(123, 457) == (123, 457)
    for size in ODD_SIZES:
        with torch.no_grad():
            assert policy.read(policy.prompt(page(*size))).last_hidden.isfinite().all()
    with pytest.raises(ValueError, match=r"max_pixels is 1000.*write model.max_pixels = 0"):
        load(checkpoint(name), max_pixels=1000)


@pytest.mark.parametrize("name", marked(TRAINED))
def test_an_adapter_is_the_same_after_a_reload(checkpoint, name, tmp_path):
    assert reloaded_adapter(checkpoint(name), tmp_path) <= 1e-5


def test_the_table_of_models_has_a_row_for_each_family():
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", Path("docs/models.md").read_text(encoding="utf-8"), re.MULTILINE)
    checked = {name: cells for name, cells in rows if name in FAMILIES}
    assert list(checked) == list(FAMILIES)
    trained = {name for name, cells in checked.items() if "not loaded" not in cells}
    assert trained >= set(TRAINED) - set(TORCHVISION)
    assert len(trained) >= 18


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
