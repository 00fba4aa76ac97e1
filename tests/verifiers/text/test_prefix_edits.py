"""The edits that prefixes make unavoidable, against the whole table; and where normalised characters come from."""

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from helpers.cpu_clock import CpuClock
from ocr_verifiers.text.edit_distance import units
from ocr_verifiers.text.normalize import normalize
from ocr_verifiers.text.offsets import prefix_lengths
from ocr_verifiers.text.prefix_edits import prefix_edits

short = st.text("ab c", max_size=12)


def whole_table(reference, completion):
    """Rows of D(y[:t], x[:k]) by the definition of the edit distance."""
    rows = [list(range(len(reference) + 1))]
    for character in completion:
        before, row = rows[-1], [rows[-1][0] + 1]
        for k, expected in enumerate(reference, 1):
            row.append(min(before[k - 1] + (expected != character), before[k] + 1, row[-1] + 1))
        rows.append(row)
    return rows


def test_worked_numbers():
    """`abd` for `abcd` leaves c out: unavoidable once d is written. `abxcd` writes x too much."""
    left_out, too_much, unfinished = prefix_edits("abcd", ["abd", "abxcd", "ab"])
    assert left_out.fewest.tolist() == [0, 0, 0, 1]
    assert left_out.position.tolist() == [0, 1, 2, 4]
    assert too_much.fewest.tolist() == [0, 0, 0, 1, 1, 1]
    assert (left_out.distance, too_much.distance, unfinished.distance) == (1, 1, 2)
    assert unfinished.fewest.tolist() == [0, 0, 0]


@settings(max_examples=300)
@given(short, st.lists(short, min_size=1, max_size=4))
def test_it_is_the_minimum_of_each_row_of_the_table(reference, completions):
    for completion, found in zip(completions, prefix_edits(reference, completions), strict=True):
        rows = whole_table(reference, completion)
        assert found.fewest.tolist() == [min(row) for row in rows]
        assert found.position.tolist() == [max(k for k, cost in enumerate(row) if cost == min(row)) for row in rows]
        assert found.distance == rows[-1][-1] == Levenshtein.distance(reference, completion)


def test_grapheme_clusters_are_units_too():
    [found] = prefix_edits(units("e\u0301a", "grapheme"), [units("ea", "grapheme")])
    assert (found.fewest.tolist(), found.distance) == ([0, 1, 1], 1)


def test_a_group_of_sixteen_pages_of_3000_characters():
    reference = "".join(chr(97 + i * i % 23) for i in range(3000))
    completions = [reference.replace("b", "x"), reference[:1500], reference[7:] + "end"] * 5 + [reference]
    with CpuClock() as clock:
        prefix_edits(reference, completions)
    assert clock.seconds < 3


TEXTS = st.text("a b\n\te\u0301é", max_size=20)


@given(TEXTS)
def test_prefixes_write_more_and_more_of_the_normalised_text(text):
    target = normalize(text, ("nfc", "whitespace"))
    lengths = prefix_lengths(text, target)
    assert len(lengths) == len(text) + 1
    assert lengths == sorted(lengths)
    assert lengths[-1] <= len(target)
    if text == target:
        assert lengths == list(range(len(text) + 1))


def test_folded_white_space_maps_back():
    """One of the three characters between the letters becomes the space."""
    lengths = prefix_lengths("  a \n b", "a b")
    assert lengths[:4] == [0, 0, 0, 1]
    assert lengths[6:] == [2, 3]


RECORDED = json.loads((Path(__file__).parent / "pydrobert.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("row", RECORDED)
def test_optimal_completions_and_prefix_distances_are_those_of_pydrobert_pytorch(row):
    """Recorded by scripts/pydrobert_oracle.py, which compares 100,000 pairs; `$` is the end."""
    reference, completion, each = row["reference"], row["completion"], row["distances"]
    [found] = prefix_edits(reference, [completion], optimal=True)
    assert found.distance == each[-1]
    assert found.fewest[-1] == min(each)
    assert found.optimal[-1].tolist() == [k for k, distance in enumerate(each) if distance == min(each)]
    assert [following(reference, positions) for positions in found.optimal] == row["optimal"]


def following(reference, positions):
    letters = sorted({reference[k] for k in positions if k < len(reference)})
    return "".join(letters) + "$" * (len(reference) in positions)


tiny = st.text("ab", max_size=4)


@settings(max_examples=60)
@given(tiny, tiny)
def test_optimal_positions_are_by_brute_force_those_with_which_a_completion_can_still_be_best(reference, completion):
    """A next letter is optimal if no other one, nor the end, leads to a text of fewer edits."""
    suffixes = ["".join(letters) for n in range(5) for letters in product("ab", repeat=n)]
    [found] = prefix_edits(reference, [completion], optimal=True)
    for t, positions in enumerate(found.optimal):
        prefix = completion[:t]
        best = {"$": Levenshtein.distance(prefix, reference)}
        for letter in "ab":
            best[letter] = min(Levenshtein.distance(prefix + letter + rest, reference) for rest in suffixes)
        fewest = min(best.values())
        assert found.fewest[t] == fewest
        assert following(reference, positions) == "".join(
            letter for letter in ("a", "b", "$") if best[letter] == fewest
        )
