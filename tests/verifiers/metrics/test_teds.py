"""TEDS computed by hand: one minus edits over the nodes, rows and cells, of the larger table."""

import time
import tracemalloc
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.grid import Budget, Cell, Grid
from ocr_verifiers.metrics import teds as table_similarity
from ocr_verifiers.metrics import tree_distance
from ocr_verifiers.metrics.teds import tables_similarity, teds

BASE = "<table><tr><td>uv</td><td>c</td></tr><tr><td>d</td><td>e</td></tr></table>"


def test_a_table_is_like_itself_however_it_is_written():
    markdown = "| uv | c |\n|---|---|\n| d | e |"
    assert teds(BASE, BASE) == teds(BASE, markdown) == 1


def test_a_wrong_letter_costs_its_share_of_the_cell():
    """`uv` for `ux`: 1/2 of one of 6 nodes (2 rows, 4 cells)."""
    assert teds(BASE, BASE.replace("uv", "ux")) == pytest.approx(1 - 0.5 / 6)
    assert teds(BASE, BASE.replace("uv", "ux"), structure_only=True) == 1


def test_a_missing_cell_costs_one_node():
    assert teds(BASE, BASE.replace("<td>e</td>", "")) == pytest.approx(1 - 1 / 6)


def test_a_missing_row_costs_its_row_and_its_cells():
    assert teds(BASE, BASE.replace("<tr><td>d</td><td>e</td></tr>", "")) == pytest.approx(1 - 3 / 6)


def test_another_span_costs_a_cell():
    other = BASE.replace("<td>e", "<td colspan=2>e")
    assert teds(BASE, other) == teds(BASE, other, structure_only=True) == pytest.approx(1 - 1 / 6)


def test_two_rows_in_one_cost_both_rows_and_the_new_one():
    """No cell may stay with a row that was not its own, so two rows are deleted and one is inserted: 3 of 6 nodes."""
    assert teds(BASE, BASE.replace("</tr><tr>", "")) == pytest.approx(1 - 3 / 6)


def test_no_table_is_unlike_a_table_and_like_none():
    assert teds(BASE, "prose") == teds("", BASE) == 0
    assert teds("", "prose") == 1


def grid(rows):
    return Grid([[Cell(text) for text in row] for row in rows], Budget(1_000_000))


GRIDS = st.lists(st.lists(st.sampled_from(["", "a", "ab", "b"]), max_size=3), min_size=1, max_size=4).map(grid)


@settings(deadline=None, max_examples=60)
@given(GRIDS, GRIDS)
def test_teds_is_symmetric_within_bounds_and_one_for_equal_tables(a, b):
    assert teds(a, b) == pytest.approx(teds(b, a))
    assert 0 <= teds(a, b) <= 1
    assert teds(a, a) == 1
    assert (teds(a, b) == 1) == (a.rows == b.rows)


def forest_distance(a, b, cost):
    """Zhang and Shasha's recursion as it is written, on forests of (label, children)."""

    @cache
    def size(forest):
        return sum(1 + size(children) for _, children in forest)

    @cache
    def distance(left, right):
        if not left or not right:
            return size(left) + size(right)
        (label, below), (other, other_below) = left[-1], right[-1]
        return min(
            distance(left[:-1] + below, right) + 1,
            distance(left, right[:-1] + other_below) + 1,
            distance(left[:-1], right[:-1]) + distance(below, other_below) + cost(label, other),
        )

    return distance(a, b)


@settings(deadline=None, max_examples=60)
@given(GRIDS, GRIDS)
def test_teds_is_the_recursion_of_zhang_and_shasha(a, b):
    def tree(grid):
        return (("table", tuple((None, tuple((cell.text, ()) for cell in row)) for row in grid.rows)),)

    def cost(one, other):
        if one is None or other is None or "table" in (one, other):
            return float(one != other)
        return Levenshtein.normalized_distance(one, other)

    nodes = max(len(g.rows) + len(g.cells) for g in (a, b))
    assert teds(a, b) == pytest.approx(max(0, 1 - forest_distance(tree(a), tree(b), cost) / nodes), abs=1e-6)


