"""Checkpoints as people bring them: weights that cannot be read are named with what to do."""

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny_models import make_page, make_policy, weights
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy


@pytest.fixture
def saved(tmp_path):
    make_policy("lighton").save(tmp_path / "model")
    return tmp_path / "model"


def load(folder):
    return Policy.load(ModelConfig(path=str(folder)), device="cpu")


def test_a_pointer_of_git_lfs_is_not_taken_for_weights(saved):
    (saved / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(
        ValueError, match=r"model.safetensors is a pointer of Git LFS, not the weights; run `git lfs pull`"
    ):
        load(saved)


def test_pickled_weights_are_refused_with_the_way_to_convert_them(saved):
    file = saved / "model.safetensors"
    torch.save(load_file(file), saved / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(ValueError, match=r"pytorch_model.bin holds weights as a pickle.*model.save_pretrained\("):
        load(saved)


def test_weights_in_several_files_and_in_16_bits_are_read(saved, tmp_path):
    policy = make_policy("lighton")
    policy.model.half().save_pretrained(tmp_path / "sharded", max_shard_size="20KB")
    policy.processor.save_pretrained(tmp_path / "sharded")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    found, expected = weights(load(tmp_path / "sharded")), weights(load(saved))
    assert all(found[name].equal(tensor.half().float()) for name, tensor in expected.items())


def test_a_chat_template_of_the_tokenizer_is_used_if_it_writes_images(saved):
    policy = load(saved)
    own, page = policy.processor.chat_template, make_page(prompt="abc")
    (saved / "chat_template.jinja").unlink()
    policy.processor.tokenizer.chat_template = own
    policy.processor.tokenizer.save_pretrained(saved, save_jinja_files=False)
    assert load(saved)._chat_text(page) == policy._chat_text(page)
    policy.processor.tokenizer.chat_template = "{{ messages[0]['content'] + 'x' }}"
    policy.processor.tokenizer.save_pretrained(saved, save_jinja_files=False)
    with pytest.raises(ValueError, match="it has no chat template; write the checkpoint's prompt format to a file"):
        load(saved)
