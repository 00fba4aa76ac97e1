"""The engine that samples with transformers, from the trainer's model: one prompt for all completions of a page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.nn.functional import pad

from ocr_rl.data.images import ImageError
from ocr_rl.models.kv_cache import AppendingLayer, Layer, StateLayer, cache_of, layer_of, layer_tensors
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt import PromptState
from ocr_rl.models.reading_ahead import Readers
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.types import Completion, Page

PAGES_AT_ONCE = 32
"""Maximum number of pages at a time; their prompts are in memory together."""


class TransformersEngine(Engine):
    """Samples from the trainer's model: nothing to synchronise, and deterministic by seed on one machine."""

    def __init__(self, policy: Policy, rows: int = 256, readers: int = 0) -> None:
        """`rows` completions are decoded at a time, whole pages together; fewer need less memory.

        Meanwhile `readers` threads read the next pages, for the policy's learner too.
        """
        self.policy, self.rows, self.prompt_format = policy, rows, policy.prompt_format
        policy.readers = Readers(readers)

    def sync(self, policy: Policy) -> None:
        self.policy = policy

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        with self.policy.alone():
            yield from self._stream(pages, sampling, seed)

    @torch.inference_mode()
    def _stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        generator = torch.Generator(self.policy.device).manual_seed(seed)
        at_once = min(PAGES_AT_ONCE, max(1, self.rows // sampling.group_size))
        first, waiting = 0, self.policy.readers.through(self.policy, pages, at_once)
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
        """Sample until every row has ended; yields (row, token ids, log probabilities), with G rows per page."""
        policy, device, size = self.policy, self.policy.device, sampling.group_size
        rows = len(states) * size
        length = max(state.length for state in states)
        blank = torch.tensor([length - s.length for s in states], device=device).repeat_interleave(size)
        first = torch.tensor([s.next_position for s in states], device=device).repeat_interleave(size)
        cache = cache_of([_stack(layers, length, size) for layers in zip(*(s.layers for s in states), strict=True)])
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
            hidden = policy.decode(token[:, None], positions, cache, attend)

    def _completion(self, ids: list[int], logprobs: list[float]) -> Completion:
        """The row up to its first end token."""
        ends = [i for i, token in enumerate(ids) if token in self.policy.end_ids]
        length = ends[0] + 1 if ends else len(ids)
        return Completion(
            token_ids=ids[:length],
            text=self.policy.text(ids[:length]),
            finish_reason="end" if ends else "length",
            sampling_logprobs=logprobs[:length],
        )


def _stack(layers: Sequence[Layer], length: int, size: int) -> Layer:
    """One layer of each page's cache -> that of P * size rows: keys and values are padded on the left to `length`."""
    pages = [layer_tensors(layer) for layer in layers]
    if not isinstance(layers[0], StateLayer):
        pages = [tuple(pad(t, (0, 0, length - t.shape[2], 0)) for t in tensors) for tensors in pages]
    rows = [torch.cat(tensors).repeat_interleave(size, dim=0) for tensors in zip(*pages, strict=True)]
    return layer_of(layers[0], rows, AppendingLayer)


def _draw(logprobs: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """(B, V) -> (B,): a sample, or the most probable token at temperature 0."""
    if temperature == 0:
        return logprobs.argmax(-1)
    return torch.multinomial(logprobs.exp(), 1, generator=generator).squeeze(1)
