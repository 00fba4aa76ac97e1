"""Whether a path is read by its layout files, or by what else is there."""

from __future__ import annotations

from pathlib import Path

from ocr_rl.data.archives.crops import Crop
from ocr_rl.data.archives.pages import BadFile, is_archive, kind_at, read_archive
from ocr_rl.data.archives.sources import Folder, find_image
from ocr_rl.data.folders import files_in
from ocr_rl.data.images import IMAGE_SUFFIXES, ImageFile
from ocr_rl.data.tables import SAVED_TABLE


def reads_layouts(path: Path, crop: Crop) -> bool:
    """Whether the pages at `path` are those of its layout files.

    They are not where a folder has rows or tests. Where it has images or PDFs that no layout file covers, only a `crop`
    of regions or lines or a METS says that the layout files are meant.

    Raises:
        ValueError: nothing says whether the images or the layout files are meant.
    """
    if not is_archive(path) or has_rows(path):
        return False
    if path.is_file() or crop != Crop():
        return True
    files = files_in(path)
    scans = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES | {".pdf"}]
    if not scans or any(kind_at(file) == "mets" for file in files if file.suffix.lower() == ".xml"):
        return True
    entries, covered = read_archive(path), set()
    for entry in entries:
        if isinstance(entry, BadFile):
            name = find_image(Folder(path), entry.id, "")
            covered |= {path / name} if name else set()
        elif isinstance(entry.image, ImageFile):
            covered.add(entry.image.path)
    if others := [file for file in scans if file not in covered]:
        layout = entries[0].shown.partition("#")[0]
        raise ValueError(
            f"{path}: holds {others[0].relative_to(path).as_posix()}, which no layout file covers, and the layout file "
            f"{Path(layout).relative_to(path).as_posix()}; give the folder or file of one of them, or add --level "
            "region or --level line to read the layout files"
        )
    return True


def has_rows(path: Path) -> bool:
    """Whether a folder is a dataset of rows or tests, whatever other files are in it."""
    if not path.is_dir():
        return False
    tables = ("metadata.jsonl", "metadata.csv", *SAVED_TABLE)
    bench = (path / "pdfs").is_dir() and any(path.glob("*.jsonl"))
    return bench or any(file.name in tables or file.suffix == ".parquet" for file in files_in(path))
