"""The policies that come with the package, by name."""

from pathlib import Path

_MODELS = Path(__file__).parents[1] / "models"

EMBEDDED = {"tiny": _MODELS / "tiny", "tiny-scans": _MODELS / "tiny_scans"}
"""The folder of each: `tiny` reads rendered pages, `tiny-scans` scanned lines too."""

NAMES = " or ".join(f'"{name}"' for name in EMBEDDED)


def embedded_for(data: str) -> str:
    """What is trained where no model is named: on a dataset the policy that reads scans, on rendered pages `tiny`."""
    return "tiny-scans" if data else "tiny"


def model_folder(path: str) -> str:
    """The folder of an embedded policy; another path, or a hub id, as it is."""
    return str(EMBEDDED.get(path, path))
