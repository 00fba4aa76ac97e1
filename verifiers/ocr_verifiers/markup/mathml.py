r"""Formulas as they print: KaTeX's MathML, reduced to rows of tokens, compared for equality and containment.

A row is what is printed side by side. Its tokens are characters, whole numbers, and structures that contain rows:
scripts, fractions, roots, accents, tables. Differences that do not print, or hardly, are dropped: braces, spaces,
phantoms, colours, the size of delimiters, equation numbers, the alignment of equations, and italic or upright letters
(so `\sin`, `\mathrm{sin}` and `sin` are equal). Bold, double-struck, script and Fraktur letters are distinct letters.
"""

from __future__ import annotations

import re
import unicodedata
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from ocr_verifiers.markup.formulas import plain
from ocr_verifiers.markup.katex import render
from ocr_verifiers.markup.latex_macros import with_macros
from ocr_verifiers.text.normalize import nfc

CACHED_FORMULAS = 20_000
CACHED_COMPARISONS = 50_000

Token = Any
"""A string, or a tuple of a structure's name and its rows, themselves tuples of tokens."""

_TRANSPARENT = frozenset({"mrow", "mstyle", "mpadded", "math", "semantics", "mtd"})
_UNSEEN = frozenset({"mphantom", "annotation", "none"})
_STYLES = {
    "bold": "bold",
    "bold-italic": "bold",
    "double-struck": "double-struck",
    "script": "script",
    "bold-script": "script",
    "fraktur": "fraktur",
    "bold-fraktur": "fraktur",
}
_ALIKE = str.maketrans(
    {
        **dict.fromkeys("∣❘", "|"),
        **dict.fromkeys("∥", "‖"),
        **dict.fromkeys("-‐‑", "−"),
        **dict.fromkeys("*", "∗"),
        **dict.fromkeys("'’", "′"),
        "\u00b5": "μ",
        "″": "′′",
        "‴": "′′′",
        "≔": ":=",
        "≕": "=:",
        "∬": "∫∫",
        "∭": "∫∫∫",
        **dict(zip("⟵⟶⟷⟸⟹⟺", "←→↔⇐⇒⇔", strict=True)),
    }
)
_FENCES = str.maketrans("<>", "⟨⟩")
_WITH_LIMITS = frozenset("∑∏∐⋃⋂⋁⋀⨀⨁⨂⨄⨆∫∬∭∮∯∰")
_NARROW = {"‾": "ˉ", "→": "⃗"}
"""Stretched accents and their narrow forms, which print alike over a single letter."""
_LETTERS = dict(zip(map(ord, "ℂℍℕℙℚℝℤ"), "CHNPQRZ", strict=True))
_DOUBLE_STRUCK = re.compile("[ℂℍℕℙℚℝℤ]")
"""KaTeX sets these as plain letters."""
_LINE = ("newline",)


@dataclass(frozen=True)
class TokenRow:
    """Tokens side by side, and the positions where a contained formula may neither begin nor end."""

    tokens: tuple[Token, ...]
    glued: frozenset[int]
    """Positions between the letters of a word and between a base and its scripts: 0 is before the first token."""


@dataclass(frozen=True)
class PrintedFormula:
    """A formula as it prints."""

    whole: tuple[Token, ...] = ()
    rows: tuple[TokenRow, ...] = ()
    """The formula itself and every row inside its structures."""
    error: str | None = None
    """Why it cannot be rendered."""


def spelt(latex: str) -> str:
    """The LaTeX that is rendered first for a formula of a page or a test."""
    latex = plain(latex)
    return with_macros(_DOUBLE_STRUCK.sub(r"{\\mathbb \g<0>}", latex).translate(_LETTERS))


@lru_cache(maxsize=CACHED_FORMULAS)
def printed(latex: str) -> PrintedFormula:
    """The rows of a formula in LaTeX."""
    rendered = render(spelt(latex))
    if rendered.error is not None:
        rendered = render(with_macros(plain(latex)))  # \mathbb is an error within \text
    if rendered.error is not None:
        return PrintedFormula(error=rendered.error)
    try:
        root = ET.fromstring(f"<math>{rendered.mathml}</math>")
    except (ET.ParseError, UnicodeEncodeError):
        return PrintedFormula(error="it contains characters that XML cannot represent")
    reader = _MathmlReader()
    whole = reader.row(root)
    if not whole:
        return PrintedFormula(error="nothing of it prints")
    return PrintedFormula(whole, tuple(reader.rows))


