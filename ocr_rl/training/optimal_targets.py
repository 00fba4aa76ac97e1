"""Which tokens a best continuation of a completion has: the reference's tokens where an exact alignment allows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from ocr_rl.models.policy import Policy
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.types import Completion, Page
from ocr_verifiers.text.prefix_edits import prefix_edits

Choose = Callable[[Sequence[int], dict[int, int | None]], list[int]]
"""Positions of the reference and the token at each of them -> the tokens to learn."""


class Targets(NamedTuple):
    """What to learn from one sequence of T tokens."""

    token_ids: list[int]
    """(T,), what the policy reads."""
    next_tokens: list[list[int]]
    """(T,), the tokens that may stand in the place of each one; none where nothing is learned."""


class OptimalTargets:
    """The references of training pages as tokens, and where a completion's prefixes stand in them.

    Texts are compared as they are written, code point by code point: a supervised policy learns the text itself. A
    position inside one of the reference's tokens continues with the rest of that token, if the tokenizer can write it.
    After a part of a character (byte tokens) nothing is learned.
    """

    def __init__(self, policy: Policy, pages: Sequence[Page], max_tokens: int) -> None:
        self._policy, self._max_tokens = policy, max_tokens
        self._encoder = TextEncoder(policy)
        self._references: dict[str, _Reference] = {}
        self._texts = {page.id: page.text or "" for page in pages}

    def text(self, page: Page) -> Completion:
        """The page's text as a completion."""
        return self._encoder.completion(page.text or "", True, self._max_tokens)

    def after_each(self, page: Page, completions: Sequence[Completion], choose: Choose) -> list[Targets]:
        """Each completion with the optimal tokens after each of its prefixes."""
        reference = self._reference(page)
        result = []
        for completion, own in zip(completions, self._aligned(reference, completions), strict=True):
            tokens = []
            for positions in own:
                at = {k: next(iter(reference.continued(k)), None) for k in positions}
                tokens.append(choose(positions, at))
            result.append(Targets(list(completion.token_ids), tokens))
        return result

    def rest_after(self, page: Page, completions: Sequence[Completion], cuts: Sequence[int]) -> list[Targets]:
        """Each completion up to its cut, then the rest of the reference from the nearest optimal position on."""
        reference = self._reference(page)
        result = []
        for completion, cut, own in zip(completions, cuts, self._aligned(reference, completions), strict=True):
            rest = next((found for k in own[cut] if (found := reference.continued(k))), [])
            kept = list(completion.token_ids[:cut])
            rest = rest[: self._max_tokens - len(kept)]
            if rest:
                result.append(Targets([*kept, *rest], [*([] for _ in kept), *([token] for token in rest)]))
        return result

    def _reference(self, page: Page) -> _Reference:
        if page.id not in self._references:
            self._references[page.id] = _Reference(self._policy, self._encoder, self.text(page))
        return self._references[page.id]

    def _aligned(self, reference: _Reference, completions: Sequence[Completion]) -> list[list[list[int]]]:
        """For each token of each completion, the positions of the reference that the tokens before it may stand for."""
        pieces = [self._policy.pieces(completion.token_ids) for completion in completions]
        edits = prefix_edits(reference.text, ["".join(own) for own in pieces], optimal=True)
        result = []
        for own, edit in zip(pieces, edits, strict=True):
            starts = [0, *accumulate(len(piece) for piece in own)][:-1]
            inside = [False, *(not piece for piece in own)][:-1]  # the token before has written a part of a character
            result.append(
                [[] if part else edit.optimal[start].tolist() for start, part in zip(starts, inside, strict=True)]
            )
        return result


class _Reference:
    """A text as the policy's tokens, and how it continues from each of its characters."""

    def __init__(self, policy: Policy, encoder: TextEncoder, text: Completion) -> None:
        self.ids = list(text.token_ids)
        pieces = policy.pieces(self.ids)
        self.text = "".join(pieces)
        self._policy, self._encoder = policy, encoder
        self._ends = list(accumulate(len(piece) for piece in pieces))
        self._token_at: dict[int, int] = {}
        for i, end in enumerate(self._ends):
            self._token_at.setdefault(end - len(pieces[i]), i)
        self._found: dict[int, list[int]] = {}

    def continued(self, position: int) -> list[int]:
        """The tokens from this character on, with the end token; none if the tokenizer cannot begin there.

        A text that was cut off has no end, and none at its end.
        """
        if position not in self._found:
            first = self._token_at.get(position)
            self._found[position] = self._inside(position) if first is None else self.ids[first:]
        return self._found[position]

    def _inside(self, position: int) -> list[int]:
        token = next((i for i, end in enumerate(self._ends) if end > position), None)
        if token is None:
            return []
        rest = self.text[position : self._ends[token]]
        ids = self._encoder.ids(rest)
        before = self.ids[max(0, token - 1) : token]
        pieces = self._policy.pieces([*before, *ids])[len(before) :]
        return [*ids, *self.ids[token + 1 :]] if "".join(pieces) == rest and pieces[0] else []
