"""TEDS computed by hand: one minus edits over the nodes, rows and cells, of the larger table."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers.markup.grid import Budget, Cell, Grid
from ocr_verifiers.metrics import teds as table_similarity
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


def test_a_large_table_is_compared_as_a_sequence(monkeypatch):
    """7 of 8 tokens of the sequence (6 cells and 2 row ends) are the same."""
    monkeypatch.setattr(table_similarity, "MAX_CELLS", 5)
    rows = [["a", "b", "c"], ["d", "e", "f"]]
    assert teds(grid(rows), grid(rows)) == 1
    assert teds(grid(rows), grid([rows[0], ["d", "xx", "f"]])) == pytest.approx(7 / 8)


def test_a_huge_table_is_compared_in_bounded_time():
    huge = grid([["a"] * 10] * 5_000)
    assert teds(huge, huge) == 1
    assert teds(grid([["a", "b"]]), huge) < 0.001


def test_tables_of_a_page_are_weighed_by_their_cells():
    """One of two tables with 4 cells each is missing: 8 of 12 cells belong to the pair."""
    other = BASE.replace("uv", "x").replace(">c<", ">y<")
    assert tables_similarity(BASE + other, BASE + other) == 1
    assert tables_similarity(BASE + other, BASE) == tables_similarity(BASE, BASE + other) == pytest.approx(8 / 12)
    assert tables_similarity(BASE + other, other) == pytest.approx(8 / 12)


def test_pages_without_tables_are_alike():
    assert tables_similarity("a", "b") == 1
    assert tables_similarity(BASE, "b") == tables_similarity("a", BASE) == 0
