"""Building blocks of the effects: smooth random fields, blurs and shifts of float32 arrays (height, width)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


def smooth_noise(shape: tuple[int, int], cell: float | tuple[float, float], rng: np.random.Generator) -> Array:
    """A field of about standard deviation 1 that changes over `cell` pixels, or over (rows, columns) of them."""
    from PIL import Image

    down, across = cell if isinstance(cell, tuple) else (cell, cell)
    height, width = shape
    rows, columns = math.ceil(height / max(down, 1)) + 1, math.ceil(width / max(across, 1)) + 1
    grid = Image.fromarray(1.4 * rng.standard_normal((rows, columns), dtype=np.float32))
    box = (0.0, 0.0, min(columns, width / max(across, 1) + 0.01), min(rows, height / max(down, 1) + 0.01))
    return np.asarray(grid.resize((width, height), Image.Resampling.BILINEAR, box=box), dtype=np.float32)


def blurred(array: Array, radius: float) -> Array:
    """The array after a Gaussian of `radius` pixels; values in [0, 1] to a precision of 1/255."""
    from PIL import Image, ImageFilter

    image = Image.fromarray(to_bytes(array)).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def shifted(array: Array, down: int, right: int, fill: float = 0.0) -> Array:
    """The array moved by whole pixels, `fill` where nothing moved in."""
    out = np.full_like(array, fill)
    height, width = array.shape
    if abs(down) < height and abs(right) < width:
        out[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = array[
            max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
    return out


def to_bytes(array: Array) -> NDArray[np.uint8]:
    """[0, 1] -> 0..255, clipped."""
    return (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)


def unit(array: Array) -> Array:
    """Clipped to [0, 1]."""
    return np.clip(array, 0, 1)
