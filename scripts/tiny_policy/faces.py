"""Faces to make the policy with: those of Debian's font packages, by kind, and of any further folder.

    apt-get install fonts-gnutypewriter fonts-courier-prime fonts-cmu fonts-liberation fonts-freefont-ttf \
        fonts-tlwg-typewriter-ttf fonts-urw-base35 fonts-texgyre fonts-inconsolata fonts-oldstandard \
        fonts-linuxlibertine fonts-junicode fonts-ebgaramond fonts-vollkorn fonts-adf-baskervald \
        fonts-goudybookletter fonts-blankenburg

npm's `@expo-google-fonts/special-elite` (a worn typewriter) and `@fontsource/unifrakturmaguntia` (Fraktur) join in
where their folder is given. What is missing is named and left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fontTools.ttLib import TTFont
from PIL import ImageFont

from ocr_rl.data.synthetic.typefaces import ALPHABET

FOLDERS = (Path("/usr/share/fonts"), Path("/usr/share/texmf/fonts"))

KINDS = {
    "typewriter": """
        GNUTypewriter CourierPrime CourierPrime-Bold CourierPrimeCode LiberationMono-Regular LiberationMono-Bold
        FreeMono FreeMonoBold TlwgTypewriter TlwgTypewriter-Bold TlwgTypewriter-Oblique
        NimbusMonoPS-Regular NimbusMonoPS-Bold NimbusMonoPS-Italic texgyrecursor-regular texgyrecursor-bold
        cmuntt cmuntb cmunbtl cmuntx DejaVuSansMono DejaVuSansMono-Bold Inconsolata
        SpecialElite_400Regular CourierPrimeSans
    """,
    "print": """
        LiberationSerif-Regular LiberationSerif-Bold LiberationSerif-Italic LiberationSans-Regular LiberationSans-Bold
        cmunrm cmunbx cmunti cmunss OldStandard-Regular OldStandard-Italic OldStandard-Bold
        LinLibertine_R LinLibertine_RI LinBiolinum_R JunicodeTwoBeta-Regular JunicodeTwoBeta-Italic
        EBGaramond12-Regular EBGaramond12-Italic EBGaramond08-Regular Vollkorn-Regular Vollkorn-Italic
        BaskervaldADFStd BaskervaldADFStd-Italic GoudyBookletter1911
        C059-Roman C059-Bold C059-Italic P052-Roman P052-Italic NimbusRoman-Regular NimbusSans-Regular
        URWBookman-Light texgyretermes-regular texgyrepagella-regular texgyrebonum-regular texgyreschola-regular
    """,
    "fraktur": "Blankenburg_UNZ1A unifrakturmaguntia-latin-400-normal",
}


@dataclass(frozen=True)
class Face:
    path: Path
    alphabet: frozenset[str]

    def at(self, size: int) -> ImageFont.FreeTypeFont:
        return _load(self.path, size)


@lru_cache(maxsize=1024)
def _load(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def find_faces(*more: Path) -> dict[str, list[Face]]:
    """The faces of each kind that are on this machine."""
    files = {
        path.stem.replace(" ", ""): path
        for folder in (*FOLDERS, *more)
        for ending in ("ttf", "otf", "woff")
        for path in sorted(folder.rglob(f"*.{ending}"))
    }
    files |= {f"CourierPrime{s.replace(' ', '-')}": p for s, p in _spaced(files)}
    found: dict[str, list[Face]] = {}
    for kind, names in KINDS.items():
        missing = [name for name in names.split() if name not in files]
        if missing:
            print(f"{kind} faces that are not installed and are left out: {', '.join(missing)}", flush=True)
        found[kind] = [Face(files[name], _alphabet(files[name])) for name in names.split() if name in files]
        if not found[kind] and kind != "fraktur":
            raise SystemExit(f"no {kind} face is installed; the top of {__file__} says which packages to install")
    return found


def _spaced(files: dict[str, Path]) -> list[tuple[str, Path]]:
    return [(path.stem.removeprefix("Courier Prime"), path) for path in files.values() if " Bold" in path.stem]


def _alphabet(path: Path) -> frozenset[str]:
    """The characters of the policy's alphabet that the face has glyphs for."""
    font = TTFont(path)
    known = frozenset(c for c in ALPHABET if ord(c) in font.getBestCmap()) | {" "}
    font.close()
    return known
