"""The policy's shared-prompt scoring equals a plain forward of the Hugging Face model, in value and gradient."""

import dataclasses
import json
import shutil

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.tiny_models import (
    ALPHABET,
    ARCHITECTURES,
    BREAK,
    END,
    EOS,
    FIRST,
    IMAGE,
    PAD,
    STOP,
    VIDEO,
    VOCABULARY,
    assert_all_close,
    gradients,
    make_model,
    make_page,
    make_policy,
    make_processor,
    pages_of_different_sizes,
    score_unshared,
    tokens,
    weights,
)
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models import policy as policy_module
from ocr_rl.models.checkpoints.loading import vision_tower
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.policy import Policy
from ocr_rl.models.reference import Reference

TEXTS = ["abc", "", "ad\nfghi", "k"]


def rows_of(texts):
    return [[*tokens(text), EOS] for text in texts]


def plain_logprobs(policy, page, row, temperature=1.0, forbidden=True):
    """(T,) log probabilities and entropies of one completion: one full forward, prompt and completion in one row."""
    inputs = dict(policy.prompt(page).inputs)
    completion = torch.tensor([row])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], completion], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "mm_token_type_ids" in inputs:
        inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(completion)], dim=1)
    logits = policy.model(**inputs, use_cache=False).logits[0, -len(row) - 1 : -1] / temperature
    if forbidden:
        logits[:, list(policy.suppressed_ids)] = -torch.inf
    logprobs = logits.log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs.clamp(min=-1e9)).sum(-1).detach()
    return logprobs.gather(1, completion.T).squeeze(1), entropy


def plain(policy, page, rows, coefficients, temperature=1.0):
    """Log probabilities and entropies row by row, and the gradients of sum of coefficient * logprob."""
    logprobs, entropies = zip(*(plain_logprobs(policy, page, row, temperature) for row in rows), strict=True)
    sum((coefficients[i, : len(row)] * row).sum() for i, row in enumerate(logprobs)).backward()
    return [row.detach() for row in logprobs], entropies, gradients(policy)


