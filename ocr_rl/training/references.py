"""The known texts of pages: those that an algorithm needs, and one as one more completion of its page's group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ocr_rl.data.indexed import flags, where
from ocr_rl.models.policy import Policy
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.types import Group, Page

PAGES_NAMED = 5
"""How many pages an error names."""


def require_texts(pages: Sequence[Page], algorithm: str = "sft") -> None:
    """Raises ValueError if a page has no text to learn."""
    without = where(pages, ~flags(pages, "has_text"))
    if without:
        named = ", ".join(page.id for page in without[:PAGES_NAMED])
        more = f" and {len(without) - PAGES_NAMED} more" if len(without) > PAGES_NAMED else ""
        raise ValueError(
            f"{len(without)} of {len(pages)} pages to train on have no text: {named}{more}. "
            f'algorithm "{algorithm}" learns texts: add some, leave these pages out with --where, or learn by "grpo" '
            "from tests"
        )


class References:
    """The texts of training pages as completions. They have no sampling log probabilities: no engine has drawn them."""

    def __init__(self, policy: Policy, pages: Sequence[Page], reward_function: RewardFunction, max_tokens: int) -> None:
        """Raises ValueError if a page has no text, or one of more than `max_tokens` tokens with its end token."""
        self.reward_function = reward_function
        encoder = TextEncoder(policy)
        self.completions = {}
        for page in pages:
            if page.text is None:
                raise ValueError(
                    f"{page.id} has no text, and grpo.reference_in_group adds the text of every page to its group; "
                    "leave such pages out, or write grpo.reference_in_group = false"
                )
            self.completions[page.id] = completion = encoder.completion(page.text, True, max_tokens)
            if not completion.finished:
                raise ValueError(
                    f"{page.id}: its text has more than rollout.max_tokens = {max_tokens} tokens, so it cannot be in "
                    "the group of its page (grpo.reference_in_group); raise rollout.max_tokens"
                )

    def joined(self, scored: ScoredGroup) -> ScoredGroup:
        """The group with the page's text at the end, scored like any completion."""
        page = scored.group.page
        reference = self.completions[page.id]
        score = self.reward_function.score(page, reference)
        return replace(
            scored,
            group=Group(page, [*scored.group.completions, reference]),
            scores=[*scored.scores, score],
            rewards=[*scored.rewards, score.reward],
        )
