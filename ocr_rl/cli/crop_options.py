"""--level and --cut: what becomes a page of PAGE-XML, ALTO and hOCR, and how it is cut out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ocr_rl.data.archives.crops import Crop


def crop_options(command: Callable[..., None]) -> Callable[..., None]:
    level = click.option(
        "--level",
        type=click.Choice(["page", "region", "line"]),
        help="Of PAGE-XML, ALTO and hOCR: whether pages, text regions or lines are read.  [default: page]",
    )
    cuts = click.option(
        "--cut",
        "cuts",
        multiple=True,
        metavar="HOW",
        help="Cut regions and lines out so: box (not masked by their outline), deskew, padding=PIXELS.",
    )
    return level(cuts(command))


def crop_settings(level: str | None, cuts: Sequence[str]) -> dict[str, Any]:
    """The keys of [data] that the options set. Raises ValueError for a --cut that is none or has no effect."""
    settings: dict[str, Any] = {} if level is None else {"level": level}
    for cut in cuts:
        padding = re.fullmatch(r"padding=(\d{1,4})", cut)
        if cut == "box":
            settings["mask"] = False
        elif cut == "deskew":
            settings["deskew"] = True
        elif padding and int(padding[1]) <= 1000:
            settings["padding"] = int(padding[1])
        else:
            raise ValueError(f"--cut {cut}: write box, deskew, or padding=PIXELS with up to 1000 pixels")
    return settings


def crop_of(level: str | None, cuts: Sequence[str]) -> Crop:
    """The same as a value. Raises ValueError as `crop_settings`, and for a --cut that has no effect."""
    from ocr_rl.data.archives.crops import Crop

    crop = Crop(**crop_settings(level, cuts))
    if crop.level == "page" and cuts:
        raise ValueError(f"--cut {cuts[0]} has no effect: whole pages are read; add --level region or --level line")
    if crop.level == "region" and crop.deskew:
        raise ValueError("--cut deskew has no effect: regions have no baseline; use --level line")
    return crop
