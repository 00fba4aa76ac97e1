"""The reward: a weighted mean of quality parts, times gates."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import EditCounts, Rubric, UnitTest, parse_test


def unit_test(**record):
    return parse_test({"pdf": "a.pdf", "page": 1, "id": "t", **record}, "t")


PRESENT = unit_test(type="present", text="alpha")
ALSO_PRESENT = unit_test(type="present", text="omega")
ABSENT = unit_test(type="absent", text="Page 3")
ORDER = unit_test(type="order", before="alpha", after="omega")
BASELINE = unit_test(type="baseline")
BLANK = unit_test(type="baseline", max_length=10)
UNKNOWN = UnitTest(pdf="a.pdf", page=1, id="t", type="colour")
TESTS = [PRESENT, ALSO_PRESENT, ABSENT, ORDER]


def test_a_perfect_completion_earns_one():
    score = Rubric().score("alpha to omega", reference="alpha to omega", tests=TESTS)
    assert score.reward == 1.0
    assert score.parts == {"similarity": 1.0, "exact": 1.0, "pass_rate": 1.0, "end": 1.0, "repetition": 1.0}


def test_the_reward_is_the_weighted_mean_of_the_parts():
    """similarity 1 - 1/4, pass rate 1/2; weights 1 and 3: (1 * 3/4 + 3 * 1/2) / 4 = 9/16."""
    tests = [unit_test(type="present", text="abc"), unit_test(type="present", text="abcd")]
    score = Rubric({"similarity": 1, "pass_rate": 3}).score("abce", reference="abcd", tests=tests)
    assert (score.parts["similarity"], score.parts["pass_rate"]) == (3 / 4, 1 / 2)
    assert score.reward == 9 / 16


def test_a_part_that_does_not_apply_leaves_the_mean():
    """A reference alone: 3/4. Tests alone: 1/2."""
    assert Rubric().score("abce", reference="abcd").reward == 3 / 4
    assert Rubric().score("alpha", tests=[PRESENT, ALSO_PRESENT]).reward == 1 / 2


def test_a_part_without_weight_is_reported_all_the_same():
    score = Rubric({"similarity": 1, "exact": 0}).score("abce", reference="abcd", tests=[PRESENT])
    assert score.reward == 3 / 4
    assert (score.parts["exact"], score.parts["pass_rate"]) == (0.0, 0.0)


def test_exact_is_one_for_a_completion_that_is_equal_after_normalisation():
    rubric = Rubric({"exact": 1})
    assert rubric.score(" cafe\u0301\n", reference="caf\u00e9").reward == 1.0
    assert rubric.score("cafe", reference="caf\u00e9").reward == 0.0


def test_normalisation_is_a_parameter():
    assert Rubric(normalization=("strict",)).score("**“a”**", reference='"a"').reward == 1.0
    assert Rubric().score("**a**", reference="a").reward == 1 / 5


def test_the_unit_is_a_parameter():
    assert Rubric(unit="codepoint").score("ಕೀ", reference="ಕಿ").reward == 1 / 2
    assert Rubric(unit="grapheme").score("ಕೀ", reference="ಕಿ").reward == 0.0


def test_a_completion_that_was_cut_off_closes_the_end_gate():
    """3/4 * 1/2."""
    score = Rubric().score("abce", reference="abcd", finished=False)
    assert score.reward == 3 / 8
    assert score.parts["end"] == 0.5


def test_a_completion_that_loops_closes_the_repetition_gate():
    """Reference and completion are 40 equal phrases; the quality is 1 and the gate 1/4."""
    score = Rubric(gates={"repetition": 0.25}).score("no " * 40, reference="no " * 40)
    assert score.reward == 0.25
    assert score.parts == {"similarity": 1.0, "exact": 1.0, "repetition": 0.25}


def test_a_gate_that_is_not_named_stays_open():
    assert Rubric(gates={}).score("abcd", reference="abcd", finished=False).reward == 1.0


def test_gates_multiply():
    """1/2 * 1/2."""
    assert Rubric().score("no " * 40, reference="no " * 40, finished=False).reward == 1 / 4


@pytest.mark.parametrize("completion", ["", "\n \n", "---\n---", "****", "||||\n|--|", "```\n```", "<br><br>", "#"])
def test_form_alone_earns_nothing(completion):
    assert Rubric().score(completion, reference="alpha:omega", tests=[*TESTS, BASELINE]).reward == 0.0


def test_hole_closed_absent_pays_only_on_a_page_that_passes_baseline():
    """One of two tests passes by itself on an empty page; it does not pay."""
    empty = Rubric().score("", tests=[PRESENT, ABSENT])
    assert empty.reward == 0.0
    assert empty.verdicts[1][1].why == "the page fails baseline: no letter or digit on the page"
    loop = Rubric(gates={}).score("no " * 40, tests=[PRESENT, ABSENT])
    assert loop.reward == 0.0
    assert Rubric().score("alpha", tests=[PRESENT, ABSENT]).reward == 1.0


def test_on_a_blank_page_its_own_baseline_decides_whether_absent_pays():
    assert Rubric().score("", tests=[BLANK, ABSENT]).reward == 1.0
    assert Rubric().score("far too many letters", tests=[BLANK, ABSENT]).reward == 0.0


def test_a_script_keeps_absent_from_paying_only_where_the_page_disallows_it():
    disallowing = unit_test(type="baseline", check_disallowed_characters=True)
    assert Rubric().score("第三章", tests=[ABSENT]).verdicts[0][1].passed
    assert Rubric().score("第三章", tests=[ABSENT, BASELINE]).verdicts[0][1].passed
    assert not Rubric().score("第三章", tests=[ABSENT, disallowing]).verdicts[0][1].passed


def test_tests_without_a_check_are_named_and_neither_passed_nor_failed():
    score = Rubric().score("alpha", tests=[PRESENT, UNKNOWN])
    assert (score.passed, score.scored_tests) == (1, 1)
    assert score.not_scored == (UNKNOWN,)
    assert score.reward == 1.0


def test_hole_closed_rejected_tests_are_left_out():
    rejected = unit_test(type="present", text="wrong", checked="rejected")
    score = Rubric().score("alpha", tests=[PRESENT, rejected])
    assert (score.scored_tests, score.not_scored) == (1, ())


def test_a_page_without_reference_and_scored_tests_cannot_be_scored():
    with pytest.raises(
        ValueError,
        match=r"cannot be scored: it has no reference and 0 scored tests \(without a check: 1 colour\)",
    ):
        Rubric().prepare(tests=[UNKNOWN])


def test_a_page_to_which_no_weighted_part_applies_cannot_be_scored():
    with pytest.raises(ValueError, match="it has a reference and 0 scored tests, and the rubric weighs pass_rate"):
        Rubric({"pass_rate": 1}).prepare("alpha")


def test_an_empty_reference_is_a_reference():
    assert Rubric().score("", reference="").reward == 1.0
    assert Rubric().score("a", reference="").reward == 0.0


def test_the_score_has_the_counts_behind_cer_and_wer():
    score = Rubric().score("one too", reference="one two three")
    assert score.word_edits == EditCounts(hits=1, substitutions=1, deletions=1)
    assert score.char_edits.reference_length == 13
    assert Rubric().score("alpha", tests=[PRESENT]).char_edits is None


def test_verdicts_come_in_the_order_of_the_tests():
    score = Rubric().score("omega alpha", tests=TESTS)
    assert [(test.type, verdict.passed) for test, verdict in score.verdicts] == [
        ("present", True),
        ("present", True),
        ("absent", True),
        ("order", False),
    ]


def test_a_prepared_page_scores_each_completion_as_the_rubric_does():
    prepared = Rubric().prepare("alpha to omega", TESTS)
    for completion in ("alpha to omega", "alpha", "", "no " * 50):
        for finished in (True, False):
            expected = Rubric().score(completion, reference="alpha to omega", tests=TESTS, finished=finished)
            assert prepared.score(completion, finished) == expected


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"weights": {"similarty": 1}}, 'unknown quality part "similarty"; did you mean "similarity"'),
        ({"weights": {"end": 1}}, 'unknown quality part "end"; known: exact, front_matter, pass_rate, similarity'),
        ({"gates": {"repetitions": 1}}, 'unknown gate "repetitions"; did you mean "repetition"'),
        ({"weights": {"exact": -1, "similarity": 2}}, "write numbers >= 0, one of them positive"),
        ({"weights": {"exact": 0}}, "write numbers >= 0, one of them positive"),
        ({"weights": {}}, "write numbers >= 0, one of them positive"),
        ({"weights": {"exact": float("nan")}}, "write numbers >= 0, one of them positive"),
        ({"gates": {"end": 0}}, "write factors above 0 and up to 1"),
        ({"gates": {"end": 1.5}}, "write factors above 0 and up to 1"),
        ({"normalization": ("nfd",)}, 'unknown normalization "nfd"; did you mean "nfc"'),
        ({"unit": "letter"}, 'unknown unit "letter"; known: codepoint, grapheme'),
    ],
)
def test_a_rubric_that_makes_no_sense_is_an_error(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Rubric(**settings)


@settings(deadline=None)
@given(
    st.text(),
    st.none() | st.text(),
    st.lists(st.sampled_from([*TESTS, BASELINE, BLANK, UNKNOWN]), max_size=5),
    st.dictionaries(st.sampled_from(["similarity", "exact", "pass_rate"]), st.floats(0, 10)),
    st.dictionaries(st.sampled_from(["end", "repetition"]), st.floats(0.01, 1)),
    st.booleans(),
)
def test_a_reward_is_in_zero_to_one(completion, reference, tests, weights, gates, finished):
    try:
        prepared = Rubric(weights, gates).prepare(reference, tests)
    except ValueError:
        return
    assert 0.0 <= prepared.score(completion, finished).reward <= 1.0


@settings(deadline=None)
@given(st.text(), st.text(min_size=1))
def test_a_gate_never_raises_a_reward(completion, reference):
    gated = Rubric().score(completion, reference=reference, finished=False).reward
    assert gated <= Rubric(gates={}).score(completion, reference=reference).reward