def shared(policy, page, rows, coefficients, temperature=1.0, batches=1):
    """The same by `read`, `score` (in several batches) and `state.backward`."""
    state = policy.read(policy.prompt(page), grad=True)
    logprobs, entropies = [], []
    size = -(-len(rows) // batches)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        ids, mask = pad_rows(part, PAD)
        scores = policy.score(state, ids, mask, temperature)
        (coefficients[start : start + size, : ids.shape[1]] * scores.logprobs).sum().backward()
        assert not scores.logprobs[~mask].any()
        logprobs += [row[: len(p)].detach() for row, p in zip(scores.logprobs, part, strict=True)]
        entropies += [row[: len(p)] for row, p in zip(scores.entropy, part, strict=True)]
    state.backward()
    return logprobs, entropies, gradients(policy)


def assert_same(actual, expected, tolerance=1e-5):
    for part in range(2):
        for row, other in zip(actual[part], expected[part], strict=True):
            torch.testing.assert_close(row, other, atol=tolerance, rtol=tolerance)
    assert_all_close(actual[2], expected[2], tolerance)


completions = st.lists(st.text(ALPHABET, max_size=9), min_size=1, max_size=4)
sizes = st.tuples(st.integers(8, 90), st.integers(8, 90))
hypothesis_with_fixtures = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


@hypothesis_with_fixtures
@given(
    seed=st.integers(0, 1000),
    texts=completions,
    size=sizes,
    prompt=st.text("abc", max_size=3),
    temperature=st.sampled_from([1.0, 0.7]),
)
def test_a_page_read_once_scores_its_completions_as_the_plain_model_does(
    policy, seed, texts, size, prompt, temperature
):
    page, rows = make_page(seed, size, prompt), rows_of(texts)
    coefficients = torch.randn(len(rows), 10, generator=torch.Generator().manual_seed(seed))
    expected = plain(policy, page, rows, coefficients, temperature)
    assert_same(shared(policy, page, rows, coefficients, temperature), expected)
    assert any(grad.any() for name, grad in expected[2].items() if "vis" in name)


def test_several_batches_of_completions_add_up_in_the_prompt(policy):
    page, rows, coefficients = make_page(2), rows_of(TEXTS), torch.randn(4, 8)
    expected = plain(policy, page, rows, coefficients)
    assert_same(shared(policy, page, rows, coefficients, batches=3), expected)


def test_pages_read_before_others_are_scored_keep_their_own_positions(policy):
    """The models keep the position offset of the last page that they read; each state holds its own."""
    rows = rows_of(TEXTS)
    ids, mask = pad_rows(rows, PAD)
    pages = pages_of_different_sizes()
    with torch.no_grad():
        states = [policy.read(policy.prompt(page)) for page in pages]
        for page, state in zip(pages, states, strict=True):
            scores = policy.score(state, ids, mask, 1.0)
            for i, row in enumerate(rows):
                expected, _ = plain_logprobs(policy, page, row)
                torch.testing.assert_close(scores.logprobs[i, : len(row)], expected, atol=1e-5, rtol=1e-5)


def test_scoring_with_the_prompt_repeated_is_the_same(policy):
    page, rows, coefficients = make_page(3, (40, 64), "ab"), rows_of(TEXTS), torch.randn(4, 8)
    ids, mask = pad_rows(rows, PAD)
    expected = shared(policy, page, rows, coefficients)
    scores = score_unshared(policy, policy.prompt(page), ids, mask, 1.0)
    (coefficients * scores.logprobs).sum().backward()
    found = [row[: len(p)].detach() for row, p in zip(scores.logprobs, rows, strict=True)]
    entropies = [row[: len(p)] for row, p in zip(scores.entropy, rows, strict=True)]
    assert_same((found, entropies, gradients(policy)), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradient_checkpointing_changes_memory_and_nothing_else(architecture):
    page, rows, coefficients = make_page(3), rows_of(TEXTS), torch.randn(4, 8)
    expected = shared(make_policy(architecture), page, rows, coefficients)
    policy = make_policy(architecture, gradient_checkpointing=True)
    runs, images = [], []
    policy.backbone.language_model.layers[0].mlp.register_forward_pre_hook(lambda *_: runs.append(1))
    tower = vision_tower(policy.base)
    tower.register_forward_pre_hook(lambda *_: images.append(1))
    assert_same(shared(policy, page, rows, coefficients), expected)
    assert len(runs) == 4  # the prompt and the completions, each once forward and once again in the backward pass
    assert len(images) == 1


def test_masked_tokens_have_neither_a_score_nor_a_gradient(policy):
    """Row 1 is like a truncated completion that the loss leaves out."""
    page, rows = make_page(), rows_of(["abc", "def"])
    ids, mask = pad_rows(rows, PAD)
    mask[1] = False
    coefficients = torch.ones(2, 4)
    state = policy.read(policy.prompt(page), grad=True)
    scores = policy.score(state, ids, mask, 1.0)
    scores.logprobs.sum().backward()
    state.backward()
    assert not scores.logprobs[1].any()
    assert not scores.entropy[1].any()
    assert_all_close(gradients(policy), plain(policy, page, rows[:1], coefficients)[2], 1e-5)


def test_a_batch_without_a_trained_token_leaves_no_gradient(policy):
    ids, mask = pad_rows(rows_of(["abc"]), PAD)
    state = policy.read(policy.prompt(make_page()), grad=True)
    policy.score(state, ids, torch.zeros_like(mask), 1.0).logprobs.sum().backward()
    state.backward()
    assert not any(grad.any() for grad in gradients(policy).values())


@pytest.mark.parametrize("chunk", [1, VOCABULARY, 5 * VOCABULARY])
def test_logits_in_chunks_give_the_same_scores_and_gradients(policy, monkeypatch, chunk):
    page, rows, coefficients = make_page(4), rows_of(TEXTS), torch.randn(4, 8)
    expected = shared(policy, page, rows, coefficients)
    monkeypatch.setattr(policy_module, "LOGITS_PER_CHUNK", chunk)
    assert_same(shared(policy, page, rows, coefficients), expected)


def test_a_temperature_divides_the_logits():
    """Two tokens with logits l: log p = l / T - logsumexp(l / T)."""
    policy = make_policy()
    hidden = torch.randn(1, 32)
    keep = [i for i in range(VOCABULARY) if i not in policy.suppressed_ids]
    raw = policy.head(hidden)[:, keep]
    torch.testing.assert_close(policy.logits(hidden, 0.5)[:, keep], raw / 0.5)


@pytest.mark.parametrize(
    ("architecture", "image_tokens"), [("lighton", {IMAGE, BREAK, END}), ("qwen", {IMAGE, BREAK, END, VIDEO})]
)
def test_image_tokens_have_no_probability_and_no_gradient(architecture, image_tokens):
    policy = make_policy(architecture)
    assert set(policy.suppressed_ids) == image_tokens
    ids, mask = pad_rows([[*tokens("ab"), EOS]], PAD)
    state = policy.read(policy.prompt(make_page()), grad=True)
    scores = policy.score(state, ids, mask, 1.0)
    (scores.logprobs.sum() + 0.0).backward()
    rows = policy.head.weight.grad[sorted(image_tokens)]
    assert torch.equal(rows, torch.zeros_like(rows))
    assert policy.head.weight.grad[FIRST:].any(1).all()
    assert scores.entropy.isfinite().all()
    logits = policy.logits(torch.randn(5, 32), 1.0)
    assert not logits.softmax(-1)[:, sorted(image_tokens)].any()
    with torch.no_grad():
        image = policy.score(state, torch.tensor([[IMAGE]]), torch.ones(1, 1, dtype=torch.bool), 1.0)
    assert image.logprobs.item() == -torch.inf


def test_the_entropy_has_no_gradient(policy):
    ids, mask = pad_rows(rows_of(["abc"]), PAD)
    state = policy.read(policy.prompt(make_page()), grad=True)
    assert not policy.score(state, ids, mask, 1.0).entropy.requires_grad


def test_scores_are_float32_under_bfloat16():
    policy = make_policy(compute_dtype=torch.bfloat16)
    rows = rows_of(TEXTS)
    ids, mask = pad_rows(rows, PAD)
    state = policy.read(policy.prompt(make_page()), grad=True)
    scores = policy.score(state, ids, mask, 1.0)
    scores.logprobs.sum().backward()
    state.backward()
    assert scores.logprobs.dtype == torch.float32
    exact = make_policy()
    expected = [plain_logprobs(exact, make_page(), row)[0] for row in rows]
    for row, found in zip(expected, scores.logprobs, strict=True):
        torch.testing.assert_close(found[: len(row)], row, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("compute_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_steps_of_one_millionth_reach_the_weights(architecture, compute_dtype):
    """Master weights are float32: after 20 AdamW steps at 1e-6, 99 % of the weights with a gradient have changed."""
    policy = make_policy(architecture, compute_dtype=compute_dtype)
    before, touched = weights(policy), {}
    optimizer = torch.optim.AdamW(policy.trainable_parameters(), lr=1e-6, weight_decay=0.0)
    ids, mask = pad_rows(rows_of(TEXTS), PAD)
    for i in range(20):
        state = policy.read(policy.prompt(make_page(i % 2)), grad=True)
        (torch.randn(ids.shape) * policy.score(state, ids, mask, 1.0).logprobs).sum().backward()
        state.backward()
        for name, p in policy.model.named_parameters():
            if p.grad is not None:
                touched[name] = touched.get(name, False) | (p.grad != 0)
        optimizer.step()
        optimizer.zero_grad()
    after = weights(policy)
    moved = sum(int(((after[name] != before[name]) & where).sum()) for name, where in touched.items())
    total = sum(int(where.sum()) for where in touched.values())
    assert total > 30_000
    assert moved / total >= 0.99


# Trained weights, copies and checkpoints.


def train_a_little(policy, rate=0.1):
    ids, mask = pad_rows(rows_of(TEXTS), PAD)
    state = policy.read(policy.prompt(make_page()), grad=True)
    (torch.randn(ids.shape) * policy.score(state, ids, mask, 1.0).logprobs).sum().backward()
    state.backward()
    torch.optim.SGD(policy.trainable_parameters(), lr=rate).step()
    policy.model.zero_grad()


@torch.no_grad()
def scores_of(policy, page=None, texts=TEXTS):
    ids, mask = pad_rows(rows_of(texts), PAD)
    return policy.score(policy.read(policy.prompt(page or make_page())), ids, mask, 1.0).logprobs


def test_training_does_not_touch_a_frozen_copy(policy):
    copy = policy.frozen_copy()
    before = scores_of(policy)
    train_a_little(policy)
    assert torch.equal(scores_of(copy), before)
    assert not torch.allclose(scores_of(policy), before)
    assert not copy.trainable_parameters()


def test_freeze_vision_leaves_the_tower_and_trains_the_projector(saved):
    policy = Policy.load(ModelConfig(path=str(saved), freeze_vision=True))
    train_a_little(policy)
    before, after = weights(Policy.load(ModelConfig(path=str(saved)))), weights(policy)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert not any("vision_encoder" in name for name in changed)
    assert any("vision_projection" in name for name in changed)
    assert any("language_model" in name for name in changed)


@pytest.mark.parametrize("freeze_vision", [False, True])
def test_lora_trains_the_adapter_and_nothing_else(saved, freeze_vision):
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=4, freeze_vision=freeze_vision))
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert any("vision_encoder" in name for name in trained) != freeze_vision
    before = weights(policy)
    train_a_little(policy)
    after = weights(policy)
    assert {name for name in before if not torch.equal(before[name], after[name])} <= trained


def test_a_lora_policy_starts_as_its_base_and_then_differs(saved):
    base = scores_of(Policy.load(ModelConfig(path=str(saved))))
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=4))
    torch.testing.assert_close(scores_of(policy), base)
    for _ in range(2):  # the first step only changes B, which starts at zero
        train_a_little(policy, rate=0.5)
    assert not torch.allclose(scores_of(policy), base, atol=1e-2)


