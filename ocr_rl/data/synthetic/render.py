"""Renders invented documents as page images, with their text and unit tests. The same seed gives the same pages.

A `Layout` says what is on a page, a `Style` how it looks; `render_page` draws one page from both and a seed,
`render_collection` writes many as a dataset that `ocr_rl.data.loading` reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ocr_rl.data.synthetic import words
from ocr_rl.data.synthetic.fields import to_bytes
from ocr_rl.data.synthetic.scan import PRINT, TYPESCRIPT, Center, Look, scanned
from ocr_rl.data.synthetic.structure import Ink, formulas, table
from ocr_rl.data.synthetic.typefaces import FACES, face_alphabet, load_face

if TYPE_CHECKING:
    from PIL.Image import Image

Range = tuple[float, float]
LayoutKind = Literal["lines", "columns", "table", "html-table", "formulas"]
"""Lines of one or two columns; a table, transcribed in Markdown or HTML; equations, transcribed in LaTeX."""


@dataclass(frozen=True)
class Layout:
    """What is on a page. Ranges are inclusive, in characters or lines."""

    kind: LayoutKind = "lines"
    lines: tuple[int, int] = (3, 6)
    characters: tuple[int, int] = (14, 30)
    """Per line; per column line of two columns. Tables and formulas have sizes of their own."""
    header: float = 0.0
    """Share of pages with a running header above the text, which a transcription leaves out."""
    page_number: float = 0.0
    """Share of pages with a page number below the text, which a transcription leaves out."""
    random_strings: float = 0.1
    """Share of tokens that are random strings, which cannot be guessed."""

    def __post_init__(self) -> None:
        for name, (low, high) in {"lines": self.lines, "characters": self.characters}.items():
            if not 1 <= low <= high:
                raise ValueError(
                    f"{name} from {low} to {high}; write the lower number, at least 1, and then the higher"
                )


@dataclass(frozen=True)
class Style:
    """How a page looks. A value is drawn uniformly from each range, once per page."""

    faces: tuple[str, ...] = tuple(FACES)
    font_size: Range = (11, 15)
    """Pixels per em."""
    leading: Range = (1.2, 1.5)
    """Line pitch over font size."""
    paper: Range = (215, 255)
    """Grey level of the page, 255 = white."""
    ink: Range = (0, 80)
    """Grey level of solid ink, 0 = black."""
    noise: Range = (0, 8)
    """Standard deviation of the grain, in grey levels."""
    blur: Range = (0, 0.5)
    """Gaussian radius in pixels."""
    skew: Range = (0, 0)
    """Degrees of rotation, either way."""
    worn: Range = (0, 0)
    """Share of the ink that is missing, as from worn type."""
    spread: Range = (0, 0)
    """How far ink bleeds: 0 not at all, 1 by a pixel in each direction."""
    ghost: Range = (0, 0)
    """Strength of the second, shifted impression of a carbon copy."""
    shade: Range = (0, 0)
    """Grey levels by which one side of the page is darker than the other."""
    jitter: float = 0.0
    """Probability that a character is a pixel above or below its line, as on a typewriter."""
    remnants: float = 0.0
    """Probability that the page shows remnants of the line above, as line crops do."""
    look: Look | None = None
    """Effects of typing, paper and scanning. A look has its own paper and ink, and replaces `spread` to `shade`."""


STYLES: dict[str, Style] = {
    "clean": Style(noise=(0, 2), blur=(0, 0), ink=(0, 20), paper=(245, 255)),
    "print": Style(),
    "scan": Style(blur=(0.3, 0.8), skew=(0, 1.0), noise=(2, 10), shade=(0, 40)),
    "carbon": Style(
        faces=("typewriter", "typewriter-bold", "mono", "mono-bold"),
        font_size=(13, 16),
        paper=(175, 210),
        ink=(60, 100),
        noise=(4, 9),
        blur=(0.4, 0.7),
        skew=(0.2, 0.8),
        worn=(0.03, 0.12),
        ghost=(0.1, 0.3),
        jitter=0.1,
    ),
    "typescript": Style(
        faces=("typewriter", "typewriter-bold", "mono"),
        font_size=(14, 19),
        leading=(1.1, 1.9),
        jitter=0.1,
        look=TYPESCRIPT,
    ),
    "old-print": Style(
        faces=("serif", "book", "book-bold", "book-italic", "roman", "roman-bold"), font_size=(14, 18), look=PRINT
    ),
}
"""The styles that `ocr-rl render --style` knows."""


@dataclass(frozen=True)
class RenderedPage:
    image: Image
    """8-bit grey; both sides are multiples of 16 pixels."""
    text: str
    """The body, one line for each printed line or formula; without headers and page numbers."""
    tests: tuple[dict[str, Any], ...]
    """olmOCR-bench records without `pdf`, `page` and `id`, which the collection adds."""
    centers: tuple[Center, ...]
    """The centre of each character, headers included, in pixels; before skew, unless the style has a look."""


def render_page(seed: int | str, layout: Layout, style: Style) -> RenderedPage:
    """One page. The same seed, layout and style give the same pixels, text and tests."""
    rng = Random(seed)
    face = rng.choice(style.faces)
    inks, text, tests = _compose(rng, face, layout)
    mask, centers = _draw(rng, inks, face, style)
    if style.look is not None:
        image, centers = _scan(rng, mask, centers, style.look, sum(style.font_size) / 2)
        return RenderedPage(image, text, tuple(tests), centers)
    return RenderedPage(_impress(rng, mask, style), text, tuple(tests), centers)


def _compose(rng: Random, face: str, layout: Layout) -> tuple[list[Ink], str, list[dict[str, Any]]]:
    """The text on the page with its positions, the reference text, and the unit tests."""
    alphabet = face_alphabet(face)
    count = rng.randint(*layout.lines)

    def lines(shortest: int, longest: int) -> list[str]:
        return [words.line(rng, alphabet, shortest, longest, layout.random_strings) for _ in range(count)]

    tests: list[dict[str, Any]] = [{"type": "baseline"}]
    if layout.kind in ("table", "html-table"):
        (inks, text), cells = table(rng, alphabet, count, "markdown" if layout.kind == "table" else "html")
        i, j = rng.randrange(count), rng.randrange(1, 3)
        tests.append({"type": "table", "cell": cells[i][j], "left": cells[i][j - 1]})
    elif layout.kind == "formulas":
        (inks, text), latex = formulas(rng, face, count)
        tests += [{"type": "math", "math": formula} for formula in latex]
    else:
        body = lines(*layout.characters)
        if layout.kind == "columns":
            right = lines(*layout.characters)
            step = 0.62 * max(map(len, body)) + 2
            inks = [Ink(s, i) for i, s in enumerate(body)] + [Ink(s, i, step) for i, s in enumerate(right)]
            body = body + right
        else:
            inks = [Ink(s, i) for i, s in enumerate(body)]
        text = "\n".join(body)
        tests += [{"type": "present", "text": s, "max_diffs": 0} for s in body if _has_word(s)]
        first, last = body[0], body[-1]
        if len(body) > 1 and first != last and _has_word(first) and _has_word(last):
            slack = min(2, len(first) // 2, len(last) // 2)
            tests.append({"type": "order", "before": first, "after": last, "max_diffs": slack})

    if rng.random() < layout.header:
        header = words.line(rng, alphabet, 8, 16, 0.0).upper()
        inks = [Ink(header, 0, 2)] + [replace(ink, line=ink.line + 1.6) for ink in inks]
        if set(header) <= set(alphabet) and header not in text:
            tests.append({"type": "absent", "text": header, "max_diffs": 0})
    if rng.random() < layout.page_number:
        page_number = f"- {rng.randint(1, 999)} -"
        inks.append(Ink(page_number, max(ink.line for ink in inks) + 1.6, 4))
        tests.append({"type": "absent", "text": page_number, "max_diffs": 0})
    return inks, text, tests


def _has_word(text: str) -> bool:
    """False for a line that text normalisation could empty or change (emphasis marks, tags)."""
    return any(c.isalnum() for c in text) and not any(c in "*_<>#|`" for c in text)


def _draw(rng: Random, inks: Sequence[Ink], face: str, style: Style) -> tuple[Image, tuple[Center, ...]]:
    """The ink of the page as coverage (0 = paper, 255 = solid), and the centre of each character."""
    from PIL import Image, ImageDraw

    size = round(rng.uniform(*style.font_size))
    font = load_face(face, size)
    pitch = max(size + 2, round(size * rng.uniform(*style.leading)))
    left, top = (max(2, round(size * rng.uniform(0.3, 1.0))) for _ in range(2))
    fonts = {ink.scale: load_face(face, max(1, round(ink.scale * size))) for ink in inks}
    width = max(left + (ink.column + ink.rule) * size + fonts[ink.scale].getlength(ink.text) for ink in inks) + left
    height = top + pitch * (max(ink.line for ink in inks) + 1) + top // 2
    mask = Image.new("L", (_ceil16(width), _ceil16(height)), 0)
    pen = ImageDraw.Draw(mask)
    centers: list[Center] = []
    for ink in inks:
        x, y = left + ink.column * size, top + ink.line * pitch + ink.drop * size
        font = fonts[ink.scale]
        if ink.rule:
            pen.line((x, y, x + ink.rule * size, y), fill=255, width=max(1, size // 12))
        if not style.jitter:
            pen.text((x, y), ink.text, font=font, fill=255)
        for character in ink.text:
            advance = font.getlength(character)
            if style.jitter:
                off = rng.choice((-1, 1)) if rng.random() < style.jitter else 0
                pen.text((x, y + off), character, font=font, fill=255)
            centers.append((character, x + advance / 2, y + 0.6 * ink.scale * size))
            x += advance
    if rng.random() < style.remnants:
        above = words.line(rng, face_alphabet(face), 1, 60)
        pen.text((left, top - pitch - rng.randint(-2, 1)), above, font=load_face(face, size), fill=255)
    return mask, tuple(centers)


def _impress(rng: Random, mask: Image, style: Style) -> Image:
    """Turns ink coverage into a photographed page: spread, wear, ghost, skew, blur, then paper, shade and grain."""
    from PIL import Image, ImageFilter

    grain = np.random.default_rng(rng.getrandbits(64))
    spread, worn, ghost = (rng.uniform(*r) for r in (style.spread, style.worn, style.ghost))
    if spread:
        mask = Image.blend(mask, mask.filter(ImageFilter.MaxFilter(3)), spread)
    if ghost:
        shifted = mask.transform(mask.size, Image.Transform.AFFINE, (1, 0, rng.choice((-2, 2)), 0, 1, -1))
        mask = Image.fromarray(np.maximum(np.asarray(mask), (np.asarray(shifted) * ghost).astype(np.uint8)))
    if worn:
        mask = Image.fromarray((np.asarray(mask) * _wear(grain, mask.size, worn)).astype(np.uint8))
    if any(style.skew):
        angle = rng.uniform(*style.skew) * rng.choice((-1, 1))
        mask = mask.rotate(angle, resample=Image.Resampling.BICUBIC)
    radius = rng.uniform(*style.blur)
    if radius > 0.2:
        mask = mask.filter(ImageFilter.GaussianBlur(radius))
    coverage = np.asarray(mask, dtype=np.float32) / 255
    paper, ink = rng.uniform(*style.paper), rng.uniform(*style.ink)
    page = paper - (paper - ink) * coverage
    shade = rng.uniform(*style.shade) * rng.choice((-1, 1))
    if shade:
        page += shade * (np.linspace(-0.5, 0.5, page.shape[1], dtype=np.float32))
    sd = rng.uniform(*style.noise)
    if sd:
        page += sd * grain.standard_normal(page.shape, dtype=np.float32)
    return Image.fromarray(np.clip(page + 0.5, 0, 255).astype(np.uint8))


def _scan(
    rng: Random, mask: Image, centers: Sequence[Center], look: Look, em: float
) -> tuple[Image, tuple[Center, ...]]:
    """Ink coverage -> a scanned page, and where its characters stand on it."""
    from PIL import Image

    ink = np.asarray(mask, dtype=np.float32) / np.float32(255)
    page, moved = scanned(ink, centers, look, np.random.default_rng(rng.getrandbits(64)), em)
    return Image.fromarray(to_bytes(page)), tuple(moved)


def _wear(grain: np.random.Generator, size: tuple[int, int], worn: float) -> np.ndarray:
    """(height, width) factors in [0, 1]: patches of a few pixels, of which a share of `worn` is nearly blank."""
    from PIL import Image

    width, height = size
    patches = grain.random((math.ceil(height / 3), math.ceil(width / 3)), dtype=np.float32)
    keep = Image.fromarray((255 * np.clip((patches - worn) * 8 + 0.5, 0.15, 1)).astype(np.uint8))
    return np.asarray(keep.resize(size, Image.Resampling.BILINEAR), dtype=np.float32) / 255


def _ceil16(pixels: float) -> int:
    """Most image processors do not resample an image whose sides are multiples of 16."""
    return 16 * math.ceil(pixels / 16)


def render_collection(
    out: Path,
    pages: int,
    *,
    seed: int,
    layouts: Sequence[Layout],
    style: Style,
    name: str = "rendered",
    texts: bool = True,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> None:
    """Write `pages` pages to `out`: `images/`, `metadata.jsonl` and `tests.jsonl` (olmOCR-bench records).

    Page i has layout i modulo their number, and depends only on `seed` and i. Without `texts`, the pages have only
    tests.
    """
    for face in style.faces:
        load_face(face, 10)  # a package that is missing is named before anything is written
    (out / "images").mkdir(parents=True, exist_ok=True)
    rows, tests = [], []
    for i in progress(range(pages)):
        layout = layouts[i % len(layouts)]
        page = render_page(f"{seed}:{i}", layout, style)
        file_name = f"images/{name}_{i:05d}.png"
        page.image.save(out / file_name)
        text = {"text": page.text} if texts else {}
        rows.append({"file_name": file_name, **text, "source": name, "level": "page", "doc": f"{name}_{i:05d}"})
        for n, test in enumerate(page.tests):
            record = {"pdf": file_name, "page": 1, "id": f"{name}_{i:05d}_{n:02d}"}
            tests.append(record | test)
    for file, records in (("metadata.jsonl", rows), ("tests.jsonl", tests)):
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (out / file).write_text("".join(lines), encoding="utf-8")
