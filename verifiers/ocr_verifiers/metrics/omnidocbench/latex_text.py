r"""Inline formulas as the letters that OmniDocBench compares: `\frac{a}{b_1}` is `a/b_1`, `\mathbb{R}` is `ℝ`.

Only letters, digits and `_` are compared, so signs need no translation.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_NAMES = (
    "alpha beta gamma delta zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon chi psi omega".split()
)
_CAPITALS = "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega".split()
_LETTERS = {
    **{name: unicodedata.lookup(f"GREEK SMALL LETTER {name.upper().replace('LAMBDA', 'LAMDA')}") for name in _NAMES},
    **{
        name: unicodedata.lookup(f"GREEK CAPITAL LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")
        for name in _CAPITALS
    },
    **dict(
        pair.split("=")
        for pair in "epsilon=ϵ varepsilon=ε phi=ϕ varphi=φ vartheta=ϑ varpi=ϖ varrho=ϱ varsigma=ς varkappa=ϰ ell=ℓ "
        "hbar=ħ aleph=ℵ AA=Å aa=å ae=æ AE=Æ oe=œ OE=Œ ss=ß o=ø O=Ø l=ł L=Ł i=ı j=ȷ".split()
    ),
    **{
        name: name
        for name in "sin cos tan cot sec csc sinh cosh tanh arcsin arccos arctan exp log ln lg lim limsup liminf "
        "sup inf max min arg det dim gcd hom ker deg Pr".split()
    },
    "ref": "ref",
    "cite": "cit",
}
_STYLES = {
    "mathbb": ("DOUBLE-STRUCK",),
    "mathbf": ("BOLD",),
    "mathit": ("ITALIC",),
    "mathsf": ("SANS-SERIF",),
    "mathtt": ("MONOSPACE",),
    "mathcal": ("SCRIPT",),
    "mathscr": ("SCRIPT",),
    "mathfrak": ("FRAKTUR", "BLACK-LETTER"),
}
_ACCENTS = dict(
    zip(
        "hat tilde acute grave check breve dot ddot".split(),
        "\u0302\u0303\u0301\u0300\u030c\u0306\u0307\u0308",
        strict=True,
    )
)
_WITHOUT_ARGUMENT = re.compile(
    r"\\(?:label|hspace|vspace|mbox|hbox|begin|end|color|phantom)(?![A-Za-z])\*?\s*\{[^{}]*\}|(?<=\\sqrt)\s*\[[^\]]*\]"
)
_STYLED = re.compile(rf"\\({'|'.join((*_STYLES, *_ACCENTS))})(?![A-Za-z])\s*(?:\{{([^{{}}]*)\}}|(\w))")
_COMMAND = re.compile(r"\\([A-Za-z]+)\*?|\\.")


@lru_cache(maxsize=20_000)
def formula_letters(latex: str) -> str:
    """The formula without commands, with the letters that they print."""
    text = _WITHOUT_ARGUMENT.sub("", latex)
    before = ""
    while before != text:
        before, text = text, _STYLED.sub(_styled, text)
    return _COMMAND.sub(lambda found: _LETTERS.get(found[1] or "", ""), text)


def _styled(found: re.Match[str]) -> str:
    name, content = found[1], found[2] if found[2] is not None else found[3]
    content = _COMMAND.sub(lambda command: _LETTERS.get(command[1] or "", ""), content)
    if name in _ACCENTS:
        return "".join(unicodedata.normalize("NFC", character + _ACCENTS[name]) for character in content)
    return "".join(_letter(character, _STYLES[name]) for character in content)


def _letter(character: str, styles: tuple[str, ...]) -> str:
    if not (character.isascii() and character.isalpha()):
        return character
    case = "CAPITAL" if character.isupper() else "SMALL"
    for style in styles:
        for prefix in ("MATHEMATICAL ", ""):
            try:
                return unicodedata.lookup(f"{prefix}{style} {case} {character.upper()}")
            except KeyError:
                continue
    return character