def test_gradient_checkpointing_and_lora_go_together(saved):
    config = ModelConfig(path=str(saved), lora_rank=4)
    found = []
    for checkpointing in (False, True):
        torch.manual_seed(0)  # for the adapter's weights
        policy = Policy.load(dataclasses.replace(config, gradient_checkpointing=checkpointing))
        found.append(shared(policy, make_page(), rows_of(TEXTS), torch.ones(4, 8))[2])
        with Reference(policy).policy() as reference:
            assert not scores_of(reference).requires_grad
    assert_all_close(found[1], found[0], 1e-5)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_a_saved_policy_loads_with_the_same_logprobs(saved, tmp_path, lora_rank):
    policy = Policy.load(ModelConfig(path=str(saved), lora_rank=lora_rank))
    for _ in range(2):
        train_a_little(policy)
    policy.save(tmp_path / "trained")
    again = Policy.load(ModelConfig(path=str(tmp_path / "trained")))
    torch.testing.assert_close(scores_of(again), scores_of(policy), atol=1e-6, rtol=1e-6)
    assert (again.end_ids, again.suppressed_ids, again.budget) == (policy.end_ids, policy.suppressed_ids, policy.budget)
    assert len(again.trainable_parameters()) == len(policy.trainable_parameters())
    train_a_little(again)
    assert not torch.allclose(scores_of(again), scores_of(policy), atol=1e-4)


