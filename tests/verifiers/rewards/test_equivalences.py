"""Pairs of texts that count as equal."""

import pytest

from ocr_verifiers import load_rubric
from ocr_verifiers.text.equivalences import equate, read_equivalences


def test_the_longest_text_is_replaced_first_and_each_place_once():
    assert equate("aab ab", (("a", "b"), ("ab", "c"))) == "bc c"


def test_a_rubric_reads_its_pairs_from_a_file_beside_it(tmp_path):
    (tmp_path / "pairs.tsv").write_text("# old prints\nſt\tst\n\n&c.\tetc.\n", encoding="utf-8")
    (tmp_path / "rubric.toml").write_text('equivalences = "pairs.tsv"\n')
    score = load_rubric(tmp_path / "rubric.toml").score("meſt, etc.", reference="mest, &c.")
    assert score.reward == score.parts["exact"] == 1.0


@pytest.mark.parametrize(
    ("text", "message"),
    [("a b\n", "pairs.tsv:1: has 1 columns"), ("a\tb\na\tc\n", "pairs.tsv:2: 'a' is replaced on an earlier line")],
)
def test_a_line_that_is_no_pair_is_named(tmp_path, text, message):
    (tmp_path / "pairs.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_equivalences(tmp_path / "pairs.tsv")
