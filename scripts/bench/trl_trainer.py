"""TRL's GRPOTrainer configured like one of our recipes: same model, pages, rewards, loss and optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import datasets
import torch
import transformers
import trl

from ocr_rl.config.schema import Recipe
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.types import Completion, Page


def make_trl_trainer(
    policy: Policy, pages: Sequence[Page], reward_function: RewardFunction, recipe: Recipe, folder: str, **options: Any
) -> trl.GRPOTrainer:
    """A trainer of `policy.model`, in its precision and on its device: one rollout batch per step.

    Rows are the pages in order, `pages_per_step` at a time. The loss is our default recipe's: clipped per-token ratio,
    mean over all completion tokens, no KL.
    """
    rollout, grpo, train = recipe.rollout, recipe.grpo, recipe.train
    by_id = {page.id: page for page in pages}

    def reward(completion_ids: list[list[int]], page_id: list[str], **_: Any) -> list[float]:
        return [
            reward_function.score(by_id[name], as_completion(policy, ids)).reward
            for name, ids in zip(page_id, completion_ids, strict=True)
        ]

    policy.processor.apply_chat_template = without_padding(policy.processor.apply_chat_template)
    policy.processor.padding_side = policy.processor.tokenizer.padding_side = "left"
    config = trl.GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=rollout.pages_per_step * rollout.group_size,
        num_generations=rollout.group_size,
        max_completion_length=rollout.max_tokens,
        temperature=rollout.temperature,
        max_steps=train.steps,
        loss_type="dapo",
        beta=0.0,
        epsilon=grpo.clip_low,
        epsilon_high=grpo.clip_high,
        learning_rate=train.learning_rate,
        lr_scheduler_type=train.schedule if train.schedule != "constant" else "constant_with_warmup",
        warmup_steps=train.warmup_steps,
        adam_beta1=train.betas[0],
        adam_beta2=train.betas[1],
        weight_decay=train.weight_decay,
        max_grad_norm=train.max_grad_norm,
        seed=train.seed,
        use_cpu=policy.device.type == "cpu",
        bf16=policy.compute_dtype == torch.bfloat16,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=10**6,
        disable_tqdm=True,
        **options,
    )
    rows = [
        {
            "prompt": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": page.prompt}]}],
            "image": policy.budget.fit(page.image),
            "page_id": page.id,
        }
        for page in pages
    ]
    trainer = trl.GRPOTrainer(
        model=policy.model,
        reward_funcs=reward,
        args=config,
        train_dataset=datasets.Dataset.from_list(rows).cast_column("image", datasets.Image()),
        processing_class=policy.processor,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def without_padding(apply_chat_template: Callable[..., Any]) -> Callable[..., Any]:
    """Needed for pages of different sizes, which LightOnOCR's processor cannot turn into tensors without padding."""

    def wrapped(*args: Any, tokenize: bool = False, **kwargs: Any) -> Any:
        if not tokenize:
            return apply_chat_template(*args, tokenize=False, **kwargs)
        inputs = apply_chat_template(*args, tokenize=True, padding=True, **kwargs)
        rows = zip(inputs["input_ids"], inputs["attention_mask"], strict=True)
        inputs["input_ids"] = [torch.as_tensor(ids)[torch.as_tensor(mask).bool()].tolist() for ids, mask in rows]
        return inputs

    return wrapped


def as_completion(policy: Policy, ids: Sequence[int]) -> Completion:
    """TRL's token ids as our Completion."""
    ended = bool(ids) and ids[-1] in policy.end_ids
    return Completion(list(ids), policy.text(ids), "end" if ended else "length", [math.nan] * len(ids))
