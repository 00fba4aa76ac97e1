"""Turns texts into completions, as if the policy had written them."""

from __future__ import annotations

import math

from ocr_rl.models.policy import Policy
from ocr_rl.types import Completion


class TextEncoder:
    """Tokenises texts for a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.end_id = end_id(policy)

    def completion(self, text: str, finished: bool, max_tokens: int) -> Completion:
        """The text as a completion, with an end token if it is `finished`.

        A text longer than `max_tokens` is truncated and has no end token. A completion has at least one token: an empty
        text always has its end token. Special tokens in the text are plain text, unless the policy's output format may
        be written in them and none of them is an end or an image.
        """
        ids = self.ids(text)
        ends = finished or not ids
        ids = [*ids, self.end_id] if ends else ids
        if len(ids) > max_tokens:
            ids, ends = ids[:max_tokens], False
            text = self._policy.text(ids)
        return Completion(ids, text, "end" if ends else "length", [math.nan] * len(ids))

    def ids(self, text: str) -> list[int]:
        """The text's tokens, without an end."""
        ids = self._ids(text, plain=not self._policy.writes_special_tokens)
        if not self._policy.control_ids.isdisjoint(ids):
            ids = self._ids(text, plain=True)
        return ids

    def _ids(self, text: str, plain: bool) -> list[int]:
        tokenizer = self._policy.processor.tokenizer
        ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=plain)["input_ids"]
        return ids


def end_id(policy: Policy) -> int:
    """The end token that follows an answer in the policy's chat format; otherwise the first end token."""
    if len(policy.end_ids) == 1:
        return policy.end_ids[0]
    processor = policy.processor
    question = [{"role": "user", "content": [{"type": "image"}]}]
    answer = {"role": "assistant", "content": [{"type": "text", "text": "x"}]}
    asked = processor.apply_chat_template(question, add_generation_prompt=True, tokenize=False)
    answered = processor.apply_chat_template([*question, answer], tokenize=False)
    if answered.startswith(asked):
        tail = processor.tokenizer(answered[len(asked) :], add_special_tokens=False)["input_ids"]
        for token in tail:
            if token in policy.end_ids:
                return int(token)
    return policy.end_ids[0]
