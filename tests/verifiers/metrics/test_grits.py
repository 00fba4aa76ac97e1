"""GriTS by hand, and by table-metrics 1.0: `python scripts/bench/measures.py grits` compares thousands of tables."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers.markup.grid import Budget, Cell, Grid
from ocr_verifiers.metrics import grits, grits_con, grits_top, tables_grits

BASE = "| uv | c |\n|---|---|\n| d | e |"


def test_a_table_is_like_itself_however_it_is_written():
    html = "<table><tr><td>uv</td><td>c</td></tr><tr><td>d</td><td>e</td></tr></table>"
    assert grits(BASE, BASE) == grits(BASE, html) == (1, 1)


def test_a_wrong_letter_costs_its_share_of_a_place():
    """`uv` for `ux`: a common subsequence of 1 of 2, so 3.5 of 4 places."""
    assert grits(BASE, BASE.replace("uv", "ux")) == (3.5 / 4, 1)


def test_a_missing_row_costs_its_places():
    """2 of 2 places are right, and 2 of 4 are found: 2 * 2 / (2 + 4)."""
    assert grits(BASE + "\n| f | g |", BASE) == pytest.approx((2 * 4 / 10, 2 * 4 / 10))


def test_rows_in_another_order_pair_once():
    """Of two exchanged rows that share nothing only one is aligned."""
    assert grits_con("| a | b |\n|---|---|\n| c | d |", "| c | d |\n|---|---|\n| a | b |") == 2 / 4


def test_the_topology_is_that_of_spans():
    """Two places against a cell over both: each rectangle has area 1 inside one of area 2."""
    assert grits_top("<table><tr><td>a<td>b</table>", "<table><tr><td colspan=2>a</table>") == 1 / 2


def test_a_place_without_a_cell_is_an_empty_one():
    assert grits("<table><tr><td>a<td>b<tr><td>c</table>", "<table><tr><td>a<td>b<tr><td>c<td></table>") == (1, 1)


def test_no_table_is_unlike_a_table_and_like_none():
    assert grits(BASE, "prose") == grits("", BASE) == (0, 0)
    assert grits("", "prose") == tables_grits("", "prose") == (1, 1)


def test_tables_of_pages_are_weighted_by_their_cells():
    """4 cells on both sides, and 2 that are missing."""
    assert tables_grits(BASE + "\n\n| x |\n|---|\n| y |", BASE) == (8 / 10, 8 / 10)


# fmt: off
ORACLE = [  # by grits_con_score and grits_top_score of table-metrics 1.0
    ('<table><tr><td>item</td><td rowspan="3" colspan="2">north</td><td rowspan="3">per</td></tr><tr><td>net 12</td></tr><tr><td>1,204</td></tr></table>',  # noqa: E501
     '<table><tr><td rowspan="2">item</td><td rowspan="2">north</td><td rowspan="2">gross</td><td rowspan="2">per</td></tr><tr></tr><tr><td>net</td><td></td><td>per nil per</td><td>total</td></tr></table>',  # noqa: E501
     0.4790404040404041, 0.4444444444444444),
    ('<table><tr><td colspan="2">gross 1,204</td><td>nil total</td><td>total north item</td><td>7.5</td></tr></table>',
     "<table><tr><td>x</td></tr></table>", 0.0, 0.33333333333333337),
    ('<table><tr><td>total</td><td></td></tr><tr><td colspan="2"></td></tr></table>',
     '<table><tr><td rowspan="2">total</td><td></td></tr><tr><td>north</td></tr><tr><td></td><td>south</td></tr></table>',  # noqa: E501
     0.6, 0.5),
    ('<table><tr><td>1,204</td><td>of</td></tr><tr><td>nil</td><td></td></tr><tr><td colspan="2">per total south</td></tr></table>',  # noqa: E501
     '<table><tr><td>1,204</td><td>item</td></tr><tr><td colspan="2">per total south</td></tr></table>', 0.6, 0.8),
    ('<table><tr><td colspan="2">south</td></tr><tr><td>7.5 item net</td><td>gross per</td></tr><tr><td>nil nil gross</td><td>1,204 net 7.5</td></tr></table>',  # noqa: E501
     "<table><tr><td>1,204 item</td></tr><tr><td>gross per</td></tr></table>", 0.275, 0.5),
]
# fmt: on


@pytest.mark.parametrize(("reference", "completion", "content", "topology"), ORACLE)
def test_the_values_are_those_of_table_metrics(reference, completion, content, topology):
    assert grits(reference, completion) == pytest.approx((content, topology), abs=1e-9)


def grid(rows):
    return Grid([[Cell(text, False, *spans) for text, *spans in row] for row in rows], Budget(1_000_000))


CELLS = st.tuples(st.sampled_from(["", "a", "ab", "ba"]), st.integers(1, 3), st.integers(1, 3))
GRIDS = st.lists(st.lists(CELLS, max_size=3), min_size=1, max_size=4).map(grid)


@settings(deadline=None, max_examples=100)
@given(GRIDS, GRIDS)
def test_any_two_tables_have_a_similarity_and_only_equal_ones_of_1(a, b):
    for measure in (grits_con, grits_top):
        assert 0 <= measure(a, b) <= 1
        assert measure(a, a) == 1
    if a.cells and grits(a, b) == (1, 1):
        assert a.shape == b.shape


def test_large_tables_are_compared_by_their_first_rows():
    """5,000 of 6,000 places can be right, but for equal tables."""
    rows = [[(f"{r * 7 % 97}", 1, 1)] * 20 for r in range(300)]
    assert grits_con(grid(rows), grid(rows)) == 1
    with CpuClock() as clock:
        assert grits_con(grid(rows), grid([*rows[:-1], [("x", 1, 1)] * 20])) == pytest.approx(5 / 6)
    assert clock.seconds < 5


def test_a_cell_over_a_million_places_costs_no_more():
    table = grid([[("a", 1_000, 1_000)]])
    assert grits_top(table, grid([[("a", 1, 1)]])) < 1e-5
