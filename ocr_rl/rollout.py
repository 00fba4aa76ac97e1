"""Engines that turn pages into groups of completions: what one is, and the one that runs on transformers.

What is sampled is what `Sampling` says and nothing else: of a checkpoint's generation settings only the end and
padding tokens are used. The distribution is softmax(logits / temperature) over all tokens but special image
tokens, exactly what the trainer scores, so the engine's log probabilities and the trainer's agree.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad
from tqdm import tqdm

from ocr_rl.data.images import ImageError
from ocr_rl.errors import EngineFailed
from ocr_rl.models.kv_cache import AppendingLayer, cache_of
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import PromptState
from ocr_rl.types import Completion, Group, Page

__all__ = ["Engine", "EngineFailed", "Refused", "Sampled", "Sampling", "TransformersEngine"]

PAGES_AT_ONCE = 32
"""Pages that the transformers engine reads at a time at most: their prompts stay in memory together."""


@dataclass(frozen=True)
class Sampling:
    """How completions are drawn."""

    group_size: int = 1
    """Completions per page, G."""
    temperature: float = 1.0
    """0 is greedy decoding."""
    max_tokens: int = 256
    """Tokens of a completion, the end token included."""


class Sampled(NamedTuple):
    """A completion, told as soon as it has ended."""

    page: int
    """Which of the pages asked for, counted from 0."""
    row: int
    """Its place in the group, 0 to G - 1."""
    completion: Completion


class Refused(NamedTuple):
    """A page that the engine cannot read; nothing else comes of it."""

    page: int
    why: str


class Engine(ABC):
    """What generates completions. vLLM and transformers are behind the same calls."""

    @abstractmethod
    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        """Completions as they end, in any order. Pages are taken as there is room for them.

        The same seed, pages and weights give the same completions where the engine can.

        Raises:
            EngineFailed: the engine cannot go on.
        """

    @abstractmethod
    def sync(self, policy: Policy) -> None:
        """Take over the policy's current weights, and drop every cache that depends on the old ones."""

    def generate(self, pages: Sequence[Page], sampling: Sampling, seed: int) -> list[Group]:
        """One group per page, in page order; pages that the engine refuses are named on stderr and left out."""
        rows: list[list[Completion | None]] = [[None] * sampling.group_size for _ in pages]
        refused = set()
        for event in self.stream(pages, sampling, seed):
            if isinstance(event, Refused):
                tqdm.write(f"{pages[event.page].id}: left out: {event.why}", file=sys.stderr)
                refused.add(event.page)
            else:
                rows[event.page][event.row] = event.completion
        groups = []
        for i, (page, completions) in enumerate(zip(pages, rows, strict=True)):
            if i not in refused:
                whole = [completion for completion in completions if completion is not None]
                assert len(whole) == sampling.group_size, f"{page.id}: {len(whole)} completions came"
                groups.append(Group(page, whole))
        return groups

    def close(self) -> None:  # noqa: B027 - most engines hold nothing
        """Give back processes and memory; the engine is not used again."""


class TransformersEngine(Engine):
    """Samples from the trainer's own model: nothing to synchronise, deterministic by seed on one machine."""

    def __init__(self, policy: Policy, rows: int = 256) -> None:
        """`rows` completions are decoded at a time, whole pages together: less memory when lower."""
        self.policy, self.rows = policy, rows

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    @torch.inference_mode()
    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        at_once = min(PAGES_AT_ONCE, max(1, self.rows // sampling.group_size))
        first, waiting = 0, iter(pages)
        while chunk := list(islice(waiting, at_once)):
            states: dict[int, PromptState] = {}
            for number, page in enumerate(chunk, first):
                try:
                    states[number] = self.policy.read(self.policy.prompt(page))
                except ImageError as error:
                    yield Refused(number, error.reason)
            first += len(chunk)
            numbers = list(states)
            for row, ids, logprobs in self._decode(list(states.values()), sampling, generator) if states else ():
                place, row = divmod(row, sampling.group_size)
                yield Sampled(numbers[place], row, self._completion(ids, logprobs))

    def _decode(
        self, states: list[PromptState], sampling: Sampling, generator: torch.Generator
    ) -> Iterator[tuple[int, list[int], list[float]]]:
        """Sample until every row has ended: (row, ids, their log probabilities), G rows for each page."""
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
        going = torch.ones(rows, dtype=torch.bool, device=device)
        attend = torch.arange(length, device=device) >= blank[:, None]
        for t in range(sampling.max_tokens):
            distribution = policy.logits(hidden[:, -1], sampling.temperature or 1.0).log_softmax(-1)
            if distribution.isnan().any():
                raise FloatingPointError("the policy's logits are not finite")
            token = _draw(distribution, sampling.temperature, generator)
            ids[alive, t] = token
            logprobs[alive, t] = distribution.gather(1, token[:, None]).squeeze(1)
            going &= ~torch.isin(token, ends)
            over = t + 1 == sampling.max_tokens or not going.any()
            if over or going.sum() < 0.75 * len(going):  # rows that have ended cost as much as the others
                for row in (alive if over else alive[~going]).tolist():
                    yield row, ids[row, : t + 1].tolist(), logprobs[row, : t + 1].tolist()
                if over:
                    return
                keep = going.nonzero().squeeze(1)
                token, attend, alive, going = token[keep], attend[keep], alive[keep], going[keep]
                cache.batch_select_indices(keep)
            attend = pad(attend, (0, 1), value=True)
            positions = (first[alive] + t)[:, None]
            hidden = policy.decode(token[:, None], positions, cache, attend[:, None, None])

    def _completion(self, ids: list[int], logprobs: list[float]) -> Completion:
        """Cut a row at its first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.policy.end_ids]
        length = ends[0] + 1 if ends else len(ids)
        return Completion(
            token_ids=ids[:length],
            text=self.policy.text(ids[:length]),
            finish_reason="end" if ends else "length",
            sampling_logprobs=logprobs[:length],
        )


def _stack(tensors: Sequence[Tensor], length: int, size: int) -> Tensor:
    """Per page (1, H, N_i, D) -> (P * size, H, length, D), padded on the left."""
    return torch.cat([pad(t, (0, 0, length - t.shape[2], 0)) for t in tensors]).repeat_interleave(size, dim=0)


def _draw(logprobs: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """(B, V) -> (B,): a sample, or the best token at temperature 0."""
    if temperature == 0:
        return logprobs.argmax(-1)
    return torch.multinomial(logprobs.exp(), 1, generator=generator).squeeze(1)
