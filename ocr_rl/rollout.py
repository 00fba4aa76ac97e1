"""Engines that turn pages into groups of completions: the Protocol, and the one that runs on transformers.

What is sampled is what `Sampling` says and nothing else: of a checkpoint's generation settings only the end and
padding tokens are used. The distribution is softmax(logits / temperature) over all tokens but special image
tokens, exactly what the trainer scores, so the engine's log probabilities and the trainer's agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import pad

from ocr_rl.policy import AppendingLayer, Policy, PromptState, cache_of
from ocr_rl.tensors import token_logprobs
from ocr_rl.types import Completion, Group, Page


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn."""

    group_size: int = 1
    """Completions per page, G."""
    temperature: float = 1.0
    """0 is greedy decoding."""
    max_tokens: int = 256
    """Tokens of a completion, the end token included."""


class Engine(Protocol):
    """What generates completions. vLLM and transformers are behind the same two calls."""

    def generate(self, pages: Sequence[Page], sampling: Sampling, seed: int) -> list[Group]:
        """One group per page, in page order. The same seed and weights give the same groups where the engine can."""
        ...

    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, and drop every cache that depends on the old ones."""
        ...


class TransformersEngine:
    """Samples from the trainer's own model: nothing to synchronise, deterministic by seed on one machine."""

    def __init__(self, policy: Policy, rows: int = 256) -> None:
        """`rows` completions are decoded at a time, whole pages together: less memory when lower."""
        self.policy, self.rows = policy, rows

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def generate(
        self,
        pages: Sequence[Page],
        sampling: Sampling,
        seed: int,
        progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    ) -> list[Group]:
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        at_once = max(1, self.rows // sampling.group_size)
        groups: list[Group] = []
        for start in progress(range(0, len(pages), at_once)):
            groups += self._generate(pages[start : start + at_once], sampling, generator)
        return groups

    @torch.no_grad()
    def _generate(self, pages: Sequence[Page], sampling: Sampling, generator: torch.Generator) -> list[Group]:
        states = [self.policy.read(self.policy.prompt(page)) for page in pages]
        ids, logprobs = self._decode(states, sampling, generator)
        size = sampling.group_size
        completions = [self._completion(*row) for row in zip(ids.tolist(), logprobs.tolist(), strict=True)]
        return [Group(page, completions[i * size : (i + 1) * size]) for i, page in enumerate(pages)]

    def _decode(
        self, states: list[PromptState], sampling: Sampling, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Sample until every row has ended: ids (B, T), padded with -1, and their log probabilities (B, T)."""
        policy, device, size = self.policy, self.policy.device, sampling.group_size
        rows = len(states) * size
        length = max(state.length for state in states)
        blank = torch.tensor([length - s.length for s in states], device=device).repeat_interleave(size)
        first = torch.tensor([s.next_position for s in states], device=device).repeat_interleave(size)
        layers = zip(*(state.keys_values for state in states), strict=True)
        cache = cache_of(
            [
                (_stack([k for k, _ in pairs], length, size), _stack([v for _, v in pairs], length, size))
                for pairs in layers
            ],
            AppendingLayer,
        )
        hidden = torch.cat([state.last_hidden for state in states]).repeat_interleave(size, dim=0)
        ends = torch.tensor(policy.end_ids, device=device)
        ids = torch.full((rows, sampling.max_tokens), -1, device=device)
        logprobs = torch.zeros(rows, sampling.max_tokens, device=device)
        alive = torch.arange(rows, device=device)
        attend = torch.arange(length, device=device) >= blank[:, None]
        for t in range(sampling.max_tokens):
            logits = policy.logits(hidden[:, -1], sampling.temperature or 1.0)
            if not logits.logsumexp(-1).isfinite().all():
                raise FloatingPointError("the policy's logits are not finite")
            token = _draw(logits, sampling.temperature, generator)
            ids[alive, t] = token
            logprobs[alive, t] = token_logprobs(logits, token)
            going = ~torch.isin(token, ends)
            if t + 1 == sampling.max_tokens or not going.any():
                break
            if going.sum() < 0.75 * len(going):  # rows that have ended cost as much as the others: drop them
                keep = going.nonzero().squeeze(1)
                token, attend, alive = token[keep], attend[keep], alive[keep]
                cache.batch_select_indices(keep)
            attend = pad(attend, (0, 1), value=True)
            positions = (first[alive] + t)[:, None]
            hidden = policy.decode(token[:, None], positions, cache, attend)
        return ids[:, : t + 1], logprobs[:, : t + 1]

    def _completion(self, ids: list[int], logprobs: list[float]) -> Completion:
        """Cut a row at its first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.policy.end_ids]
        length = ends[0] + 1 if ends else len([i for i in ids if i >= 0])
        return Completion(
            token_ids=ids[:length],
            text=self.policy.text(ids[:length]),
            finish_reason="end" if ends else "length",
            sampling_logprobs=logprobs[:length],
        )


def _stack(tensors: Sequence[Tensor], length: int, size: int) -> Tensor:
    """Per page (1, H, N_i, D) -> (P * size, H, length, D), padded on the left."""
    return torch.cat([pad(t, (0, 0, length - t.shape[2], 0)) for t in tensors]).repeat_interleave(size, dim=0)


def _draw(logits: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """(B, V) -> (B,): a sample from softmax(logits), or the best token at temperature 0."""
    if temperature == 0:
        return logits.argmax(-1)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(1)
