"""Learn the reference after the policy's own prefixes: optimal completion distillation, and scheduled sampling.

Optimal completion distillation (arXiv 1810.01398) learns, after each token of a sampled completion, a token with which
the completion can still end with the fewest edits. Scheduled sampling by whole sequences (after Bengio et al., arXiv
1506.03099) learns the rest of the reference after a sampled prefix. What this is not: no reward takes part, and nothing
is sampled within a training sequence, so a step has one forward pass.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from random import Random

import torch

from ocr_rl import distributed
from ocr_rl.config.schema import Recipe
from ocr_rl.models.padding import pad_rows
from ocr_rl.models.page_reader import PageReader
from ocr_rl.models.policy import Policy
from ocr_rl.objectives.masking import masked_sum
from ocr_rl.objectives.optimal_completion import optimal_completion_losses, optimal_tokens
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.seeds import derive
from ocr_rl.training.base import StepResult, Trainer, TrainerState
from ocr_rl.training.micro_batches import cut
from ocr_rl.training.optimal_targets import OptimalTargets, Targets
from ocr_rl.training.optimizer import clipped_step, make_optimizer
from ocr_rl.training.references import require_texts
from ocr_rl.training.rollout_batches import Rollouts
from ocr_rl.training.rollout_metrics import rollout_metrics, rollout_rows
from ocr_rl.types import Completion, Page


class OcdTrainer(Trainer):
    """Learns from completions that `engine` samples; `scorer` says how good they are, for the log."""

    def __init__(
        self, policy: Policy, engine: Engine, pages: Sequence[Page], scorer: GroupScorer, recipe: Recipe
    ) -> None:
        """Raises ValueError if a page has no text."""
        require_texts(pages, "ocd")
        self.policy, self.recipe = policy, recipe
        self.parameters = policy.trainable_parameters()
        self.optimizer = make_optimizer(self.parameters, recipe.train)
        self.state = TrainerState()
        self.targets = OptimalTargets(policy, pages, recipe.rollout.max_tokens)
        self.rollouts = Rollouts(policy, engine, pages, scorer, recipe)

    def start(self, done: int) -> None:
        self.rollouts.start(int(self.state.numbers.get("batches", done)))

    def step(self, step: int, rate: float) -> StepResult:
        batch = self.rollouts.take(step)
        self.state.numbers["batches"] = batch.drawn
        began = time.monotonic()
        metrics = self.accumulate(batch.groups, step)
        metrics["grad_norm"] = clipped_step(self.optimizer, self.parameters, rate, self.recipe.train.max_grad_norm)
        metrics["lr"] = rate
        rows = rollout_rows(batch.groups, torch.zeros(len(batch.groups), self.recipe.rollout.group_size))
        return StepResult(metrics | rollout_metrics(batch, learn_s=time.monotonic() - began), rows)

    def dry_run(self, scored: Sequence[ScoredGroup]) -> None:
        self.accumulate(scored, 0)

    def accumulate(self, scored: Sequence[ScoredGroup], step: int) -> dict[str, float | None]:
        """Add up the gradient of (1 - s) L + s L_text, s the share of SFT.

        L is the mean of the losses at all places of all completions, L_text that of the reference's tokens. Returns the
        metrics.
        """
        ocd, mine = self.recipe.ocd, distributed.mine(list(enumerate(scored)))
        learned = [self._learned(group, derive(self.recipe.train.seed, "cut", step, i)) for i, group in mine]
        places = sum(bool(tokens) for page in learned for one in page for tokens in one.next_tokens)
        optimal = sum(
            token in tokens for page in learned for one in page for token, tokens in zip(*one, strict=True) if tokens
        )
        texts = [self.targets.text(group.group.page) for group in scored]
        counts = torch.tensor([places, optimal], dtype=torch.float64, device=self.policy.device)
        distributed.sum_over(counts)
        places, optimal = counts.tolist()
        tokens = sum(len(text.token_ids) for text in texts)
        sums = torch.zeros(4, device=self.policy.device)
        for (i, group), page in zip(mine, learned, strict=True):
            reading = PageReader(self.policy, self.policy.prompt(group.group.page), grad=True)
            sums += self._backward(reading, page, (1 - ocd.sft_share) / max(places, 1))
            if ocd.sft_share:
                sums[3] += self._backward_text(reading, texts[i], ocd.sft_share / tokens)
            reading.backward()
        distributed.sum_over(sums)
        loss, capped, entropy, text_loss = sums.tolist()
        return {
            "loss": loss + text_loss,
            "text_loss": text_loss / ocd.sft_share if ocd.sft_share else None,
            "entropy": entropy / max(places, 1),
            "optimal_fraction": optimal / max(places, 1) if ocd.learn == "each" else None,
            "capped_fraction": capped / max(places, 1),
        }

    def _learned(self, scored: ScoredGroup, seed: int) -> list[Targets]:
        """The sequences that are learned from a page's completions."""
        page, completions, ocd = scored.group.page, scored.group.completions, self.recipe.ocd
        if ocd.learn == "each":
            return self.targets.after_each(page, completions, partial(optimal_tokens, choice=ocd.choice))
        random = Random(seed)
        cuts = [random.randrange(len(completion.token_ids)) for completion in completions]
        return self.targets.rest_after(page, completions, cuts)

    def _backward(self, reading: PageReader, page: Sequence[Targets], weight: float) -> torch.Tensor:
        """Add the gradient of weight * sum of the losses. Returns that sum, the capped places, and the entropies."""
        ocd, device = self.recipe.ocd, self.policy.device
        total = torch.zeros(4, device=device)
        sequences = [Completion(one.token_ids, "", "end", [0.0] * len(one.token_ids)) for one in page]
        for batch in cut(sequences, self.policy.pad_id, self.recipe.train.micro_batch_tokens):
            width = batch.ids.shape[1]
            found = [
                (row * width + t, token)
                for row, i in enumerate(batch.rows)
                for t, tokens in enumerate(page[i].next_tokens)
                for token in tokens
            ]
            if not found:
                continue
            at, tokens = torch.tensor(found).unbind(1)
            first = at.diff(prepend=at[:1] - 1) != 0
            place, places = (first.cumsum(0) - 1).to(device), int(first.sum())
            states = reading.hidden(batch.ids[:, :-1], scored=True).flatten(0, 1).index_select(0, at.to(device))
            mask = torch.ones(1, len(found), dtype=torch.bool)
            scores = self.policy.score_hidden(states[None], tokens[None], mask, temperature=1.0)
            losses, capped = optimal_completion_losses(scores.logprobs[0], place, places, ocd.choice, ocd.cap)
            loss = weight * losses.sum()
            loss.backward()  # type: ignore[no-untyped-call]
            entropy = scores.entropy[0][first.to(device)].sum()
            total += torch.stack([loss.detach(), capped.sum(), entropy, entropy * 0])
        return total

    def _backward_text(self, reading: PageReader, text: Completion, weight: float) -> torch.Tensor:
        """Add the gradient of -weight * sum log pi of the text's tokens; returns that."""
        ids, mask = pad_rows([list(text.token_ids)], self.policy.pad_id)
        scores = reading.score(ids, mask, temperature=1.0)
        loss = -weight * masked_sum(scores.logprobs, mask.to(self.policy.device))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def sync_engine(self) -> None:
        self.rollouts.sync_engine()

    def close(self) -> None:
        self.rollouts.close()
