"""Images of pages as data URIs, for a report in one file."""

from __future__ import annotations

import base64
import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 1100
"""Pixels. Small print is legible, and a page takes about 100 kB."""
_IMAGES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"}


def page_image(folder: Path, name: str, page: int) -> str | None:
    """A page of a PDF, or an image file, in the folder as a JPEG data URI of at most 1,100 pixels a side.

    None if there is no such file or page, if it cannot be read or is outside the folder, or if Pillow (for PDFs also
    pypdfium2) is not installed: a report without images is still useful.
    """
    if find_spec("PIL") is None:
        return None
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return None
    except (OSError, ValueError):  # not a valid file name
        return None
    suffix = path.suffix.lower()
    image = _render_pdf(path, page) if suffix == ".pdf" else _open_image(path) if suffix in _IMAGES else None
    return _data_uri(image) if image is not None else None


def _render_pdf(path: Path, page: int) -> Image.Image | None:
    if find_spec("pypdfium2") is None:
        return None
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            if page > len(pdf):
                return None
            sheet = pdf[page - 1]
            scale = LONGEST_SIDE / max(1.0, *sheet.get_size())
            image: Image.Image = sheet.render(scale=scale).to_pil()
            return image
    except (pypdfium2.PdfiumError, OSError, ValueError):
        return None


def _open_image(path: Path) -> Image.Image | None:
    from PIL import Image

    try:
        with Image.open(path) as image:
            image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
            image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
            return image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for broken files
        return None


def _data_uri(image: Image.Image) -> str:
    content = io.BytesIO()
    image.convert("RGB").save(content, "JPEG", quality=70, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
