"""The typefaces that the renderer draws with: those that matplotlib and reportlab ship, under our own names."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

MATPLOTLIB = ("matplotlib", "mpl-data/fonts/ttf")
REPORTLAB = ("reportlab", "fonts")

FACES: dict[str, tuple[tuple[str, str], str]] = {
    "sans": (MATPLOTLIB, "DejaVuSans.ttf"),
    "sans-bold": (MATPLOTLIB, "DejaVuSans-Bold.ttf"),
    "sans-oblique": (MATPLOTLIB, "DejaVuSans-Oblique.ttf"),
    "serif": (MATPLOTLIB, "DejaVuSerif.ttf"),
    "serif-bold": (MATPLOTLIB, "DejaVuSerif-Bold.ttf"),
    "serif-italic": (MATPLOTLIB, "DejaVuSerif-Italic.ttf"),
    "book": (MATPLOTLIB, "STIXGeneral.ttf"),
    "book-bold": (MATPLOTLIB, "STIXGeneralBol.ttf"),
    "book-italic": (MATPLOTLIB, "STIXGeneralItalic.ttf"),
    "mono": (MATPLOTLIB, "DejaVuSansMono.ttf"),
    "mono-bold": (MATPLOTLIB, "DejaVuSansMono-Bold.ttf"),
    "grotesque": (REPORTLAB, "_a______.pfb"),
    "grotesque-bold": (REPORTLAB, "_ab_____.pfb"),
    "roman": (REPORTLAB, "_er_____.pfb"),
    "roman-bold": (REPORTLAB, "_eb_____.pfb"),
    "typewriter": (REPORTLAB, "com_____.pfb"),
    "typewriter-bold": (REPORTLAB, "cob_____.pfb"),
    "typewriter-oblique": (REPORTLAB, "coo_____.pfb"),
}

ASCII = "".join(map(chr, range(32, 127)))
LATIN_1 = "¡£§«°±²³·¹»¼½¾¿" + "".join(map(chr, [*range(0xC0, 0xD7), *range(0xD8, 0xF7), *range(0xF8, 0x100)]))
TYPOGRAPHIC = "‘’‚“”„–—…†•‹›€ŒœŠšŽžŸ"
CENTRAL_EUROPEAN = "ĂăĄąĆćČčĎďĐđĘęĚěĞğİıĹĺĽľŁłŃńŇňŐőŔŕŘřŚśŞşŤťŮůŰűŹźŻżſ"

TYPE_1_ALPHABET = ASCII + LATIN_1 + TYPOGRAPHIC
ALPHABET = TYPE_1_ALPHABET + CENTRAL_EUROPEAN
"""Every character that a rendered page can hold, apart from the line break."""


def face_alphabet(face: str) -> str:
    """The characters that the face has glyphs for, the space included."""
    package, _ = FACES[face]
    return TYPE_1_ALPHABET if package is REPORTLAB else ALPHABET


@lru_cache(maxsize=512)
def load_face(face: str, size: int) -> FreeTypeFont:
    """The face at a size in pixels. Raises ModuleNotFoundError if the package that ships it is missing."""
    from PIL import ImageFont

    (package, folder), file = FACES[face]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"the face {face!r} comes with {package}", name=package)
    path = Path(spec.origin).parent / folder / file
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)
