"""Two systems on the same pages: differences are paired, and documents are drawn and swapped whole."""

import random
import re

import pytest

from helpers.scored_pages import page, results
from ocr_rl.evaluation.paired import SHOWN, paired_differences
from ocr_rl.reporting.text_tables import comparison_table


def system(*edits, length=10, doc=None, **metadata):
    """Pages p0, p1, ... of `length` characters, with so many of them wrong."""
    return results(*((page(f"p{i}", "a" * length, doc and doc(i), **metadata), "z" * n + "a" * (length - n))
                     for i, n in enumerate(edits)))  # fmt: skip


def test_a_difference_is_this_rate_minus_the_other_on_the_same_pages():
    found = paired_differences(system(1, 0), system(2, 4), "old")["metrics"]["cer"]
    assert found["this"] == 1 / 20
    assert found["other"] == 6 / 20
    assert found["difference"] == pytest.approx(-5 / 20)


def test_with_two_documents_half_of_all_swaps_are_as_extreme():
    """Swapping neither or both, of four ways: p = 1/2. One swap leaves |4 - 1| = 3 of 5 edits."""
    assert paired_differences(system(1, 0), system(2, 4), "old")["metrics"]["cer"]["p"] == pytest.approx(
        1 / 2, abs=0.02
    )


def test_the_same_gain_on_eight_documents_is_seen_in_two_of_256_swaps():
    found = paired_differences(system(*[1] * 8), system(*[2] * 8), "old")["metrics"]["cer"]
    assert found["p"] == pytest.approx(2 / 256, abs=0.003)


def test_an_equal_gain_on_every_page_is_certain_however_much_pages_vary():
    """Unpaired, the rates of pages with 1 to 9 edits of 10 would overlap."""
    found = paired_differences(system(*range(9)), system(*range(1, 10)), "old")["metrics"]["cer"]
    assert found["difference_ci"] == pytest.approx([-0.1, -0.1])


def test_systems_that_do_not_differ_have_p_1_and_no_changed_pages():
    found = paired_differences(system(1, 2, 3), system(1, 2, 3), "old")
    for name in ("cer", "wer", "exact", "similarity", "truncated", "reward"):
        assert found["metrics"][name]["difference"] == 0
        assert found["metrics"][name]["difference_ci"] == [0, 0]
        assert found["metrics"][name]["p"] == 1
    assert found["metrics"]["pass_rate"] is None
    assert found["by_kind"] == {}
    assert found["pages"] == []


def test_the_pages_of_one_document_are_swapped_together():
    """Twenty better pages prove much, and one better document of twenty pages nothing."""
    apart = paired_differences(system(*[0] * 20), system(*[3] * 20), "old")
    together = paired_differences(system(*[0] * 20, doc=lambda i: "d"), system(*[3] * 20, doc=lambda i: "d"), "old")
    assert apart["metrics"]["cer"]["p"] < 0.001
    assert together["metrics"]["cer"]["p"] == 1
    assert (together["n"], together["documents"]) == (20, 1)


def test_swapping_the_two_systems_changes_the_sign_alone():
    numbers = random.Random(0)
    one, two = ([numbers.randrange(8) for _ in range(12)] for _ in range(2))
    forth = paired_differences(system(*one), system(*two), "b")["metrics"]
    back = paired_differences(system(*two), system(*one), "a")["metrics"]
    for name in ("cer", "similarity", "reward"):
        assert forth[name]["difference"] == pytest.approx(-back[name]["difference"])
        assert forth[name]["p"] == back[name]["p"]
        assert forth[name]["difference_ci"] == pytest.approx([-end for end in reversed(back[name]["difference_ci"])])


def test_pages_that_one_of_them_lacks_are_left_out():
    found = paired_differences(system(1, 0, 5), system(2, 4), "old")
    assert (found["n"], found["left_out"]) == (2, 1)
    assert found["metrics"]["cer"]["this"] == 1 / 20


def test_without_a_shared_page_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match=r"old\.json: none of the evaluated pages is in it; nothing to compare"):
        paired_differences(system(1), results((page("other"), "a")), "old.json")


def test_the_order_of_pages_changes_nothing():
    this, other = system(1, 5, 2, 0, 7), system(2, 4, 4, 4, 1)
    assert paired_differences(this[::-1], other[2:] + other[:2], "old") == paired_differences(this, other, "old")


def test_each_kind_of_test_is_compared_on_its_own():
    """One present test gained, one absent test lost: the pass rate alone shows no change."""
    one = page("a", "abcd", tests=["abcd"], absent=["zz"])
    found = paired_differences(results((one, "abcd zz")), results((one, "abc")), "old")
    assert found["metrics"]["pass_rate"]["difference"] == 0
    assert {kind: row["difference"] for kind, row in found["by_kind"].items()} == {"absent": -1, "present": 1}


def test_the_pages_that_changed_most_come_first_with_both_texts():
    found = paired_differences(system(1, 9, 2), system(1, 0, 4), "old")["pages"]
    assert [row["id"] for row in found] == ["p1", "p2"]
    assert found[0]["text"] == "z" * 9 + "a"
    assert found[0]["text_other"] == "a" * 10
    assert (found[0]["cer"], found[0]["cer_other"]) == (0.9, 0)
    assert (found[1]["reward"], found[1]["reward_other"]) == pytest.approx((0.8, 0.6))


def test_no_more_pages_than_fit_a_report_are_listed():
    assert len(paired_differences(system(*[0] * 60), system(*[1] * 60), "old")["pages"]) == SHOWN == 50


def test_a_comparison_reads_as_a_table():
    text = comparison_table(paired_differences(system(*[1] * 8, 0), system(*[2] * 8), "old.json"))
    assert text.startswith("against old.json, on 8 shared pages of 8 documents\nleft out, as old.json lacks them: 1\n")
    assert re.search(r"^cer +0\.200 +0\.100 +-0\.100 \[-0\.100, -0\.100\] +0\.00\d\d$", text, re.MULTILINE)
    assert re.search(r"^pass_rate +- +- +- +-$", text, re.MULTILINE)
    assert "changed most, by reward\n  0.800 -> 0.900   cer 0.200 -> 0.100   p0\n" in text
