"""What the sizes of the pages mean for a policy that reads lines, such as `tiny-scans`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from ocr_rl.data.images import ImageError
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.line_engine import is_line
from ocr_rl.types import Page

LOOKED_AT = 32
"""So many pages are opened."""
REDUCED = 2 / 3
"""A page that is fitted to less than this share of its width has type that is too small to be read."""


def take_sizes(policy: Policy, pages: Sequence[Page]) -> Iterator[str]:
    """Keep with a policy that reads lines whether it learns whole pages, which are then read as such; what to say.

    Lines in another format than markdown could not be put together to a page; they are pages of their own.
    """
    if policy.budget.line_height is None:
        return
    looked_at = pages[:: -(-len(pages) // LOOKED_AT)]
    whole = [size for size in map(_size, looked_at) if size and not is_line(*size)]
    mostly = 2 * len(whole) > len(looked_at)
    policy.processor.image_processor.whole_pages = mostly or policy.prompt_format.output != "markdown"
    reduced = [size for size in whole if policy.budget.fitted_size(*size)[0] < REDUCED * size[0]]
    if 2 * len(reduced) > len(looked_at):
        yield (
            "most pages are too large for the model, which reads a few lines at once: train it on lines (--level line) "
            "if layout files say where these are; `ocr-rl data align` makes such files from pages with texts"
        )


def _size(page: Page) -> tuple[int, int] | None:
    """In pixels; None of what is known to be a line, or cannot be read: reading it for training says what is wrong."""
    if page.metadata.get("level") != "line":
        with suppress(ImageError):
            return page.open_image().size
    return None
