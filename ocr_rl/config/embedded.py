"""The policies that come with the package, by name."""

from pathlib import Path

_MODELS = Path(__file__).parents[1] / "models"

EMBEDDED = {"tiny": _MODELS / "tiny", "tiny-scans": _MODELS / "tiny_scans"}
"""The folder of each: `tiny` reads rendered pages, `tiny-scans` scanned lines too."""

NAMES = " or ".join(f'"{name}"' for name in EMBEDDED)


def model_folder(path: str) -> str:
    """The folder of an embedded policy; another path, or a hub id, as it is."""
    return str(EMBEDDED.get(path, path))
