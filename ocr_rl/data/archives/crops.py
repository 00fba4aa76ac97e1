"""Regions and lines cut out of their page, when the image is opened."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ocr_rl.data.archives.layout import Points
from ocr_rl.data.images import ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

Level = Literal["page", "region", "line"]
LEVELS: tuple[str, ...] = get_args(Level)
ASPECT = 1.05
"""How much wider an image may be than its page file says, relative to the height: rounding, or a cut-off edge."""


@dataclass(frozen=True)
class Crop:
    """What becomes a page of the dataset, and how it is cut out."""

    level: Level = "page"
    mask: bool = True
    """What is outside of the polygon is white; otherwise the box around it shows the page."""
    deskew: bool = False
    """Lines are turned until the ends of their baseline are level."""
    padding: int = 0
    """Pixels added on each side: white with `mask`, else the page's own."""


@dataclass(frozen=True)
class PageImage:
    """A page's image, if it has the shape that its layout file says."""

    opener: Callable[[], Image]
    size: tuple[int, int]
    """As the layout file says; (0, 0): it does not."""

    def __call__(self) -> Image:
        image = self.opener()
        self.scale(image)
        return image

    def scale(self, image: Image) -> tuple[float, float]:
        """Pixels for each unit of the layout file, across and down. Raises ImageError for another shape."""
        if not all(self.size):
            return 1.0, 1.0
        x, y = (pixels / units for pixels, units in zip(image.size, self.size, strict=True))
        if max(x / y, y / x) > ASPECT:
            stated, found = (f"{one[0]} x {one[1]}" for one in (self.size, image.size))
            raise ImageError("page", f"says that the page is {stated}, but its image is {found}: another shape")
        return x, y


@dataclass(frozen=True)
class CutImage:
    """A region or line of a page."""

    page: PageImage
    polygon: Points
    baseline: Points
    crop: Crop

    def __call__(self) -> Image:
        from PIL import Image, ImageDraw

        image = _page(self.page)
        x, y = self.page.scale(image)
        width, height = image.size
        points = [(min(max(px * x, 0), width), min(max(py * y, 0), height)) for px, py in self.polygon]
        angle = baseline_angle([(px * x, py * y) for px, py in self.baseline]) if self.crop.deskew else 0.0
        cos, sin = math.cos(angle), math.sin(angle)
        turned = [(px * cos + py * sin, py * cos - px * sin) for px, py in points]
        xs, ys = zip(*turned, strict=True)
        padding = self.crop.padding
        left, top = math.floor(min(xs)) - padding, math.floor(min(ys)) - padding
        size = math.ceil(max(xs)) + padding - left, math.ceil(max(ys)) + padding - top
        if min(size) <= 2 * padding:
            raise ImageError("polygon", f"polygon is outside of the image, which is {width} x {height}")
        back = (cos, -sin, left * cos - top * sin, sin, cos, left * sin + top * cos)
        resample = Image.Resampling.BICUBIC if angle else Image.Resampling.NEAREST
        cut = image.transform(size, Image.Transform.AFFINE, back, resample, fillcolor="white")
        if self.crop.mask:
            inside = Image.new("L", size)
            ImageDraw.Draw(inside).polygon([(px - left, py - top) for px, py in turned], fill=255)
            cut = Image.composite(cut, Image.new("RGB", size, "white"), inside)
        return cut


def baseline_angle(baseline: list[tuple[float, float]]) -> float:
    """The angle in radians, clockwise from level, of the straight line between the ends of a baseline.

    A baseline that was drawn from right to left counts as its reverse, so that no line is turned upside down. Text that
    runs up or down the page is turned by the direction in which its baseline was drawn. 0 without two points.
    """
    if len(baseline) < 2:
        return 0.0
    (x0, y0), (x1, y1) = baseline[0], baseline[-1]
    angle = math.atan2(y1 - y0, x1 - x0)
    return angle - math.copysign(math.pi, angle) if abs(angle) > 0.75 * math.pi else angle


def _page(page: PageImage) -> Image:
    """The page in RGB. The last one is kept, since the lines of a page are often opened one after another."""
    path = getattr(page.opener, "path", None)
    try:
        stamp: Any = path.stat().st_mtime_ns if isinstance(path, Path) else None
    except OSError:
        stamp = None  # opening says what is wrong
    return _opened(page, stamp)


@lru_cache(maxsize=1)
def _opened(page: PageImage, stamp: Any) -> Image:
    return page.opener().convert("RGB")
