"""What both vLLM engines do with a page before it is sent, and with a completion that comes back."""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from ocr_rl.models.policy import Policy
from ocr_rl.types import Completion, FinishReason, Page

if TYPE_CHECKING:
    from PIL.Image import Image

READ_AHEAD = 8
"""Pages that are prepared before there is room for their rows."""
FINISH_REASONS: dict[str, FinishReason] = {"stop": "end", "length": "length", "repetition": "repetition"}
"""By vLLM's name."""


class PagePrompt(NamedTuple):
    image: Image
    """RGB, fitted to the pixel budget."""
    prompt_ids: list[int]
    """As the tokenizer gives them: an image is one token."""
    expanded_ids: list[int]
    """As the trainer reads them; the engine must arrive at the same."""


class PromptReader:
    """Fits pages to the pixel budget and tokenises them. Any thread may use it.

    Attributes:
        policy: the policy, with a tokenizer that no other thread uses.
        max_model_len: tokens of a prompt and its completion that the engine has room for.
    """

    def __init__(self, policy: Policy, max_model_len: int, advice: str) -> None:
        """`advice` tells the user how to raise max_model_len."""
        self.policy = policy.with_own_processor()
        self.max_model_len = max_model_len
        self._advice = advice
        self._lock = threading.Lock()

    def read(self, page: Page, max_tokens: int) -> PagePrompt:
        """Raises ValueError or OSError if the page cannot be read, or leaves no room for `max_tokens`."""
        with self._lock:
            image = self.policy.budget.fit(page.image)
            fitted = replace(page, open_image=lambda: image)
            prompt_ids, expanded_ids = self.policy.unexpanded_ids(fitted), self.policy.prompt_ids(fitted)
            self.policy.step_pages.rename(fitted, page)
        if len(expanded_ids) + max_tokens > self.max_model_len:
            raise ValueError(
                f"its prompt of {len(expanded_ids)} tokens and a completion of {max_tokens} exceed the engine's "
                f"{self.max_model_len}; {self._advice} or lower model.max_pixels"
            )
        return PagePrompt(image, prompt_ids, expanded_ids)


def prompt_mismatch(page: Page, engine_tokens: int, trainer_tokens: int) -> str:
    """Says that the engine and the trainer read a page as different tokens."""
    return (
        f"{page.id}: the engine's prompt ({engine_tokens} tokens) differs from the trainer's ({trainer_tokens} "
        "tokens): vLLM runs another model, or prepares this model's pages differently"
    )


def sampled_completion(
    token_ids: Sequence[int], logprobs: Sequence[float], reason: str, end_ids: Collection[int]
) -> Completion:
    """A completion as vLLM ended it, without its text: decoding is up to the thread that owns a tokenizer."""
    ended = token_ids[-1] in end_ids
    return Completion(token_ids, "", "end" if ended else FINISH_REASONS[reason], logprobs)


def pages_at_once(rows: int, group_size: int) -> int:
    """Pages to send before the first is done: those whose rows fit, and some ahead."""
    return -(-rows // group_size) + READ_AHEAD


def model_length(policy: Policy, max_model_len: int) -> int:
    """`max_model_len`, or the number of the model's positions if that is less."""
    positions: int = getattr(policy.base.config.get_text_config(), "max_position_embeddings", max_model_len)
    return min(max_model_len, positions)
