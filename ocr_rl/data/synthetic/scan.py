"""Pages that look scanned: a face, lines of text, and the effects of type, print, paper and scanner, by chance.

`render_scan` draws one page or line crop from a seed; a `Look` says which effects it may have and how strong they
get. Ink is drawn first and bent with the sheet, then the ink's effects, then the page's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from ocr_rl.data.synthetic import paper, printing, scanning, typing
from ocr_rl.data.synthetic.fields import Array, to_bytes
from ocr_rl.data.synthetic.text import Line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

Range = tuple[float, float]
EffectFunction = Callable[..., Any]
Center = tuple[str, float, float]
"""A character, and the x and y of its centre in pixels."""


@dataclass(frozen=True)
class Effect:
    apply: EffectFunction
    """(array, strength, generator, em) -> array."""
    chance: float
    strength: Range = (0.0, 1.0)


@dataclass(frozen=True)
class Look:
    """What may happen to a page, in this order. Ranges are drawn from uniformly, once per page."""

    ink_effects: tuple[Effect, ...]
    page_effects: tuple[Effect, ...]
    monospaced: bool = True
    """Every letter gets the same width, as on a typewriter."""
    jump: Range = (0, 0)
    strike: Range = (0, 0)
    paper: Range = (0.7, 1.0)
    ink: Range = (0.0, 0.4)
    """Grey levels of bare paper and of solid ink."""
    skew: Range = (0, 0.4)
    warp: Range = (0, 0.5)
    stretch: Range = (0.85, 1.15)
    """Width of the letters over that of the face."""


_PAGE = (
    Effect(printing.show_through, 0.12, (0.2, 1)),
    Effect(paper.texture, 0.5),
    Effect(paper.stains, 0.06, (0.2, 1)),
    Effect(paper.folds, 0.05, (0.2, 1)),
    Effect(paper.gutter_shadow, 0.12),
    Effect(paper.rulings, 0.06, (0.2, 1)),
    Effect(paper.stamp, 0.04, (0.2, 0.8)),
    Effect(paper.punched_holes, 0.02, (1, 1)),
    Effect(scanning.specks, 0.15),
    Effect(scanning.out_of_focus, 0.5),
    Effect(scanning.low_contrast, 0.25, (0, 0.8)),
    Effect(scanning.resample, 0.25),
    Effect(scanning.grain, 0.5, (0, 0.8)),
    Effect(scanning.binarise, 0.3, (0.6, 1)),
    Effect(scanning.masked_polygon, 0.25, (0.2, 1)),
    Effect(scanning.jpeg, 0.5),
)

TYPESCRIPT = Look(
    ink_effects=(
        Effect(printing.ink_spread, 0.55),
        Effect(typing.clogged_type, 0.25, (0.2, 1)),
        Effect(printing.thin_ink, 0.15, (0.2, 0.9)),
        Effect(typing.double_stroke, 0.1, (0.1, 0.5)),
        Effect(typing.uneven_inking, 0.6),
        Effect(typing.ribbon_fade, 0.3),
        Effect(typing.ribbon_weave, 0.3, (0, 0.7)),
        Effect(typing.worn_type, 0.25, (0.1, 0.9)),
        Effect(printing.broken_letters, 0.08, (0.2, 0.8)),
    ),
    page_effects=_PAGE,
    jump=(0, 1),
    strike=(0, 1),
)

PRINT = Look(
    ink_effects=(
        Effect(printing.ink_spread, 0.4),
        Effect(typing.clogged_type, 0.1, (0.2, 1)),
        Effect(printing.thin_ink, 0.15, (0.2, 0.8)),
        Effect(typing.uneven_inking, 0.3, (0, 0.7)),
        Effect(typing.worn_type, 0.15, (0.1, 0.7)),
        Effect(printing.broken_letters, 0.15, (0.2, 0.8)),
    ),
    page_effects=_PAGE,
    monospaced=False,
    jump=(0, 0.1),
)


LEGIBLE = 0.35
"""What the ink's effects together leave of every stroke, at least."""


@dataclass(frozen=True)
class Frame:
    """Where a page is cut around its lines, in letter heights (em)."""

    left: Range = (0.1, 1.2)
    right: Range = (0.1, 1.2)
    top: Range = (0.05, 0.9)
    bottom: Range = (0.0, 0.8)
    leading: Range = (1.05, 2.2)
    """Line pitch."""


@dataclass(frozen=True)
class Scan:
    image: Image
    """8-bit grey."""
    text: str
    centers: tuple[Center, ...]
    """Where each character of the text stands."""


def render_scan(
    seed: int | str,
    lines: Sequence[Line],
    font: FreeTypeFont,
    look: Look,
    frame: Frame = Frame(),
    around: tuple[str, str] | None = None,
) -> Scan:
    """One page. `around` are the lines above and below it, of which the frame may show a part."""
    from PIL import Image

    rng = np.random.default_rng(Random(seed).getrandbits(64))
    ink, centers, em = _typed(rng, lines, font, look, frame, around)
    page, centers = scanned(ink, centers, look, rng, em)
    return Scan(Image.fromarray(to_bytes(page)), "\n".join(line.text for line in lines), tuple(centers))