@pytest.mark.parametrize("lora_rank", [0, 4])
def test_checkpoints_contain_only_safetensors_and_text(saved, tmp_path, lora_rank):
    Policy.load(ModelConfig(path=str(saved), lora_rank=lora_rank)).save(tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path.rsplit(".", 1)[-1] for path in names} <= {"safetensors", "json", "jinja", "md", "txt"}
    assert ("adapter_model.safetensors" if lora_rank else "model.safetensors") in names


def test_an_adapter_keeps_its_rank_and_scaling(saved, tmp_path):
    adapter = tmp_path / "adapter"
    Policy.load(ModelConfig(path=str(saved), lora_rank=4, lora_alpha=8)).save(adapter)
    for own in (ModelConfig(path=str(adapter)), ModelConfig(path=str(adapter), lora_rank=4, lora_alpha=8)):
        assert Policy.load(own).model.peft_config["default"].r == 4
    with pytest.raises(ValueError, match=r'model.lora_rank is 2, but the adapter ".*" has 4, which stays; write 4'):
        Policy.load(ModelConfig(path=str(adapter), lora_rank=2, lora_alpha=8))
    with pytest.raises(ValueError, match=r'model.lora_alpha is 32, but the adapter ".*" has 8, which stays; write 8'):
        Policy.load(ModelConfig(path=str(adapter), lora_rank=4))


