"""Images of numbers (16 or 32 bits, or float) and of L*a*b* colours, as what a person sees."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image

DEPTHS = (8, 10, 12, 14, 16, 24, 32, 128)
"""Bits that a scanner or program may have written."""


def grey_levels(image: Image) -> Image:
    """An image of one number per pixel as 8 bits of grey.

    The scale is the smallest that holds the highest number: 1 for floats, else 8, 10, 12, 14, 16, 24 or 32 bits. Paper
    is light, and scanners write 12 bits into 16. With numbers below 0, the scale is from the lowest to the highest.

    Raises ValueError for numbers that are not finite.
    """
    lowest, highest = cast("tuple[float, float]", image.getextrema())
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise ValueError("holds numbers that are not finite")
    if lowest < 0:
        scale = 255 / max(highest - lowest, 1e-9)
        offset = -lowest * scale
        return image.convert("F").point(lambda level: level * scale + offset).convert("L")
    if image.mode == "F" and highest <= 1:
        return image.point(lambda level: level * 255).convert("L")
    steps = 2 ** (next(bits for bits in DEPTHS if highest < 2**bits) - 8)
    return image.point(lambda level: level / steps).convert("L")


def lab_to_rgb(image: Image) -> Image:
    from PIL import ImageCms

    lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    assert converted is not None
    return converted
