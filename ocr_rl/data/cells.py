"""Images as datasets hold them: bytes, base64, `{"bytes", "path"}`, or the name of a file."""

from __future__ import annotations

import binascii
import os
import re
import unicodedata
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_rl.data.images import EncodedImage, ImageError

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_PATH = 400
"""Characters of a path; a longer text is taken for an image."""
BASE64_STARTS = ("iVBOR", "/9j/", "R0lGOD", "SUkq", "TU0A", "UklGR", "Qk")
"""PNG, JPEG, GIF, TIFF of both byte orders, WebP and BMP."""


@dataclass(frozen=True)
class TableImage:
    """An image in a row of a `datasets.Dataset`, which stays on disk until the image is opened."""

    table: Any = field(repr=False)
    column: str
    row: int
    name: str
    folder: Path = Path()
    """Relative paths in the table start here."""

    def __call__(self) -> Image:
        return EncodedImage(self.content(), self.name)()

    def content(self) -> bytes:
        """The bytes of the image file, wherever the row has them: see `image_bytes`."""
        return image_bytes(self.table[self.row][self.column], self.folder, self.name)


def image_bytes(value: Any, folder: Path, name: str) -> bytes:
    """The image file in a cell: bytes, base64, a path, `{"bytes", "path"}`, or a list of one of these.

    Paths are relative to `folder`, else to the working directory. `name` is the cell in errors, which never show an
    image.
    """
    value = one_image(value, name)
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if not value:
        raise ImageError(name, "holds no image")
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, str):
        raise ImageError(name, f"holds {type(value).__name__}, not an image")
    if (encoded := from_base64(value)) is not None:
        return encoded
    if len(value) > LONGEST_PATH:
        raise ImageError(name, f"holds {len(value):,} characters that are neither a path nor an image in base64")
    if re.match(r"https?://", value):
        raise ImageError(name, f"names {value}; download the image and name its file")
    path = find_file(folder, value.removeprefix("file://")) or Path(value)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(name, f"names {value}, which cannot be read: {error.strerror}") from error


def one_image(value: Any, name: str) -> Any:
    """The value, or that of a list of one. Raises ImageError for a list of more."""
    if not isinstance(value, list | tuple):
        return value
    if len(value) > 1:
        raise ImageError(name, f"holds {len(value)} images, but a page is one image; write a row for each")
    return value[0] if value else None


DATA_URL = re.compile(r"data:[\w/+.-]*;base64,")


def from_base64(text: str) -> bytes | None:
    """The image of a base64 text or `data:` URL; None for a path."""
    stated = DATA_URL.match(text)
    if not stated and not (len(text) > 40 and "." not in text and text.lstrip().startswith(BASE64_STARTS)):
        return None
    encoded = "".join(text[stated.end() if stated else 0 :].split())
    try:
        return b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except binascii.Error:
        return None


def find_file(folder: Path, name: str) -> Path | None:
    r"""The file `name` in `folder`, also if it is written with `\` or with accents composed otherwise than on disk."""
    with suppress(ValueError):  # a null character
        if os.path.isfile(direct := os.path.join(folder, name)):
            return Path(direct)
    for written in dict.fromkeys([name, name.replace("\\", "/")]):
        for form in (written, unicodedata.normalize("NFC", written), unicodedata.normalize("NFD", written)):
            try:
                if (folder / form).is_file():
                    return folder / form
            except (OSError, ValueError):  # too long, or a null character
                return None
    return None


def similar_file(folder: Path, name: str) -> str:
    """A hint for a file that does not exist: one of the same name but for case or suffix; empty if there is none."""
    wanted = folder / name.replace("\\", "/")
    if not wanted.parent.is_dir():
        return ""
    beside = sorted(file.name for file in wanted.parent.iterdir())
    for key in (_folded, lambda name: Path(_folded(name)).stem):
        for found in beside:
            if key(found) == key(wanted.name):
                return f"; there is {found}"
    return ""


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
