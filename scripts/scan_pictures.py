"""Draw the pictures of docs/scans.md: each effect at strength 0, 1/2 and 1, and whole scans.

python scripts/scan_pictures.py docs/scans
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from ocr_rl.data.synthetic import paper, printing, scanning, typing
from ocr_rl.data.synthetic.fields import to_bytes
from ocr_rl.data.synthetic.scan import PRINT, TYPESCRIPT, Frame, Look, render_scan
from ocr_rl.data.synthetic.text import EVERYDAY, Line, make_line
from ocr_rl.data.synthetic.typefaces import face_alphabet, load_face

INK = {
    "typing": "uneven_inking ribbon_fade ribbon_weave worn_type clogged_type double_stroke",
    "printing": "ink_spread thin_ink broken_letters",
}
PAGE = {
    "printing": "show_through",
    "paper": "texture stains folds gutter_shadow punched_holes rulings stamp",
    "scanning": "skew warp out_of_focus grain specks low_contrast jpeg resample binarise masked_polygon",
}
MODULES = {"typing": typing, "printing": printing, "paper": paper, "scanning": scanning}
PLAIN = Look((), (), paper=(0.93, 0.93), ink=(0.15, 0.15), skew=(0, 0), warp=(0, 0), stretch=(1, 1))
SAMPLE = Line("Received 14 letters, copy", "")
SEEDS = {"stamp": 5, "punched_holes": 2, "stains": 3, "folds": 11, "rulings": 3, "masked_polygon": 4, "skew": 3}
"""Seeds under which an effect of chance lands on so small a page."""


def sheet(rows: list[tuple[str, list[np.ndarray]]]) -> Image.Image:
    height, width = rows[0][1][0].shape
    picture = Image.new("L", (110 + 3 * (width + 6), len(rows) * (height + 6) + 6), 255)
    pen = ImageDraw.Draw(picture)
    for i, (name, pages) in enumerate(rows):
        y = 6 + i * (height + 6)
        pen.text((4, y + height // 2 - 7), name.replace("_", " "), fill=0, font=load_face("sans", 12))
        for j, page in enumerate(pages):
            picture.paste(Image.fromarray(to_bytes(page)), (110 + j * (width + 6), y))
    return picture


def effects(module: str) -> Image.Image:
    plain = render_scan(0, [SAMPLE], load_face("typewriter-bold", 18), PLAIN, Frame(leading=(2, 2)))
    page = np.asarray(plain.image, dtype=np.float32) / 255
    ink = (0.93 - page) / 0.78
    rows = []
    for kind, names in ((ink, INK.get(module, "")), (page, PAGE.get(module, ""))):
        for name in names.split():
            apply, seed = getattr(MODULES[module], name), SEEDS.get(name, 1)
            out = [apply(kind, strength, np.random.default_rng(seed), 18.0) for strength in (0.0, 0.5, 1.0)]
            rows.append((name, out if kind is page else [np.float32(0.93) - np.float32(0.78) * a for a in out]))
    if module == "typing":
        rows += [
            (name, [letter_by_letter(name, strength) for strength in (0.0, 0.5, 1.0)]) for name in ("jump", "strike")
        ]
    return sheet(rows)


def letter_by_letter(name: str, strength: float) -> np.ndarray:
    """What is done to single letters while they are drawn."""
    look = replace(PLAIN, **{name: (strength, strength)})
    scan = render_scan(0, [SAMPLE], load_face("typewriter-bold", 18), look, Frame(leading=(2, 2)))
    return np.asarray(scan.image, dtype=np.float32) / 255


def scans(count: int = 14, width: int = 620) -> Image.Image:
    images = []
    for i in range(count):
        rng = Random(f"picture:{i}")
        face = rng.choice(("typewriter", "typewriter", "typewriter-bold", "mono", "book", "roman"))
        look = TYPESCRIPT if "typewriter" in face or face == "mono" else PRINT
        line, above, below = (make_line(rng, EVERYDAY, face_alphabet(face), 24, 42, unguessable=0) for _ in range(3))
        frame = Frame(top=(0.1, 0.5), bottom=(0.1, 0.5), leading=(1.1, 2))
        scan = render_scan(i, [line], load_face(face, rng.randint(16, 22)), look, frame, (above.drawn, below.drawn))
        images.append(scan.image.crop((0, 0, min(width, scan.image.width), scan.image.height)))
    picture = Image.new("L", (width, sum(image.height + 5 for image in images)), 120)
    y = 0
    for image in images:
        picture.paste(image, (0, y))
        y += image.height + 5
    return picture


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in {**{module: effects(module) for module in MODULES}, "lines": scans()}.items():
        few = picture.quantize(32 if name == "paper" else 16)  # a fraction of the bytes
        few.save(folder / f"{name}.png", optimize=True)
        print(name, picture.size, (folder / f"{name}.png").stat().st_size)


if __name__ == "__main__":
    main()
