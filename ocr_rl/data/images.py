"""Small picklable callables that open a page image, one for each place where an image can be.

Every image is returned upright (EXIF orientation applied), on white (transparency composited) and with at most 8 bits
per channel (`grey_levels`). An image that cannot be decoded raises an `ImageError` that names the file.
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
from threading import RLock
from typing import TYPE_CHECKING, Any

from ocr_rl.data.grey_levels import grey_levels, lab_to_rgb
from ocr_rl.types import ImageError as ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".jp2"})
TIFF_SUFFIXES = frozenset({".tif", ".tiff"})
LONGEST_SIDE = 1288
"""Pixels along the longer side of a rendered PDF page, as olmOCR renders them."""
MAX_PIXELS = 178_956_970
"""An image with more pixels is refused as a decompression bomb, as Pillow does by default."""
ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""Formats whose further frames are an animation. Those of a JPEG are previews."""
NEW_SUBFILE_TYPE = 254
"""TIFF tag; bit 0 marks a smaller copy of another frame, bit 2 a mask."""
PHOTOMETRIC = 262
"""TIFF tag; 0 means that 0 is white."""


@dataclass(frozen=True)
class ImageFile:
    """An image file. Of a TIFF with several pages one is named; an animation is refused."""

    path: Path
    frame: int | None = None
    """From 0."""

    def __call__(self) -> Image:
        return _decode(self.path, str(self.path), self.frame)


@dataclass(frozen=True)
class EncodedImage:
    """The bytes of an image file, held in memory."""

    data: bytes = field(repr=False)
    name: str = "image"
    """The name of the image in error messages."""

    def __call__(self) -> Image:
        return _decode(io.BytesIO(self.data), self.name)


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


_PDFIUM = RLock()
"""pdfium must not be called from two threads at a time, not even with two documents."""


@contextmanager
def open_pdf(path: Path) -> Iterator[Any]:
    """The pypdfium2 document, closed afterwards. Another thread that opens one waits until then.

    Raises `ImageError` if pdfium cannot read it.
    """
    import pypdfium2

    try:
        with _PDFIUM, pypdfium2.PdfDocument(path) as pdf:
            yield pdf
    except (pypdfium2.PdfiumError, OSError) as error:
        raise ImageError(path, f"cannot be read as a PDF: {error}") from error


def tiff_frames(file: Path) -> list[int]:
    """The frames of a TIFF that are pages, not thumbnails or masks; [0] if it cannot be read, which opening it says."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as opened:
                return _page_frames(opened)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, Image.DecompressionBombError):
        return [0]


def _page_frames(opened: Any) -> list[int]:
    pages = []
    for frame in range(getattr(opened, "n_frames", 1)):
        opened.seek(frame)
        if not opened.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 0b101:
            pages.append(frame)
    return pages or [0]


def _decode(source: Path | io.BytesIO, name: str, frame: int | None = None) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(source) as opened:
                if frame is not None:
                    opened.seek(frame)
                elif opened.format == "TIFF":
                    pages = _page_frames(opened)
                    if len(pages) > 1:
                        raise ImageError(name, f"has {len(pages)} pages; write a row or text for each of them")
                    opened.seek(pages[0])
                elif opened.format in ANIMATED and getattr(opened, "is_animated", False):
                    frames = opened.n_frames  # type: ignore[attr-defined]
                    raise ImageError(name, f"is an animation of {frames} frames; save the page as a still image")
                if math.prod(opened.size) > MAX_PIXELS:
                    raise Image.DecompressionBombError
                zero_is_white = opened.format == "TIFF" and opened.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
                image = ImageOps.exif_transpose(opened)
                image.load()
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"is larger than {MAX_PIXELS:,} pixels; scale it down") from error
    except UnidentifiedImageError as error:
        raise ImageError(name, "is not an image in a format that Pillow knows") from error
    except ImageError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
        raise ImageError(name, f"cannot be read as an image: {error}") from error
    if image.mode == "F" or image.mode.startswith("I"):
        try:
            image = grey_levels(image)
        except ValueError as error:
            raise ImageError(name, str(error)) from error
        image = ImageOps.invert(image) if zero_is_white else image  # Pillow inverts those of 8 bits itself
    if image.mode == "LAB":
        image = lab_to_rgb(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image
