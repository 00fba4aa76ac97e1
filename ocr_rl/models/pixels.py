"""Fits page images to a model's pixel budget.

Trainer, rollout engine and evaluation all use the image that `PixelBudget.fit` returns, so that they see the same
pixels and count the same image tokens. The fitted size is a fixed point of the model's own image processor, which
leaves the image unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


LINE = 6
"""An image at least this many times as wide as high is taken for a single line of text."""
LONGEST_ASPECT = 200
"""Longer side over shorter side that image processors accept (Qwen's)."""
PADDED_ASPECT = 100
"""Of a longer page after white was added; rounding to whole image tokens stays below the limit."""


@dataclass(frozen=True)
class PixelBudget:
    """The sizes, in pixels, that a model accepts."""

    multiple: int
    """Both sides become multiples of this: the side of the square that one image token covers."""
    longest_edge: int | None = None
    """Of a processor that has no other bound."""
    longest_side: int | None = None
    """What a recipe or a preset allows the longer side, within the processor's own bounds."""
    max_pixels: int | None = None
    min_pixels: int | None = None
    line_height: int | None = None
    """A single line, and all that is lower, is brought to this height, as far as it does not become too wide; one that
    would have to be enlarged by more than a half, to two thirds of it at least. None for models that read any size."""
    page_pixels: int | None = None
    """Smaller pages, higher than a line by more than a third, are enlarged to this, since their type is small."""
    pixels_of: Callable[[int, int], int] | None = field(default=None, compare=False)
    """(width, height) -> the pixels that the image processor makes of it; None where it cannot say."""

    def fitted_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) after fitting: the same aspect ratio up to rounding, never above the budget.

        White is added below or beside a page whose longer side is more than LONGEST_ASPECT times its shorter side, or
        has more image tokens than the budget allows in all.
        """
        return self._sizes(width, height)[1]

    def _sizes(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """The size with white added, and what that is fitted to.

        It is fitted again towards the processor's own size until that stays: it may count pixels otherwise.
        """
        limits = self.max_pixels, self.min_pixels
        for _ in range(8):
            padded = self._padded_size(width, height, *limits)
            fitted = self._fitted_size(*padded, *limits)
            pixels = math.prod(fitted)
            own = self.pixels_of(*fitted) if self.pixels_of else pixels
            if own == pixels:
                break
            limits = (own, self.min_pixels) if own < pixels else (self.max_pixels, own)
        return padded, fitted

    def _padded_size(self, width: int, height: int, max_pixels: int | None, min_pixels: int | None) -> tuple[int, int]:
        """The size, or that with white added to the shorter side of a page longer than the model can take."""
        fitted = self._fitted_size(width, height, max_pixels, min_pixels)
        tokens = (max_pixels or math.inf) // self.multiple**2
        if max(fitted) <= min(LONGEST_ASPECT, tokens) * min(fitted):
            return width, height
        shortest = math.ceil(max(width, height) / min(PADDED_ASPECT, tokens))
        return max(width, shortest), max(height, shortest)

    def _fitted_size(self, width: int, height: int, max_pixels: int | None, min_pixels: int | None) -> tuple[int, int]:
        scale = 1.0
        whole: Callable[[float], int] = round  # like Qwen
        if self.longest_edge is not None:
            scale, whole = min(scale, self.longest_edge / max(width, height)), _ceil  # like Pixtral
        if self.longest_side is not None:
            scale = min(scale, self.longest_side / max(width, height))
        fitted = self._whole(width * scale, height * scale, whole)
        if self.line_height is not None and (width >= LINE * height or height * scale < self.line_height):
            pitch = min(self.line_height, max(self.line_height * 2 / 3, 1.5 * height))
            scale = min(pitch / height, (self.longest_edge or math.inf) / width)
            fitted = self._whole(width * scale, height * scale, whole)
        elif self.page_pixels and math.prod(fitted) < self.page_pixels and fitted[1] > 4 / 3 * (self.line_height or 0):
            enlarged = math.sqrt(self.page_pixels / (width * height))
            scale = min(enlarged, (self.longest_edge or math.inf) / max(width, height))
            fitted = self._whole(width * scale, height * scale, _ceil)
        if max_pixels is not None and math.prod(fitted) > max_pixels:
            scale = min(scale, math.sqrt(max_pixels / (width * height)))
            fitted = self._whole(width * scale, height * scale, math.floor)
        elif min_pixels is not None and math.prod(fitted) < min_pixels:
            scale = math.sqrt(min_pixels / (width * height))
            fitted = self._whole(width * scale, height * scale, _ceil)
        return fitted

    def _whole(self, width: float, height: float, whole: Callable[[float], int]) -> tuple[int, int]:
        """Both sides in whole image tokens, at least one."""
        columns, rows = (max(1, whole(side / self.multiple)) for side in (width, height))
        return self.multiple * columns, self.multiple * rows

    def fit(self, image: Image) -> Image:
        """The image at its fitted size, RGB, resampled once (bicubic)."""
        from PIL import Image as Images
        from PIL.Image import Resampling

        image = image.convert("RGB")
        padded, fitted = self._sizes(*image.size)
        if padded != image.size:
            page = Images.new("RGB", padded, "white")
            page.paste(image)
            image = page
        return image if fitted == image.size else image.resize(fitted, Resampling.BICUBIC)

    def tokens(self, width: int, height: int) -> int:
        """Image tokens of a page of this size after fitting."""
        width, height = self.fitted_size(width, height)
        return (width // self.multiple) * (height // self.multiple)


def _ceil(tokens: float) -> int:
    return math.ceil(tokens - 1e-9)  # 640 * (1540 / 640) / 28 is 55, not slightly more
