"""Agreement among the completions of a page, by worked numbers, properties, and in rewards."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ocr_verifiers import Group, Rubric, ScoringPool, score_groups
from ocr_verifiers.cli.main import main
from ocr_verifiers.rewards.consensus import consensus
from ocr_verifiers.text.edit_distance import char_edits

TEXTS = ["abcd", "abcd", "abxd", "zz"]
"""s = 1 between the first two, .75 to the third, 0 to the last."""

groups = st.lists(st.text("abc é\n", max_size=12), min_size=2, max_size=6)


def test_worked_numbers():
    assert consensus(TEXTS) == pytest.approx([1.75 / 3, 1.75 / 3, 1.5 / 3, 0])
    assert consensus(TEXTS, "medoid") == pytest.approx([1, 1, 0.75, 0])
    assert consensus(["e\u0301a", "ea"], unit="codepoint") == pytest.approx([1 - 0.75 / 2.75, 1 - 1 / 3])
    assert consensus(["e\u0301a", "ea"], unit="grapheme") == pytest.approx([1 / 2] * 2)


def test_writing_nothing_agrees_with_nothing():
    assert consensus(["", "", ""]) == [0, 0, 0]
    assert consensus(["", "", "abc", "abc"]) == pytest.approx([0, 0, 1 / 3, 1 / 3])


def test_leaving_out_what_most_siblings_read_costs_more_than_reading_it():
    """Of 16 completions, 9 have a third line, whose readings share six of ten characters."""
    start = "the first line\nthe second line\n"
    readings = ["abcdef1234", "abcdef5678", "abcdefQRST", "abcdefUVWX"]
    long, short = [start + readings[i % 4] for i in range(9)], [start] * 7
    values = consensus(long + short)
    assert min(values[:9]) > max(values[9:])
    edits = [sum(char_edits(a, b).similarity for b in long + short) - 1 for a in (long[0], short[0])]
    assert edits[0] < edits[1], "by edit similarity leaving it out would pay"


def test_neither_noise_nor_repetition_pays():
    read = ["a page with words", "a page with word5", "a pagc with words", "a page with wonds"] * 2
    for other in ("a page with words" * 2, "a page with words lkj wqe mnb", "x" * 60):
        values = consensus([*read, other])
        assert values[-1] < values[0]


@given(groups)
def test_it_is_the_mean_similarity_to_the_others(texts):
    def similarity(a, b):
        free = 0.25 * max(0, len(a) - len(b))
        return 1 - (char_edits(a, b).distance - free) / (max(len(a), len(b)) - free) if a and b else 0.0

    expected = [
        sum(similarity(a, b) for j, b in enumerate(texts) if j != i) / (len(texts) - 1) for i, a in enumerate(texts)
    ]
    assert consensus(texts) == pytest.approx(expected)
    best = texts[expected.index(max(expected))]
    first, second = sorted(expected, reverse=True)[:2]
    if first - second > 1e-9:  # of texts that agree equally, either may be the one
        assert consensus(texts, "medoid") == pytest.approx([similarity(text, best) for text in texts])


@given(groups, st.randoms(use_true_random=False))
def test_the_order_of_siblings_does_not_matter(texts, random):
    order = random.sample(range(len(texts)), len(texts))
    values = consensus(texts)
    assert consensus([texts[i] for i in order]) == pytest.approx([values[i] for i in order])


def test_one_completion_has_nothing_to_agree_with():
    with pytest.raises(ValueError, match="there is 1, and 2 are needed"):
        consensus(["a"])


def group(*completions, reference=None, finished=None):
    return Group("f:1", "p", reference, (), completions, finished or (True,) * len(completions))


def rewards(rubric, one):
    [(_, scores)] = score_groups(rubric, [one])
    return [score.reward for score in scores]


def test_a_page_without_labels_is_scored_by_agreement_alone():
    assert rewards(Rubric(weights={"consensus": 1}), group(*TEXTS)) == pytest.approx([1.75 / 3, 1.75 / 3, 1.5 / 3, 0])


def test_it_is_weighted_beside_what_else_is_known():
    """.25 of the similarity, 0 for all but the right text, and .75 of the agreement."""
    rubric = Rubric(weights={"exact": 1, "consensus": 3})
    assert rewards(rubric, group(*TEXTS, reference="abcd")) == pytest.approx(
        [0.25 + 0.75 * 1.75 / 3, 0.25 + 0.75 * 1.75 / 3, 0.75 * 1.5 / 3, 0]
    )


def test_gates_take_from_agreement_too():
    rubric = Rubric(weights={"consensus": 1}, gates={"end": 0.5})
    assert rewards(rubric, group("ab", "ab", finished=(True, False))) == [1.0, 0.5]


def test_texts_are_compared_as_they_are_scored():
    """Normalised, and in the output format of the rubric."""
    assert rewards(Rubric(weights={"consensus": 1}), group("a  b\n", "a b")) == [1, 1]
    rubric = Rubric(weights={"consensus": 1}, output="tags")
    assert rewards(rubric, group("<page_number>7</page_number>a", "a")) == [1, 1]


def test_processes_give_the_same_scores():
    rubric = Rubric(weights={"similarity": 1, "consensus": 1})
    with ScoringPool(rubric, 1) as pool:
        [(_, scores)] = pool.score_groups([group(*TEXTS, reference="abcd")])
    assert [score.reward for score in scores] == rewards(rubric, group(*TEXTS, reference="abcd"))


def test_groups_without_labels_from_a_file(tmp_path):
    (tmp_path / "rubric.toml").write_text("weights = { consensus = 1 }")
    (tmp_path / "groups.jsonl").write_text(json.dumps({"id": "a", "completions": TEXTS}))
    command = ["groups", str(tmp_path / "groups.jsonl"), "--rubric", str(tmp_path / "rubric.toml")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    [row] = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [each["parts"]["consensus"] for each in row["completions"]] == pytest.approx([1.75 / 3, 1.75 / 3, 0.5, 0])


def test_an_unknown_kind_of_agreement_is_an_error():
    with pytest.raises(ValueError, match='unknown agreement "sibling"; did you mean "siblings"'):
        Rubric(weights={"consensus": 1}, agreement="sibling")
