"""What print, and ink on paper in general, does to letters. Arguments as in `typing.py`."""

from __future__ import annotations

import numpy as np

from ocr_rl.data.synthetic.fields import Array, blurred, shifted, smooth_noise, unit


def ink_spread(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Ink that runs into the paper: every stroke fatter, by up to a twelfth of the type's height."""
    if not strength:
        return ink
    grown = unit(2 * blurred(ink, max(0.4, 0.045 * em)) - 0.2)
    out: Array = ink + np.float32(strength) * np.maximum(grown - ink, 0)
    return out


def thin_ink(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Strokes that lost their edges, as on a copy exposed too long."""
    if not strength:
        return ink
    shrunk = unit(2.2 * blurred(ink, max(0.4, 0.04 * em)) - 0.9)
    out: Array = ink - np.float32(strength) * np.maximum(ink - shrunk, 0)
    return out


def broken_letters(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Gaps in strokes: wavy bands a fraction of a letter apart in which nothing printed."""
    if not strength:
        return ink
    band = np.abs(smooth_noise(ink.shape, (0.35 * em, 0.5 * em), rng))
    return ink * np.clip(0.2 + band / max(0.16 * strength, 1e-9), 0, 1)


def show_through(page: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """The other side of the sheet, or the ink of a sheet that lay on it. Takes a page of grey levels in [0, 1]."""
    if not strength:
        return page
    other = 1 - page / max(1e-3, float(np.median(page)))
    if rng.random() < 0.5:
        other = other[:, ::-1]
    down, right = round(rng.uniform(-0.8, 0.8) * em), round(rng.uniform(-4, 4) * em)
    faint = blurred(shifted(unit(other), down, right), 0.06 * em)
    return unit(page - np.float32(0.3 * strength) * faint)
