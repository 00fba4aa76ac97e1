"""What a tokenizer cannot write of the references, how long they are for it, and what prompts may not hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ocr_rl.types import Page

EXAMPLES = 5
"""Characters and pages that a message names."""


def lost_characters(tokenizer: Any, text: str, ids: Sequence[int] | None = None) -> Counter[str]:
    """The characters of a text that its tokens do not give back, with their counts. `ids`: these tokens, if known."""
    if ids is None:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Counter(text) - Counter(tokenizer.decode(ids, skip_special_tokens=True))


def special_tokens(tokenizer: Any) -> list[str]:
    """The texts that the tokenizer reads as something else than text: ends, images."""
    added = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    return sorted({*added, *tokenizer.all_special_tokens})


def special_prompts(specials: Sequence[str], pages: Iterable[Page]) -> dict[str, str]:
    """The special token in the prompt of each page that has one, by page id: `Policy.prompt` refuses the page."""
    return {page.id: token for page in pages if page.prompt for token in specials if token in page.prompt}


def unwritable(
    tokenizer: Any, pages: Sequence[Page], max_tokens: int, limit: str, specials: Sequence[str] | None = None
) -> list[str]:
    """Messages: which characters of the references the tokenizer loses, which are too long, which prompts are refused.

    `limit` is what the user calls `max_tokens`, which a reference and its end token have to fit in. `specials` are what
    no prompt may hold: by default all special tokens.
    """
    lost: Counter[str] = Counter()
    where: dict[str, str] = {}
    lengths: dict[str, int] = {}
    refused: dict[str, str] = {}
    specials = special_tokens(tokenizer) if specials is None else specials
    for page in pages:  # once: each may be read from disk
        text = page.text or ""
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        counts = lost_characters(tokenizer, text, ids)
        lost += counts
        for character in counts:
            where.setdefault(character, page.id)
        lengths[page.id] = len(ids) + 1
        refused |= special_prompts(specials, [page])
    messages = []
    if lost:
        shown = [f"{c!r} {count:,} times (in {where[c]})" for c, count in lost.most_common(EXAMPLES)]
        named = f"{', '.join(shown)}{_more(len(lost))}"
        messages.append(f"the model's tokenizer cannot write {lost.total():,} characters of the references: {named}")
    if long := [f"{page} ({length:,})" for page, length in lengths.items() if length > max_tokens]:
        named = f"{', '.join(long[:EXAMPLES])}{_more(len(long))}"
        messages.append(f"{len(long):,} references are longer than the {max_tokens:,} tokens of {limit}: {named}")
    if refused:
        shown = [f"{page} ({token})" for page, token in refused.items()]
        named = f"{', '.join(shown[:EXAMPLES])}{_more(len(shown))}"
        messages.append(f"{len(refused):,} pages are refused, since their prompts hold special tokens: {named}")
    return messages


def _more(count: int) -> str:
    return f" and {count - EXAMPLES:,} more" if count > EXAMPLES else ""
