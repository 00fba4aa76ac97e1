"""What lies under, over and around the letters: a page is an array of grey levels in [0, 1], 1 = white.

Arguments as in `typing.py`; strength 0 changes nothing.
"""

from __future__ import annotations

import math

import numpy as np

from ocr_rl.data.synthetic.fields import Array, blurred, smooth_noise, unit


def texture(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Fibres and clouds of the paper."""
    if not strength:
        return page
    fibres = smooth_noise(page.shape, (max(1.0, 0.08 * em), max(1.5, 0.2 * em)), rng)
    clouds = smooth_noise(page.shape, 1.5 * em, rng)
    return unit(page + np.float32(0.04 * strength) * (fibres + clouds))


def stains(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Brown patches with a dark edge, from damp or coffee."""
    if not strength:
        return page
    field = smooth_noise(page.shape, 4 * em, rng) + 0.25 * smooth_noise(page.shape, 0.6 * em, rng)
    inside, edge = field > 1.0, np.abs(field - 1.0) < 0.12
    return unit(page * (1 - np.float32(0.3 * strength) * (0.6 * inside + 0.4 * edge).astype(np.float32)))


def folds(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A crease across the page, dark on one side and light on the other."""
    if not strength:
        return page
    away = _distance(page.shape, rng) / max(1.0, 0.12 * em)
    crease = np.exp(-(away**2)) * 0.7 + np.exp(-np.abs(away) / 4) * np.sign(away) * 0.3
    return unit(page - np.float32(0.35 * strength) * crease)


def gutter_shadow(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Darkness towards one side, where a book's spine or a page's lifted edge was."""
    if not strength:
        return page
    reach = np.linspace(0, 1, page.shape[1], dtype=np.float32) ** rng.uniform(1, 6)
    if rng.random() < 0.5:
        reach = reach[::-1]
    return unit(page * (1 - np.float32(0.5 * strength) * reach))


def punched_holes(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A hole at the left or right edge of the page, through which the scanner's lid shows."""
    if not strength:
        return page
    radius = em * rng.uniform(0.4, 0.9)
    x = rng.uniform(-0.4, 0.3) * radius
    x = x if rng.random() < 0.5 else page.shape[1] - x
    inside = _disc(page.shape, rng.uniform(0, page.shape[0]), x, radius)
    lid = np.float32(rng.choice((0.05, 0.3, 0.95)))
    return page + np.float32(strength) * inside * (lid - page)


def rulings(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Printed or drawn lines: under the text, or a frame's vertical beside it."""
    if not strength:
        return page
    rows, columns = page.shape
    page = page.copy()
    thick = max(1, round(em * rng.uniform(0.03, 0.09)))
    dark = np.float32(1 - strength * rng.uniform(0.3, 0.9))
    if rng.random() < 0.6:
        y, begin = int(rng.uniform(0.75, 1.0) * rows), int(rng.uniform(-0.5, 0.6) * columns)
        page[y : y + thick, max(0, begin) : max(0, begin) + int(rng.uniform(0.2, 1.0) * columns)] *= dark
    else:
        x = int(rng.choice((rng.uniform(0, 0.3 * em), columns - rng.uniform(0, 0.3 * em))))
        page[:, x : x + thick] *= dark
    return page


def stamp(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Part of a round rubber stamp over the text: two rings and a bar, unevenly inked."""
    if not strength:
        return page
    rows, columns = page.shape
    radius = em * rng.uniform(1.5, 4)
    y, x = np.ogrid[:rows, :columns]
    away = np.hypot(y - rng.uniform(-1, rows + 1), x - rng.uniform(0, columns)).astype(np.float32)
    line = max(1.0, 0.06 * em)
    rings = (np.abs(away - radius) < line) | (np.abs(away - 0.7 * radius) < 0.7 * line)
    inked = rings.astype(np.float32) * unit(0.6 + 0.4 * smooth_noise(page.shape, 0.5 * em, rng))
    return page * (1 - np.float32(0.6 * strength) * blurred(inked, 0.5))


def _distance(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Signed distance of each pixel to a line through the page, upright more often than not."""
    angle = rng.normal(0, 0.15) + (math.pi / 2 if rng.random() < 0.3 else 0)
    y, x = np.ogrid[: shape[0], : shape[1]]
    at = (rng.uniform(0, shape[0]), rng.uniform(0, shape[1]))
    away: Array = ((x - at[1]) * math.cos(angle) + (y - at[0]) * math.sin(angle)).astype(np.float32)
    return away


def _disc(shape: tuple[int, int], y: float, x: float, radius: float) -> Array:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    away = np.hypot(rows - y, columns - x)
    return unit((radius - away + 0.5).astype(np.float32))