@pytest.mark.parametrize("columns", [20, 21, 100])
def test_the_same_error_costs_the_same_in_a_table_of_any_size(columns):
    """One of six letters in each cell, 20 rows: 1 - cells / 6 / (cells + rows)."""
    rows = [[f"val{r:02}{c % 10}" for c in range(columns)] for r in range(20)]
    wrong = [[f"{text[:-1]}x" for text in row] for row in rows]
    cells = 20 * columns
    assert teds(grid(rows), grid(wrong)) == pytest.approx(1 - cells / 6 / (cells + 20))


def test_a_table_of_too_many_pairs_is_compared_in_bands(monkeypatch):
    """The wrong cell costs the same; a missing row of the first band shifts one into it."""
    rows = [[f"{r}-{c}" for c in range(4)] for r in range(40)]
    other = [list(row) for row in rows]
    other[30][2] = "zzzz"
    whole = teds(grid(rows), grid(other))
    fewer = teds(grid(rows), grid(rows[1:]))
    monkeypatch.setattr(table_similarity, "MAX_PAIRS", 80 * 160)
    assert teds(grid(rows), grid(other)) == pytest.approx(whole) == 1 - 1 / 200
    assert fewer - 0.06 < teds(grid(rows), grid(rows[1:])) <= fewer


def test_a_huge_table_is_compared_in_bounded_time():
    huge = grid([["a"] * 10] * 5_000)
    assert teds(huge, huge) == 1
    assert teds(grid([["a", "b"]]), huge) < 0.001


@settings(deadline=None, max_examples=40)
@given(GRIDS, GRIDS, st.integers(1, 60))
def test_some_rows_at_a_time_give_the_same_distance(a, b, at_once):
    whole = tree_distance.tree_distance(a.rows, b.rows, table_similarity.text_costs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_distance, "AT_ONCE", at_once)
        assert tree_distance.tree_distance(a.rows, b.rows, table_similarity.text_costs) == whole


def test_rows_at_a_time_have_a_bounded_number_of_pairs_of_nodes(monkeypatch):
    """A row of 2 cells has 3 nodes, with 10 nodes 30 pairs; a row that is too long stands alone."""
    monkeypatch.setattr(tree_distance, "AT_ONCE", 60)
    rows = [[Cell("a")] * cells for cells in (2, 2, 2, 9, 0, 0, 0, 0, 0, 0, 0)]
    assert [len(chunk) for chunk in tree_distance._chunks(rows, 10)] == [2, 1, 1, 6, 1]


@pytest.mark.parametrize("swapped", [False, True])
def test_a_loop_of_empty_rows_takes_bounded_memory(swapped):
    """5,000 rows with no cell against 5,000 cells in rows of 10: 5,000 nodes of 5,500 are missing or more."""
    sides = [grid([["a"] * 10] * 500), grid([[]] * 5_000)]
    tracemalloc.start()
    try:
        assert 0 <= teds(*(reversed(sides) if swapped else sides)) < 0.1
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_a_table_of_very_many_empty_rows_is_compared_in_bands():
    assert 0 <= teds(grid([["a"] * 10] * 500), grid([[]] * 15_000)) < 0.4


@pytest.mark.slow
def test_five_thousand_cells_are_compared_in_two_seconds():
    """CPU seconds, with room for a busy machine; every text occurs once."""
    rows = [[f"cell {r} {c}" for c in range(10)] for r in range(500)]
    wrong = [[f"{text} x" for text in row] for row in rows]
    start = time.process_time()
    assert 0.7 < teds(grid(rows), grid(wrong)) < 0.9
    assert time.process_time() - start < 4


def test_tables_of_a_page_are_weighed_by_their_cells():
    """One of two tables with 4 cells each is missing: 8 of 12 cells belong to the pair."""
    other = BASE.replace("uv", "x").replace(">c<", ">y<")
    assert tables_similarity(BASE + other, BASE + other) == 1
    assert tables_similarity(BASE + other, BASE) == tables_similarity(BASE, BASE + other) == pytest.approx(8 / 12)
    assert tables_similarity(BASE + other, other) == pytest.approx(8 / 12)


def test_pages_without_tables_are_alike():
    assert tables_similarity("a", "b") == 1
    assert tables_similarity(BASE, "b") == tables_similarity("a", BASE) == 0
