"""METS: which files of an export are the pages of one document, and in which order."""

from __future__ import annotations

import posixpath
from typing import Any
from urllib.parse import unquote

from ocr_rl.data.archives.xml import below, children, name_of


def files_of_mets(root: Any, folder: str) -> list[str]:
    """The local files that a METS names, relative to where `folder`, the METS' own, is relative to.

    Those of the physical pages come first, in their order.
    """
    places: dict[str, str] = {}
    for file in below(root, "file"):
        for location in children(file, "FLocat"):
            href = next((value for key, value in location.attrib.items() if key.rpartition("}")[2] == "href"), "")
            if href and "://" not in href.removeprefix("file://"):
                path = unquote(href.removeprefix("file://")).replace("\\", "/")
                places[file.get("ID", href)] = posixpath.normpath(posixpath.join(folder, path))
    maps = [one for one in below(root, "structMap") if one.get("TYPE", "PHYSICAL").upper() == "PHYSICAL"]
    named = [pointer.get("FILEID") for one in maps for pointer in one.iter() if name_of(pointer) in ("fptr", "area")]
    ordered = [places[name] for name in named if name in places]
    return list(dict.fromkeys([*ordered, *places.values()]))
