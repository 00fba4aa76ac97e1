"""Supervised fine-tuning: make the reference transcription of each page likelier, token by token.

The warm start for the other algorithms, and their baseline. What this is not: there is no padding, because each page is
read and answered separately, and the loss is not mixed with another.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

import torch

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import Prompt
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.objectives.masking import masked_sum
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.batching import Batches, epochs
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.readable import NO_PROMPTS, next_readable
from ocr_rl.training.references import require_texts
from ocr_rl.types import Page


class SftTrainer(Trainer):
    """Learns pages with their reference texts; `engine` is used for evaluation only."""

    def __init__(self, policy: Policy, engine: Engine, pages: Sequence[Page], recipe: Recipe) -> None:
        """Raises ValueError if a page has no text."""
        require_texts(pages)
        self.policy, self.engine, self.recipe = policy, engine, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)
        self.encoder = TextEncoder(policy)
        self.state = TrainerState()
        self._epochs = partial(epochs, pages, recipe.rollout.pages_per_step, recipe.train.seed)
        self._batches = Batches(self._epochs())
        self._batches_per_epoch = 1 + len(pages) // recipe.rollout.pages_per_step

    def start(self, done: int) -> None:
        self.state.numbers.setdefault("batches", done)
        self._batches = Batches(self._epochs(skip=int(self.state.numbers["batches"])))

    def step(self, step: int, rate: float) -> StepResult:
        """Pages that cannot be read are left out."""
        began = time.monotonic()
        batch = next_readable(self._batches, lambda page: page, self.policy, limit=self._batches_per_epoch)
        if step < (self.recipe.train.steps or sys.maxsize) and self.policy.readers.count:  # while this one is learned
            self.policy.readers.start(self.policy, distributed.mine(self._batches.peek()))
        metrics = self.accumulate(batch.items, batch.prompts) | {"refused": batch.refused}
        norm = clipped_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        self.state.numbers["batches"] += batch.drawn
        seconds = time.monotonic() - began
        timing = {"tokens_per_s": metrics["tokens"] / seconds, "time/learn": round(seconds, 3)}
        return StepResult(metrics | {"grad_norm": norm, "lr": rate} | timing)

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        self.accumulate([group.group.page for group in scored])

    def accumulate(self, pages: Sequence[Page], prompts: Mapping[str, Prompt] = NO_PROMPTS) -> dict[str, float]:
        """Add up the gradient of -sum log pi(token) / tokens over the tokens of all these pages' texts.

        `prompts` are those of pages that were read already.
        """
        max_tokens, device = self.recipe.rollout.max_tokens, self.policy.device
        texts = [self.encoder.completion(page.text or "", True, max_tokens) for page in pages]
        tokens = sum(len(text.token_ids) for text in texts)
        sums = torch.zeros(2, device=device)
        for page, text in distributed.mine(list(zip(pages, texts, strict=True))):
            ids, mask = pad_rows([list(text.token_ids)], self.policy.pad_id)
            reading = PageReader(self.policy, prompts.get(page.id) or self.policy.prompt(page), grad=True)
            scores = reading.score(ids, mask, temperature=1.0)
            loss = -masked_sum(scores.logprobs, mask.to(device)) / tokens
            loss.backward()  # type: ignore[no-untyped-call]
            reading.backward()
            sums += torch.stack([loss.detach(), scores.entropy.sum() / tokens])
        distributed.sum_over(sums)
        loss_sum, entropy = sums.tolist()
        truncated = sum(not text.finished for text in texts)
        return {
            "loss": loss_sum,
            "entropy": entropy,
            "pages": len(pages),
            "tokens": tokens,
            "truncated_fraction": truncated / len(pages),
        }

    def sync_engine(self) -> None:
        self.engine.sync(self.policy)
