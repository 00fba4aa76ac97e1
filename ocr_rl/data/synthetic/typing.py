"""What a typewriter does to letters.

Each effect takes ink, the coverage of the page in [0, 1] (0 = bare paper), a strength in [0, 1], a generator, and
`em`, the height of the type in pixels, which the size of blotches and shifts follows. Strength 0 changes nothing.
"""

from __future__ import annotations

import numpy as np

from ocr_rl.data.synthetic.fields import Array, blurred, shifted, smooth_noise, unit


def uneven_inking(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Letters and parts of letters that the ribbon printed faintly."""
    if not strength:
        return ink
    field = smooth_noise(ink.shape, 0.45 * em, rng)
    return ink * unit(1 - strength * np.clip(0.3 + 0.4 * field, 0, 0.7))


def ribbon_fade(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A ribbon that dries out and recovers over some words."""
    if not strength:
        return ink
    field = smooth_noise(ink.shape, (8 * em, 5 * em), rng)
    return ink * unit(1 - strength * np.clip(0.3 + 0.4 * field, 0, 0.65))


def ribbon_weave(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """The weave of the ribbon's cloth, as fine dots in the strokes."""
    if not strength:
        return ink
    return ink * unit(1 - strength * np.clip(smooth_noise(ink.shape, max(1.0, 0.06 * em), rng), 0, 1))


def worn_type(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Strokes with pieces missing, where the type's metal is worn."""
    if not strength:
        return ink
    field = smooth_noise(ink.shape, max(1.5, 0.1 * em), rng)
    out: Array = ink * np.clip(1 - 4 * (field - 2.6 + 1.9 * strength), 0.12, 1)
    return out


def clogged_type(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """Eyes of e and a filled with dirt, here more and there less."""
    if not strength:
        return ink
    filled = unit(2.4 * blurred(ink, 0.06 * em) - 0.6)
    out: Array = np.maximum(ink, filled * unit(strength * (0.8 + 0.5 * smooth_noise(ink.shape, 0.6 * em, rng))))
    return out


def double_stroke(ink: Array, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """A second, fainter impression beside the first: a bouncing type bar, or a carbon copy that slipped."""
    if not strength:
        return ink
    right = int(rng.choice((-1, 1)) * max(1, round(em * rng.uniform(0.03, 0.12))))
    down = round(em * rng.uniform(-0.05, 0.05))
    out: Array = np.maximum(ink, np.float32(strength) * shifted(ink, down, right))
    return out


def jumps(count: int, strength: float, rng: np.random.Generator, em: float = 24.0) -> Array:
    """How far each of `count` letters stands below its line, in pixels: some types sit high or low, all tremble."""
    tremble = rng.standard_normal(count, dtype=np.float32) * 0.02
    off = np.where(rng.random(count) < 0.15, rng.uniform(-0.12, 0.12, count), 0)
    return ((tremble + off) * strength * em).astype(np.float32)


def strikes(count: int, strength: float, rng: np.random.Generator) -> Array:
    """How much ink each of `count` letters got, in [0.4, 1], by how hard its key was struck."""
    return np.clip(1 - strength * np.abs(rng.standard_normal(count, dtype=np.float32)) * 0.3, 0.4, 1)
