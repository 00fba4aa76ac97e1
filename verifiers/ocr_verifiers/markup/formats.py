"""Splits a text by format: prose, formulas and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocr_verifiers.markup.blocks import TableBlock, blocks
from ocr_verifiers.markup.formulas import locate_formulas
from ocr_verifiers.markup.grid import Grid


@dataclass(frozen=True)
class Formats:
    """The parts of a text by format."""

    prose: str
    """The rest, without formulas and tables."""
    formulas: tuple[str, ...]
    """In LaTeX, in reading order. Formulas in tables belong to the tables."""
    tables: Sequence[Grid]

    @property
    def characters(self) -> dict[str, int]:
        """The number of characters in each format, without white space and the markup of tables and formulas."""
        return {
            "prose": _length(self.prose),
            "formulas": sum(map(_length, self.formulas)),
            "tables": sum(_length(cell.text) for grid in self.tables for cell in grid.cells),
        }


def take_apart(text: str) -> Formats:
    """Splits a text. Everything between a table's tags, formulas included, belongs to the table."""
    pieces = list(blocks(text))
    text = "\n".join(piece for piece in pieces if isinstance(piece, str))
    prose, formulas, position = [], [], 0
    for start, end, formula in locate_formulas(text):
        prose.append(text[position:start])
        formulas.append(formula.latex)
        position = end
    grids = [grid for piece in pieces if isinstance(piece, TableBlock) for grid in piece.grids]
    return Formats(" ".join([*prose, text[position:]]), tuple(formulas), grids)


def _length(text: str) -> int:
    return sum(map(len, text.split()))
