"""The tables of a page as cells on a grid, whatever their markup.

A grid stores, for each row, the ranges of columns that its cells occupy, so a cell that spans a million columns costs
as much as a cell of one column. Neighbours are computed when a test first needs them, and cached.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

Direction = Literal["up", "down", "left", "right"]


class TableTooLargeError(ValueError):
    """The tables of a page need more work than its length allows. Readable pages never do."""


class Budget:
    """How many steps of constant time all tables of a page may take together; proportional to its length."""

    def __init__(self, length: int) -> None:
        self._left = 50_000 + 2 * length

    def spend(self, steps: int) -> None:
        """Raises TableTooLargeError once the budget is used up."""
        self._left -= steps
        if self._left < 0:
            raise TableTooLargeError("the tables of the page are too large, or too deeply nested, for its length")


@dataclass(frozen=True)
class Tables:
    """The tables of a page, in the order in which they are searched."""

    grids: list[Grid]
    trouble: str = ""
    """Why the tables cannot be read; then every table test fails."""


class Cell(NamedTuple):
    """A cell as given by its row."""

    text: str
    """As it is compared."""
    heading: bool = False
    rowspan: int = 1
    colspan: int = 1
    written: str = ""
    """As a reader would write it; empty if only the comparison is needed."""


class _ColumnRange(NamedTuple):
    """Columns start to end - 1 of a row belong to a cell."""

    start: int
    end: int
    cell: int


class Grid:
    """A table: cells, numbered in reading order, and the columns that they occupy in each row.

    Rows are filled from the left, around cells that hang down from above. A cell that is wider than the gap it
    starts in replaces what hangs there. Cells that hang below the last row add rows.
    """

    def __init__(self, rows: Sequence[Sequence[Cell]], budget: Budget) -> None:
        self.rows = [list(row) for row in rows]
        self.cells = [cell for row in rows for cell in row]
        self._row = [number for number, row in enumerate(rows) for _ in row]
        self._column: list[int] = []
        self._rows: list[list[_ColumnRange]] = []
        self._first: list[int] = []  # the row number of each stored row; rows up to the next one are copies of it
        self._budget = budget
        self._neighbours: dict[tuple[Direction, int], tuple[int, ...]] = {}
        self._place(rows)

    @cached_property
    def by_text(self) -> dict[str, list[int]]:
        """The cells with each text."""
        cells: dict[str, list[int]] = {}
        for number, cell in enumerate(self.cells):
            cells.setdefault(cell.text, []).append(number)
        return cells

    @cached_property
    def overrun(self) -> bool:
        """True if a cell spans rows that do not exist, because another cell replaced it before they were added."""
        width = max((row[-1].end for row in self._rows if row), default=0)
        for number, cell in enumerate(self.cells):
            if cell.rowspan > 1 and self._row[number] + cell.rowspan > self._height:
                start = self._column[number]
                if start > 0 or start + cell.colspan < width:
                    return True
        return False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self._height, max((row[-1].end for row in self._rows if row), default=0)

    def first_place(self, cell: int) -> tuple[int, int]:
        """The row and the column in which a cell begins."""
        return self._row[cell], self._column[cell]

    def places(self, rows: int, columns: int) -> list[list[int]]:
        """The cell at each place of the first rows and columns; -1 where there is none."""
        dense = []
        for row in range(rows):
            places = [-1] * columns
            for start, end, cell in self._rows[self._stored(row)]:
                places[start : min(end, columns)] = [cell] * (min(end, columns) - start)
            dense.append(places)
        return dense

    def neighbours(self, cell: int, direction: Direction) -> tuple[int, ...]:
        """The cells next to a cell: the nearest one for each row (column) that it spans; gaps are skipped."""
        key = (direction, cell)
        found = self._neighbours.get(key)
        if found is None:
            sideways = direction in ("left", "right")
            found = self._beside(cell, direction) if sideways else self._above_or_below(cell, direction)
            self._neighbours[key] = found
        return found

    def heading_search(self, direction: Direction, matches: Callable[[str], bool]) -> Callable[[int], bool]:
        """A function that says whether a heading of a cell matches.

        Headings are found by going up (left) from neighbour to neighbour. If there are heading cells on these paths,
        they are the headings; otherwise the cells at the ends of the paths are.
        """
        # For each cell: is there a heading cell on its paths, does one match, does an end of a path match?
        known: dict[int, tuple[bool, bool, bool]] = {}
        order = None if direction == "up" else self._column.__getitem__

        def found(cell: int) -> bool:
            if cell not in known:
                self._budget.spend(1)
                seen, pending = {cell}, [cell]
                while pending:
                    new = {n for n in self.neighbours(pending.pop(), direction) if n not in known} - seen
                    seen |= new
                    pending.extend(new)
                for each in sorted(seen, key=order):
                    heading = heading_matches = end_matches = False
                    for near in self.neighbours(each, direction):
                        beyond = known[near]
                        match = matches(self.cells[near].text)
                        is_heading = self.cells[near].heading
                        heading |= is_heading or beyond[0]
                        heading_matches |= (is_heading and match) or beyond[1]
                        end_matches |= beyond[2] or (match and not self.neighbours(near, direction))
                    known[each] = (heading, heading_matches, end_matches)
            heading, heading_matches, end_matches = known[cell]
            return heading_matches if heading else end_matches

        return found

    def _place(self, rows: Sequence[Sequence[Cell]]) -> None:
        self._budget.spend(len(rows) + len(self.cells))
        hanging: list[tuple[int, int, int, int]] = []  # start, end, cell, first row below it
        number = 0
        for row, cells in enumerate(rows):
            placed: list[_ColumnRange] = []
            still: list[tuple[int, int, int, int]] = []
            column = at = 0
            for cell in cells:
                while at < len(hanging) and hanging[at][0] <= column:
                    _, end, owner, free = hanging[at]
                    at += 1
                    if end > column:
                        placed.append(_ColumnRange(column, end, owner))
                        if free > row + 1:
                            still.append((column, end, owner, free))
                        column = end
                self._column.append(column)
                end = column + cell.colspan
                placed.append(_ColumnRange(column, end, number))
                if cell.rowspan > 1:
                    still.append((column, end, number, row + cell.rowspan))
                column = end
                number += 1
            for start, end, owner, free in hanging[at:]:
                if end > column:
                    placed.append(_ColumnRange(max(start, column), end, owner))
                    if free > row + 1:
                        still.append((max(start, column), end, owner, free))
            hanging = still
            self._rows.append(placed)
            self._budget.spend(len(hanging))
        self._height = len(rows)
        self._first = list(range(len(rows)))
        while hanging:
            # Rows with only hanging cells are equal until one of these ends, so one row is stored for all of them.
            self._rows.append([_ColumnRange(start, end, owner) for start, end, owner, _ in hanging])
            self._first.append(self._height)
            self._budget.spend(len(hanging))
            self._height = min(free for _, _, _, free in hanging)
            hanging = [each for each in hanging if each[3] > self._height]

    def _stored(self, row: int) -> int:
        """The index at which a row is stored; past the last one if the row is below the table."""
        return len(self._rows) if row >= self._height else bisect_right(self._first, row) - 1

    @cached_property
    def _starts(self) -> list[list[int]]:
        return [[columns.start for columns in row] for row in self._rows]

    def _beside(self, cell: int, direction: Direction) -> tuple[int, ...]:
        found: dict[int, None] = {}
        first, left = self._row[cell], self._column[cell]
        right = left + self.cells[cell].colspan
        last = self._stored(first + self.cells[cell].rowspan - 1)
        self._budget.spend(1 + last - first)
        for row in range(first, min(last + 1, len(self._rows))):
            ranges = self._rows[row]
            # What begins left of the cell is its left neighbour, even if it extends into the cell.
            at = bisect_right(self._starts[row], (left if direction == "left" else right) - 1) - 1
            if direction == "left":
                if at >= 0:
                    found[ranges[at].cell] = None
            elif at >= 0 and ranges[at].end > right:
                found[ranges[at].cell] = None
            elif at + 1 < len(ranges):
                found[ranges[at + 1].cell] = None
        return tuple(found)

    def _above_or_below(self, cell: int, direction: Direction) -> tuple[int, ...]:
        found: dict[int, None] = {}
        first, left = self._row[cell], self._column[cell]
        rows = (
            range(first - 1, -1, -1)
            if direction == "up"
            else range(self._stored(first + self.cells[cell].rowspan), len(self._rows))
        )
        open_columns = [(left, left + self.cells[cell].colspan)]
        for row in rows:
            ranges, starts = self._rows[row], self._starts[row]
            remaining: list[tuple[int, int]] = []
            for start, end in open_columns:
                at = max(0, bisect_right(starts, start) - 1)
                while at < len(ranges) and ranges[at].start < end:
                    columns = ranges[at]
                    at += 1
                    if columns.end <= start:
                        continue
                    found[columns.cell] = None
                    if columns.start > start:
                        remaining.append((start, columns.start))
                    start = columns.end
                    self._budget.spend(1)
                if start < end:
                    remaining.append((start, end))
            self._budget.spend(1)
            open_columns = remaining
            if not open_columns:
                break
        return tuple(found)