def scanned(
    ink: Array, centers: Sequence[Center], look: Look, rng: np.random.Generator, em: float
) -> tuple[Array, list[Center]]:
    """Ink -> a page of grey levels, and where its characters stand once the sheet is bent."""
    bend = scanning.skew_curve(ink.shape[1], rng.uniform(*look.skew), rng, em)
    bend = bend + scanning.warp_curve(ink.shape[1], rng.uniform(*look.warp), rng, em)
    centers = list(centers)
    if np.abs(bend).max() > 0.3:
        ink = scanning.displaced(ink, bend)
        centers = [(c, x, y + float(bend[min(max(int(x), 0), len(bend) - 1)])) for c, x, y in centers]
    ink = np.maximum(applied(look.ink_effects, ink, rng, em), np.float32(LEGIBLE) * ink)
    bare, solid = rng.uniform(*look.paper), rng.uniform(*look.ink)
    page = np.float32(bare) - np.float32(bare - min(solid, bare - 0.25)) * ink
    return applied(look.page_effects, page, rng, em), centers


def applied(effects: Sequence[Effect], array: Array, rng: np.random.Generator, em: float) -> Array:
    """The array after those of the effects that chance chooses."""
    for effect in effects:
        if rng.random() < effect.chance:
            array = effect.apply(array, rng.uniform(*effect.strength), rng, em)
    return array


def _typed(
    rng: np.random.Generator,
    lines: Sequence[Line],
    font: FreeTypeFont,
    look: Look,
    frame: Frame,
    around: tuple[str, str] | None,
) -> tuple[Array, list[Center], float]:
    """Coverage of the page, where its characters stand, and the height of the type in pixels."""
    from PIL import Image, ImageDraw

    em = float(font.size)
    pitch = em * rng.uniform(*frame.leading)
    left, right, top, bottom = (em * rng.uniform(*side) for side in (frame.left, frame.right, frame.top, frame.bottom))
    cell = font.getlength("n") * rng.uniform(0.95, 1.12)
    drawn = [line.drawn for line in lines]
    longest = max(
        len(text) * cell if look.monospaced else font.getlength(text) + 0.03 * em * len(text) for text in drawn
    )
    width, height = int(left + longest + right) + 1, int(top + pitch * (len(lines) - 1) + em + bottom) + 1
    mask = Image.new("L", (width, height), 0)
    pen = ImageDraw.Draw(mask)
    pen.fontmode = "L"
    ascent = font.getmetrics()[0]
    # letters hang from their baseline, which stands four fifths down the em
    lift = 0.8 * em - ascent
    one, zero = rng.random() < 0.25, rng.random() < 0.04
    twins = {"1": "l"} if one and look.monospaced else {}
    twins |= {"0": "O"} if zero and look.monospaced else {}
    jump, strike, tracking = rng.uniform(*look.jump), rng.uniform(*look.strike), rng.uniform(-0.01, 0.03) * em
    placed = [(i, text, True) for i, text in enumerate(drawn)]
    if around:
        placed += [(-1, around[0], False), (len(drawn), around[1], False)]
    centers: list[Center] = []
    for i, text, own in placed:
        x, y = left if own else left + em * rng.uniform(-3, 3), top + i * pitch
        if not own and not (y + 1.1 * em > 0 and y < height):
            continue
        down, pressure = typing.jumps(len(text), jump, rng, em), typing.strikes(len(text), strike, rng)
        sway = 0.02 * em * jump * rng.standard_normal(len(text))
        over = rng.random(len(text)) < (0.006 if look.monospaced else 0)
        for k, character in enumerate(text):
            glyph = twins.get(character, character)
            advance = font.getlength(glyph)
            at = x + (cell - advance) / 2 + sway[k] if look.monospaced else x
            if character != " ":
                spot = (max(0.0, at), y + lift + down[k])
                if over[k]:
                    pen.text(spot, str(rng.choice(list("xeanriost"))), font=font, fill=int(255 * rng.uniform(0.2, 0.6)))
                pen.text(spot, glyph, font=font, fill=int(255 * pressure[k]))
                if own:
                    centers.append((character, at + advance / 2, y + 0.52 * em + down[k]))
            x += cell if look.monospaced else advance + tracking
    stretch = rng.uniform(*look.stretch)
    if abs(stretch - 1) > 0.03:
        mask = mask.resize((max(8, round(width * stretch)), height), Image.Resampling.BILINEAR)
        centers = [(c, x * stretch, y) for c, x, y in centers]
    return np.asarray(mask, dtype=np.float32) / np.float32(255), centers, em
