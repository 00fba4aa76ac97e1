"""What camera, scanner and file format do to a page of grey levels in [0, 1].

Arguments as in `typing.py`; strength 0 changes nothing. Skew and warp move whole columns up and down, which for the
few degrees of a scan is a rotation and keeps track of where each letter stands.
"""

from __future__ import annotations

import io

import numpy as np

from ocr_rl.data.synthetic.fields import Array, blurred, smooth_noise, to_bytes, unit


def skew(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A page laid down at an angle: up to two letter heights over sixty."""
    return displaced(page, skew_curve(page.shape[1], strength, rng, em)) if strength else page


def warp(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Lines that bend, because the sheet does."""
    return displaced(page, warp_curve(page.shape[1], strength, rng, em)) if strength else page


def skew_curve(width: int, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """How far each column moves down, in pixels: a straight line, 0 at the middle of the page."""
    slope = strength * rng.uniform(-1, 1) * 0.033
    return (slope * (np.arange(width) - width / 2)).astype(np.float32)


def warp_curve(width: int, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """How far each column moves down, in pixels: a wave of two thirds of the page or more."""
    x = np.arange(width) / width
    wave = np.sin(2 * np.pi * (x * rng.uniform(0.3, 1.5) + rng.random()))
    return (strength * rng.uniform(0.05, 0.3) * em * wave).astype(np.float32)


def displaced(page: Array, down: Array) -> Array:
    """Each column moved down by its own fraction of pixels, interpolated; edges repeat."""
    rows = np.arange(page.shape[0], dtype=np.float32)[:, None] - down[None, :]
    rows = np.clip(rows, 0, page.shape[0] - 1)
    above = rows.astype(np.int32)
    below = np.minimum(above + 1, page.shape[0] - 1)
    part = (rows - above).astype(np.float32)
    columns = np.arange(page.shape[1])[None, :]
    out: Array = page[above, columns] * (1 - part) + page[below, columns] * part
    return out


def out_of_focus(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A Gaussian of up to a tenth of the type's height."""
    return blurred(page, 0.1 * em * strength) if strength else page


def grain(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Noise of the sensor, up to a standard deviation of a twelfth of the range."""
    if not strength:
        return page
    return unit(page + np.float32(0.08 * strength) * rng.standard_normal(page.shape, dtype=np.float32))


def specks(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Dust: dark dots of about a full stop's size, and smaller."""
    if not strength:
        return page
    field = smooth_noise(page.shape, max(1.0, 0.07 * em), rng)
    return page * (1 - np.float32(0.7) * unit(6 * (field - 4.4 + 1.0 * strength)))


def low_contrast(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Black and white drawn together, around a random grey."""
    if not strength:
        return page
    keep, towards = np.float32(1 - 0.6 * strength), np.float32(rng.uniform(0.3, 0.9))
    return page * keep + towards * (1 - keep)


def jpeg(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Blocks and ringing of a JPEG file, quality 95 down to 15."""
    if not strength:
        return page
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(to_bytes(page)).save(file, "JPEG", quality=round(95 - 80 * strength))
    return np.asarray(Image.open(file), dtype=np.float32) / np.float32(255)


def resample(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Scanned at a lower resolution, down to two fifths, and enlarged again."""
    if not strength:
        return page
    from PIL import Image

    rows, columns = page.shape
    scale = 1 - 0.6 * strength
    kinds = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX)
    small = Image.fromarray(to_bytes(page)).resize(
        (max(1, round(columns * scale)), max(1, round(rows * scale))), kinds[int(rng.integers(3))]
    )
    large = small.resize((columns, rows), kinds[int(rng.integers(3))])
    return np.asarray(large, dtype=np.float32) / np.float32(255)


def binarise(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Black and white, as a fax or an old archive's scan: the share `strength` of the way there."""
    if not strength:
        return page
    paper, ink = np.percentile(page, (70, 1))
    cut = ink + (paper - ink) * rng.uniform(0.5, 0.85)
    hard = unit(0.5 + (page - np.float32(cut)) * np.float32(rng.uniform(6, 40)))
    return page + np.float32(strength) * (hard - page)


def masked_polygon(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Blank outside a ragged band, as line crops are that were cut along a polygon.

    White, black or the paper's own grey. At most a fifth of the height is lost at the top and at the bottom, and never
    more than a third of a letter's height.
    """
    if not strength:
        return page
    rows, columns = page.shape
    corners = max(2, round(columns / (em * rng.uniform(2, 8))))
    edges = []
    for _ in range(2):
        depth = np.abs(rng.normal(0, 0.5, corners)) * rng.uniform(0.2, 1)
        edges.append(np.interp(np.linspace(0, corners - 1, columns), np.arange(corners), np.clip(depth, 0, 1)))
    y = np.arange(rows)[:, None]
    reach = min(0.2 * rows, 0.35 * em) * strength
    outside = (y < edges[0][None, :] * reach) | (y > rows - 1 - edges[1][None, :] * reach)
    fill = (1.0, 1.0, 0.0, float(np.median(page)))[int(rng.integers(4))]
    return np.where(outside, np.float32(fill), page)
