"""The files of an export: a folder, or a zip that is read in place, so that none of its names becomes a path."""

from __future__ import annotations

import posixpath
import re
import unicodedata
import zipfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ocr_rl.data.archives.xml import MAX_BYTES, ArchiveError
from ocr_rl.data.cells import find_file
from ocr_rl.data.folders import files_in
from ocr_rl.data.images import IMAGE_SUFFIXES, EncodedImage, ImageError, ImageFile

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_IMAGE_BYTES = 2**30
MAX_MEMBERS = 200_000
"""Files in a zip."""


class Source(Protocol):
    """Names are relative and have `/` on every system."""

    @property
    def path(self) -> Path: ...

    def names(self) -> list[str]:
        """All files, sorted."""

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        """The first `limit` + 1 bytes of a file. Raises ArchiveError if it cannot be read."""

    def find(self, name: str) -> str | None:
        """The file's name as it is written on disk; None if there is none."""

    def beside(self, folder: str) -> list[str]:
        """Names of the files in a folder."""

    def image(self, name: str) -> Callable[[], Image]: ...


@dataclass(frozen=True)
class Folder:
    path: Path
    _listed: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def names(self) -> list[str]:
        return [file.relative_to(self.path).as_posix() for file in files_in(self.path)]

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        try:
            with open(self.path / name, "rb") as file:
                return file.read(limit + 1)
        except OSError as error:
            raise ArchiveError(f"cannot be read: {error.strerror}") from None

    def find(self, name: str) -> str | None:
        found = find_file(self.path, name)
        return None if found is None else posixpath.normpath(Path(posixpath.relpath(found, self.path)).as_posix())

    def beside(self, folder: str) -> list[str]:
        if folder not in self._listed:
            place = self.path / folder
            self._listed[folder] = sorted(file.name for file in place.iterdir()) if place.is_dir() else []
        return self._listed[folder]

    def image(self, name: str) -> Callable[[], Image]:
        return ImageFile(self.path / name)


@dataclass(frozen=True)
class Zip:
    """Raises ArchiveError for what is no zip, or has too many files."""

    path: Path
    members: dict[str, zipfile.ZipInfo] = field(init=False, repr=False, compare=False)
    _folders: dict[str, list[str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            with zipfile.ZipFile(self.path) as file:
                infos = file.infolist()
        except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ArchiveError(f"cannot be read as a zip: {error}") from None
        if len(infos) > MAX_MEMBERS:
            raise ArchiveError(f"holds {len(infos):,} files; at most {MAX_MEMBERS:,} are read: unpack it")
        files = {posixpath.normpath(info.filename.replace("\\", "/")): info for info in infos if not info.is_dir()}
        kept = {name: info for name, info in files.items() if not re.search(r"__MACOSX/|(^|/)\.[^/]*$", name)}
        if outside := [name for name in kept if name.startswith(("/", "../")) or ":" in name.split("/")[0]]:
            raise ArchiveError(f"holds {outside[0]}, a file outside of it; pack it again")
        folders: dict[str, list[str]] = defaultdict(list)
        for name in sorted(kept):
            folders[posixpath.dirname(name) or "."].append(posixpath.basename(name))
        object.__setattr__(self, "members", kept)
        object.__setattr__(self, "_folders", folders)

    def names(self) -> list[str]:
        return sorted(self.members)

    def read(self, name: str, limit: int = MAX_BYTES) -> bytes:
        return read_member(self.path, self.members[name].filename, limit)

    def find(self, name: str) -> str | None:
        name = posixpath.normpath(name.replace("\\", "/"))
        forms = (name, unicodedata.normalize("NFC", name), unicodedata.normalize("NFD", name))
        return next((form for form in forms if form in self.members), None)

    def beside(self, folder: str) -> list[str]:
        return self._folders.get(posixpath.normpath(folder), [])

    def image(self, name: str) -> Callable[[], Image]:
        return ZipImage(self.path, self.members[name].filename)


def read_member(path: Path, name: str, limit: int) -> bytes:
    """The first `limit` + 1 bytes of a file in a zip, whatever size the zip claims. Raises ArchiveError."""
    try:
        with zipfile.ZipFile(path) as file, file.open(name) as member:
            return member.read(limit + 1)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ArchiveError(f"cannot be read from the zip: {error}") from None
    except Exception as error:  # zlib, bz2 and lzma each raise an error of its own kind
        raise ArchiveError(f"is damaged in the zip: {error}") from None


@dataclass(frozen=True)
class ZipImage:
    """An image in a zip, which stays there until the image is opened."""

    path: Path
    name: str

    def __call__(self) -> Image:
        shown = f"{self.path}/{self.name}"
        try:
            data = read_member(self.path, self.name, MAX_IMAGE_BYTES)
        except ArchiveError as error:
            raise ImageError(shown, str(error)) from None
        if len(data) > MAX_IMAGE_BYTES:
            raise ImageError(shown, f"has more than {MAX_IMAGE_BYTES:,} bytes")
        return EncodedImage(data, shown)()


def find_image(source: Source, layout: str, written: str) -> str | None:
    """The image of a layout file: as written, else of that name, else of that stem or the layout file's own.

    It is looked for beside the layout file, in the folder above, and in `images` of both; never farther up.
    """
    here = posixpath.dirname(layout)
    name = re.sub(r"^[a-z]+://[^/]*", "", written.replace("\\", "/"), flags=re.IGNORECASE)
    base = posixpath.basename(name)
    folders = [posixpath.normpath(posixpath.join(here, folder)) for folder in ("", "..", "images", "../images")]
    tried = [posixpath.join(folder, base) for folder in folders] if base else []
    relative = posixpath.normpath(name.lstrip("/"))
    if name and not relative.startswith("..") and ":" not in relative:
        tried = [posixpath.join(folder, relative) for folder in folders[:2]] + tried
    for candidate in tried:
        if posixpath.splitext(candidate)[1].lower() in IMAGE_SUFFIXES and (found := source.find(candidate)):
            return found
    for stem in filter(None, (posixpath.splitext(base)[0], posixpath.basename(layout).split(".")[0])):
        for folder in folders:
            for other in source.beside(folder):
                other_stem, suffix = posixpath.splitext(other)
                if other_stem == stem and suffix.lower() in IMAGE_SUFFIXES:
                    return posixpath.normpath(posixpath.join(folder, other))
    return None
