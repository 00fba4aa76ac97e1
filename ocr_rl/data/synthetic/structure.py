"""Tables and formulas: what is drawn where, and the markup that a transcription has for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple

from ocr_rl.data.synthetic import words
from ocr_rl.data.synthetic.typefaces import load_face

CELL = 7.0
"""Width of a table's column, in font sizes."""
FORMULA_PITCH = 2.0
"""Lines from one formula to the next, so that fractions do not touch."""
LETTERS = "abcdefhkmnpqrtuvwxyz"
SCRIPT = 0.7
"""Size of what is raised, lowered, or part of a fraction."""


@dataclass(frozen=True)
class Ink:
    """A piece of text and the position of its top left corner, in lines and font sizes from the body's corner."""

    text: str
    line: float
    column: float = 0.0
    drop: float = 0.0
    """How far it is below its line, in font sizes."""
    scale: float = 1.0
    """Its size in font sizes."""
    rule: float = 0.0
    """Instead of a text, a horizontal rule of this many font sizes."""


class Drawn(NamedTuple):
    inks: list[Ink]
    text: str


def table(rng: Random, alphabet: str, rows: int, markup: Literal["markdown", "html"]) -> tuple[Drawn, list[list[str]]]:
    """A table of three columns, its first row the heading, and its cells."""
    cells = [[words.word(rng, alphabet.replace("|", ""), 0.1)[:10] for _ in range(3)] for _ in range(rows)]
    inks = [Ink(cell, i, CELL * j) for i, row in enumerate(cells) for j, cell in enumerate(row)]
    return Drawn(inks, markdown_table(cells) if markup == "markdown" else html_table(cells)), cells


def markdown_table(cells: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], ["---"] * len(cells[0]), *cells[1:]])


def html_table(cells: Sequence[Sequence[str]]) -> str:
    rows = ["".join(f"<td>{_escaped(cell)}</td>" for cell in row) for row in cells]
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"


def _escaped(cell: str) -> str:
    return cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def formulas(rng: Random, face: str, count: int) -> tuple[Drawn, list[str]]:
    """Equations, one below the other, and their LaTeX: sums of terms with scripts and fractions."""
    inks: list[Ink] = []
    written = []
    for i in range(count):
        drawn = _equation(rng, face)
        inks += [replace(ink, line=ink.line + FORMULA_PITCH * i + 0.5) for ink in drawn.inks]
        written.append(drawn.text)
    return Drawn(inks, "\n".join(f"${latex}$" for latex in written)), written


def _equation(rng: Random, face: str) -> Drawn:
    parts = [_term(rng, face)]
    for _ in range(rng.randint(1, 2)):
        parts += [_symbol(rng.choice("+-")), _term(rng, face)]
    parts += [_symbol("="), _term(rng, face)]
    return Drawn(*_in_a_row(parts, face, gap=0.25))


def _term(rng: Random, face: str) -> Drawn:
    kind = rng.choice(("plain", "power", "index", "fraction"))
    if kind == "fraction":
        return _fraction(_atom(rng), _atom(rng), face)
    base = _symbol(_atom(rng) if kind == "plain" else rng.choice(LETTERS))
    if kind == "plain":
        return base
    script = _atom(rng)
    raised = Ink(script, 0, _width(base.inks[0], face), -0.15 if kind == "power" else 0.5, SCRIPT)
    return Drawn([*base.inks, raised], f"{base.text}{'^' if kind == 'power' else '_'}{{{script}}}")


def _fraction(above: str, below: str, face: str) -> Drawn:
    upper, lower = Ink(above, 0, drop=-0.35, scale=SCRIPT), Ink(below, 0, drop=0.65, scale=SCRIPT)
    width = max(_width(upper, face), _width(lower, face)) + 0.2
    centred = [replace(ink, column=(width - _width(ink, face)) / 2) for ink in (upper, lower)]
    return Drawn([*centred, Ink("", 0, drop=0.6, rule=width)], f"\\frac{{{above}}}{{{below}}}")


def _atom(rng: Random) -> str:
    return rng.choice(LETTERS) if rng.random() < 0.5 else str(rng.randint(1, 99))


def _symbol(text: str) -> Drawn:
    return Drawn([Ink(text, 0.0)], text)


def _in_a_row(parts: Sequence[Drawn], face: str, gap: float) -> tuple[list[Ink], str]:
    inks: list[Ink] = []
    column = 0.0
    for part in parts:
        inks += [replace(ink, column=ink.column + column) for ink in part.inks]
        column += max(ink.column + _width(ink, face) for ink in part.inks) + gap
    return inks, " ".join(part.text for part in parts)


def _width(ink: Ink, face: str) -> float:
    """In font sizes."""
    return ink.rule or ink.scale * load_face(face, 100).getlength(ink.text) / 100
