"""Small picklable callables that open a page image, one for each place where an image can be.

Every image is returned upright (EXIF orientation applied), on white (transparency composited) and with at most 8 bits
per channel. An image that cannot be decoded raises an `ImageError` that names the file.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2"})
LONGEST_SIDE = 1288
"""Pixels along the longer side of a rendered PDF page, as olmOCR renders them."""
MAX_PIXELS = 178_956_970
"""An image with more pixels is refused as a decompression bomb, as Pillow does by default."""


class ImageError(ValueError):
    """An image that cannot be opened. `reason` continues a sentence that starts with its name."""

    def __init__(self, name: object, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class ImageFile:
    """An image file; the first frame if it has several."""

    path: Path

    def __call__(self) -> Image:
        return _decode(self.path, str(self.path))


@dataclass(frozen=True)
class EncodedImage:
    """The bytes of an image file, held in memory."""

    data: bytes = field(repr=False)
    name: str = "image"
    """The name of the image in error messages."""

    def __call__(self) -> Image:
        return _decode(io.BytesIO(self.data), self.name)


@dataclass(frozen=True)
class TableImage:
    """An image in a row of a `datasets.Dataset`, which stays on disk until the image is opened."""

    table: Any = field(repr=False)
    column: str
    row: int
    name: str

    def __call__(self) -> Image:
        return EncodedImage(self.content(), self.name)()

    def content(self) -> bytes:
        """The bytes of the image file, from the table or from the path in the table."""
        image = self.table[self.row][self.column] or {"bytes": None, "path": None}
        if image["bytes"]:
            return bytes(image["bytes"])
        if not image["path"]:
            raise ImageError(self.name, "holds no image")
        try:
            return Path(image["path"]).read_bytes()
        except OSError as error:
            raise ImageError(self.name, f"names {image['path']}, which cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class PdfPage:
    """One page of a PDF, rendered at each call. `index` counts from 0."""

    path: Path
    index: int
    longest_side: int = LONGEST_SIDE

    def __call__(self) -> Image:
        with open_pdf(self.path) as pdf:
            page = pdf[self.index]
            # pdfium rounds up, so aim slightly below the whole number.
            scale = (self.longest_side - 1e-3) / max(page.get_size())
            image: Image = page.render(scale=scale).to_pil().convert("RGB")
        return image


@contextmanager
def open_pdf(path: Path) -> Iterator[Any]:
    """The pypdfium2 document, closed afterwards. Raises `ImageError` if pdfium cannot read it."""
    import pypdfium2

    try:
        with pypdfium2.PdfDocument(path) as pdf:
            yield pdf
    except (pypdfium2.PdfiumError, OSError) as error:
        raise ImageError(path, f"cannot be read as a PDF: {error}") from error


def _decode(source: Path | io.BytesIO, name: str) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as opened:
                if math.prod(opened.size) > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image = ImageOps.exif_transpose(opened)
                image.load()
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"is larger than {MAX_PIXELS:,} pixels; scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(name, "is not an image in a format that Pillow knows") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise ImageError(name, f"cannot be read as an image: {error}") from error
    if image.mode.startswith("I;16"):  # Pillow's own conversion clips at 255
        image = image.point(lambda level: level / 256).convert("L")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image