@lru_cache(maxsize=CACHED_COMPARISONS)
def contains(formula: str, reference: str) -> bool:
    """True if `reference` prints like `formula` or like side-by-side parts of it; False if either does not render.

    Parts are contiguous and whole: `x` is not in `x^2`, nor `1` in `12`, nor `s` in `\\sin`; `b` is in `\\frac{a}{b}`.
    """
    sought, given = printed(reference), printed(formula)
    if sought.error is not None or given.error is not None:
        return False
    if sought.whole == given.whole:
        return True
    codes: dict[Token, str] = {}
    needle = _coded(sought.whole, codes)
    return any(_found(needle, row, _coded(row.tokens, codes)) for row in given.rows)


def _coded(tokens: tuple[Token, ...], codes: dict[Token, str]) -> str:
    """One character per token, equal for equal tokens, so that rows can be searched as strings."""
    return "".join([codes.setdefault(token, chr(len(codes) + 0xE000)) for token in tokens])


def _found(needle: str, row: TokenRow, haystack: str) -> bool:
    start = haystack.find(needle)
    while start >= 0:
        if start not in row.glued and start + len(needle) not in row.glued:
            return True
        start = haystack.find(needle, start + 1)
    return False


class _MathmlReader:
    """Reads MathML elements into rows and collects every completed row."""

    def __init__(self) -> None:
        self.rows: list[TokenRow] = []
        self._bold = False

    def row(self, *elements: ET.Element) -> tuple[Token, ...]:
        """The tokens of the elements side by side, as a separate row."""
        tokens: list[Token] = []
        glued: set[int] = set()
        for element in elements:
            self._read(element, tokens, glued)
        if _LINE in tokens:
            return self._lines(tokens, glued)
        row = TokenRow(tuple(tokens), frozenset(glued))
        self.rows.append(row)
        return row.tokens

    def _lines(self, tokens: list[Token], glued: set[int]) -> tuple[Token, ...]:
        lines = []
        breaks = [-1, *(i for i, token in enumerate(tokens) if token == _LINE), len(tokens)]
        for start, end in pairwise(breaks):
            line = TokenRow(tuple(tokens[start + 1 : end]), frozenset(i - start - 1 for i in glued if start < i < end))
            if line.tokens:
                lines.append(line)
        self.rows += lines
        return (("table", *((line.tokens,) for line in lines)),)

    def _read(self, element: ET.Element, tokens: list[Token], glued: set[int]) -> None:
        tag, children = element.tag, list(element)
        if tag in _UNSEEN:
            return
        if tag in _TRANSPARENT:
            bold, self._bold = self._bold, self._bold or "text-shadow" in element.get("style", "")  # \pmb
            for child in children:
                self._read(child, tokens, glued)
            self._bold = bold
        elif tag in ("mi", "mo", "mn", "mtext", "ms"):
            if children:  # KaTeX puts an operator with something above or below it into an element for characters
                for child in children:
                    self._read(child, tokens, glued)
            else:
                self._characters(element, tokens, glued)
        elif tag == "mspace":
            if element.get("linebreak") == "newline":
                tokens.append(_LINE)
        elif tag in ("msub", "msup", "msubsup", "munder", "mover", "munderover"):
            self._scripts(element, tokens, glued)
        elif tag == "mfrac":
            name = "stack" if element.get("linethickness", "").startswith("0") else "fraction"
            tokens.append((name, *(self.row(child) for child in children)))
        elif tag == "msqrt":
            tokens.append(("root", self.row(*children)))
        elif tag == "mtable":
            self._table(element, tokens, glued)
        elif tag == "menclose":
            known = len(self.rows)
            tokens.append((f"enclosed {element.get('notation', '')}", self.row(*children)))
            if "strike" in element.get("notation", ""):
                del self.rows[known:]  # what is crossed out is not there
        else:
            tokens.append((tag, *(self.row(child) for child in children)))

    def _characters(self, element: ET.Element, tokens: list[Token], glued: set[int]) -> None:
        text = nfc("".join(element.itertext()))  # = and a long solidus become ≠
        style = _STYLES.get(element.get("mathvariant", ""), "bold" if self._bold else "")
        if element.get("fence") == "true":
            text = text.translate(_FENCES)
        upright = element.tag == "mtext" or element.get("mathvariant") == "normal" or len(text) > 1
        start = len(tokens)
        if element.tag == "mn":
            first, *others = text.split(",")  # 1{,}000 prints like 1,000
            if start and _is_number(tokens[-1]):
                tokens[-1] += first  # {1}{2} prints like 12
            elif first:
                tokens.append(first)
            for other in others:
                tokens += [",", other] if other else [","]
            return
        for character in text:
            letter, letter_style = _letter(character)
            if letter.isspace() or unicodedata.category(letter[:1] or " ") in ("Cf", "Cc"):
                continue
            if unicodedata.combining(letter[0]) and len(tokens) > start and isinstance(tokens[-1], str):
                tokens[-1] += letter  # the stroke of \not
                continue
            for part in letter.translate(_ALIKE):
                if part.isdigit() and tokens and _is_number(tokens[-1]) and (len(tokens) > start):
                    tokens[-1] += part
                    continue
                named = letter_style or style
                if upright and part.isalpha() and tokens and _is_letter(tokens[-1]) and len(tokens) > start:
                    glued.add(len(tokens))
                tokens.append(f"{named} {part}" if named else part)

    def _scripts(self, element: ET.Element, tokens: list[Token], glued: set[int]) -> None:
        base, *scripts = list(element)
        if element.get("accent") == "true" or element.get("accentunder") == "true":
            tokens.append(self._accent(element, base, scripts[0]))
            return
        before = len(tokens), tokens[-1:]
        self._read(base, tokens, glued)
        limits = "".join("".join(_innermost(base).itertext()).replace("\u2061", "").split())
        beside = element.tag.startswith("ms") or limits in _WITH_LIMITS or (limits.isalpha() and len(limits) > 1)
        names = {
            "msub": ("sub",),
            "msup": ("sup",),
            "munder": ("sub" if beside else "under",),
            "mover": ("sup" if beside else "over",),
        }.get(element.tag, ("sub", "sup") if beside else ("under", "over"))
        for name, script in zip(names, scripts, strict=False):
            content = self.row(script)
            if not content:
                continue
            if (len(tokens), tokens[-1:]) != before:
                glued.add(len(tokens))
            below_last = name == "sub" and tokens and isinstance(tokens[-1], tuple) and tokens[-1][0] == "sup"
            tokens.insert(len(tokens) - 1 if below_last and (len(tokens) > before[0]) else len(tokens), (name, content))

    def _accent(self, element: ET.Element, base: ET.Element, mark: ET.Element) -> Token:
        content, sign = self.row(base), "".join(mark.itertext())
        wide = mark.get("stretchy") == "true"
        if len(content) == 1:
            sign, wide = _NARROW.get(sign, sign), False
        return (f"{element.tag} {'wide ' if wide else ''}{sign}", content)

    def _table(self, table: ET.Element, tokens: list[Token], glued: set[int]) -> None:
        if table.get("width") == "100%":  # an equation and its number, which is not part of it
            cells = table.findall("./mtr/mtd")
            for cell in cells[1:2]:
                self._read(cell, tokens, glued)
            return
        aligned = set(table.get("columnspacing", "1em").split()) <= {"0em", "1em"} and (
            table.get("columnspacing", "").startswith("0em")
        )
        lines = [list(line) for line in table]
        if len(lines) == 1 and (aligned or len(lines[0]) == 1):
            for cell in lines[0]:
                self._read(cell, tokens, glued)
            return
        rows = []
        for line in lines:
            cells_of_line = (self.row(*line),) if aligned or len(line) == 1 else tuple(self.row(cell) for cell in line)
            if any(cells_of_line):
                rows.append(cells_of_line)
        tokens.append(("table", *rows))


def _innermost(base: ET.Element) -> ET.Element:
    """What stands between the limits: of an operator with limits above and below in turn, the operator."""
    while (inner := next(iter(base), None)) is not None and (
        base.tag in ("munder", "mover", "munderover") or (len(base) == 1 and base.tag in ("mo", "mi", "mrow"))
    ):
        base = inner
    return base


def _letter(character: str) -> tuple[str, str]:
    """A character's plain letter and its style: ℝ is a double-struck R, as in `\\mathbb{R}`."""
    if not ("\U0001d400" <= character <= "\U0001d7ff" or character in "ℂℍℕℙℚℝℤℬℰℱℋℐℒℳℛℭℌℑℜℨ"):
        return character, ""
    name = unicodedata.name(character, "")
    style = next((s for s in ("bold", "double-struck", "script", "fraktur", "black-letter") if s.upper() in name), "")
    return unicodedata.normalize("NFKC", character), "fraktur" if style == "black-letter" else style


def _is_number(token: Token) -> bool:
    return isinstance(token, str) and token[:1].isdigit()


def _is_letter(token: Token) -> bool:
    return isinstance(token, str) and len(token) == 1 and token.isalpha()