def test_the_vision_tower_of_an_adapter_can_be_frozen(saved, tmp_path):
    Policy.load(ModelConfig(path=str(saved), lora_rank=4)).save(tmp_path / "adapter")
    policy = Policy.load(ModelConfig(path=str(tmp_path / "adapter"), freeze_vision=True))
    trained = {name for name, p in policy.model.named_parameters() if p.requires_grad}
    assert trained
    assert not any("vision_encoder" in name for name in trained)
    before = weights(policy)
    train_a_little(policy)
    after = weights(policy)
    assert {name for name in before if not torch.equal(before[name], after[name])} <= trained


def test_an_adapter_names_its_base_and_is_small(saved, tmp_path):
    Policy.load(ModelConfig(path=str(saved), lora_rank=2)).save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(saved)
    small, full = (tmp_path / "adapter/adapter_model.safetensors").stat(), (saved / "model.safetensors").stat()
    assert small.st_size < full.st_size / 2


def test_an_adapter_whose_base_is_missing_says_that(saved, tmp_path):
    adapter = tmp_path / "adapter"
    Policy.load(ModelConfig(path=str(saved), lora_rank=2)).save(adapter)
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"base_model_name_or_path": "/gone/model"}))
    with pytest.raises(ValueError, match=r'is an adapter, and its base model "/gone/model" is not there; put it there'):
        Policy.load(ModelConfig(path=str(adapter)))


def test_a_relative_base_is_found_from_another_folder(saved, tmp_path, monkeypatch):
    shutil.copytree(saved, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    Policy.load(ModelConfig(path="base", lora_rank=2)).save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "../base"
    monkeypatch.chdir("/")
    Policy.load(ModelConfig(path=str(tmp_path / "adapter")))


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_adapter_of_an_embedded_policy_names_it(tmp_path, name):
    Policy.load(ModelConfig(path=name, lora_rank=2)).save(tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == name
    assert Policy.load(ModelConfig(path=str(tmp_path / "adapter"))).trainable_parameters()


@pytest.mark.parametrize("content", [None, {}, {"config.json": "{}"}, {"config.json": '{"model_type": "nonesuch"}'}])
def test_a_folder_without_a_model_is_an_error_that_says_what_to_write(tmp_path, content):
    folder = tmp_path / "nothing"
    if content is not None:
        folder.mkdir()
        for name, text in content.items():
            (folder / name).write_text(text)
    with pytest.raises(ValueError, match=r'model.path ".*nothing": .*; give a folder with config.json'):
        Policy.load(ModelConfig(path=str(folder)))


def test_a_model_without_an_end_token_is_an_error():
    model, processor = make_model("lighton"), make_processor("lighton")
    model.generation_config.eos_token_id = None
    processor.tokenizer.eos_token = None
    with pytest.raises(ValueError, match=r"^somewhere: no end token .* add eos_token_id$"):
        Policy(model, processor, source="somewhere")


def test_every_end_token_of_the_generation_config_ends_a_completion():
    model = make_model("lighton")
    model.generation_config.eos_token_id = [EOS, STOP]
    assert Policy(model, make_processor("lighton")).end_ids == [EOS, STOP]


def test_dropout_is_switched_off():
    model = make_model("lighton")
    model.model.language_model.add_module("dropout", torch.nn.Dropout(0.5))
    Policy(model, make_processor("lighton"))
    assert model.model.language_model.dropout.p == 0


def test_a_config_is_all_that_load_needs(saved):
    config = ModelConfig(path=str(saved))
    assert dataclasses.replace(config, compute_dtype="bfloat16").compute_dtype == "bfloat16"
    policy = Policy.load(dataclasses.replace(config, compute_dtype="bfloat16"))
    assert policy.compute_dtype == torch.bfloat16
    assert {p.dtype for p in policy.trainable_parameters()} == {torch.float32}
