"""The reward: a weighted mean of quality parts, times gates."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import EditCounts, Rubric, load_rubric, parse_test
from ocr_verifiers.rewards.groups import OLMOCR
from ocr_verifiers.rewards.rubric import PARTS, rubric_names


def unit_test(**record):
    return parse_test({"pdf": "a.pdf", "page": 1, "id": "t", **record}, "t")


PRESENT = unit_test(type="present", text="alpha")
ALSO_PRESENT = unit_test(type="present", text="omega")
ABSENT = unit_test(type="absent", text="Page 3")
ORDER = unit_test(type="order", before="alpha", after="omega")
BASELINE = unit_test(type="baseline")
BLANK = unit_test(type="baseline", max_length=10)
REJECTED = unit_test(type="present", text="wrong", checked="rejected")
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
    assert Rubric().score("Ａ", reference="A").reward == 0
    assert Rubric(normalization=("width",)).score("Ａ", reference="A").reward == 1


def test_the_unit_is_a_parameter():
    assert Rubric(unit="codepoint").score("ಕೀ", reference="ಕಿ").reward == 1 / 2
    assert Rubric(unit="grapheme").score("ಕೀ", reference="ಕಿ").reward == 0.0


def test_a_completion_that_was_cut_off_closes_the_end_gate():
    """3/4 * 1/2."""
    score = Rubric().score("abce", reference="abcd", finished=False)
    assert score.reward == 3 / 8
    assert score.parts["end"] == 0.5


def test_a_completion_that_loops_closes_the_repetition_gate():
    """2 of the 119 characters are in the reference: 2/119 * 1/4."""
    score = Rubric(gates={"repetition": 0.25}).score("no " * 40, reference="no")
    assert score.reward == pytest.approx(2 / 119 * 0.25)
    assert score.parts == pytest.approx({"similarity": 2 / 119, "exact": 0.0, "repetition": 0.25})


def test_a_gate_that_is_not_named_stays_open():
    assert Rubric(gates={}).score("abcd", reference="abcd", finished=False).reward == 1.0


def test_gates_multiply():
    """2/119 * 1/2 * 1/2; 2/3 of the characters, and of two numbers one, so 1/2 + 1/2 * 1/2."""
    assert Rubric().score("no " * 40, reference="no", finished=False).reward == pytest.approx(2 / 119 / 4)
    assert Rubric().score("7 8", reference="7 9").reward == pytest.approx(2 / 3 * (0.5 + 0.5 * 1 / 2))


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


def test_hole_closed_rejected_tests_are_left_out():
    score = Rubric().score("alpha", tests=[PRESENT, REJECTED])
    assert (score.passed, score.scored_tests, score.reward) == (1, 1, 1.0)


def test_a_page_without_reference_and_scored_tests_cannot_be_scored():
    with pytest.raises(ValueError, match=r"cannot be scored: it has no reference and 0 scored tests, and the rubric"):
        Rubric().prepare(tests=[REJECTED])


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
        ({"weights": {"end": 1}}, 'unknown quality part "end"; known: anls, cdm, consensus, exact, format_decoupled'),
        ({"gates": {"repetitions": 1}}, 'unknown gate "repetitions"; did you mean "repetition"'),
        ({"weights": {"exact": -1, "similarity": 2}}, "write numbers >= 0, one of them positive"),
        ({"weights": {"exact": 0}}, "write numbers >= 0, one of them positive"),
        ({"weights": {}}, "write numbers >= 0, one of them positive"),
        ({"weights": {"exact": float("nan")}}, "write numbers >= 0, one of them positive"),
        ({"gates": {"end": 0}}, "write factors above 0 and up to 1"),
        ({"gates": {"end": 1.5}}, "write factors above 0 and up to 1"),
        ({"normalization": ("nfd",)}, 'unknown normalization "nfd"; did you mean "nfc"'),
        ({"compat": "strict"}, 'unknown compat "strict"; known: olmocr'),
        ({"unsupported": 1.5}, "unsupported is 1.5; write a number from 0 to 1"),
        ({"unit": "letter"}, 'unknown unit "letter"; known: codepoint, grapheme'),
    ],
)
def test_a_rubric_that_makes_no_sense_is_an_error(settings, complaint):
    with pytest.raises(ValueError, match=complaint):
        Rubric(**settings)


# What passing tests pays


def test_hole_closed_passing_tests_pays_no_more_than_the_similarity_to_the_reference():
    """The test passes; 5 of 12 characters are the reference's: (5/12 + 5/12) / 2."""
    score = Rubric().score("alpha ", reference="alpha beta g", tests=[PRESENT])
    assert score.parts["pass_rate"] == 1.0
    assert score.parts["similarity"] == 5 / 12
    assert score.reward == 5 / 12


def test_on_a_page_unlike_its_reference_passed_tests_pay_at_most_a_third_or_so():
    """similarity 5/50; both tests pass: (0.1 + 0.35) / 2."""
    tests = [unit_test(type="present", text="alpha"), unit_test(type="present", text="lpha")]
    score = Rubric().score("alpha", reference="alpha" + " b" * 22 + "c", tests=tests)
    assert score.parts == {"similarity": 0.1, "exact": 0.0, "pass_rate": 1.0, "end": 1.0, "repetition": 1.0}
    assert score.reward == pytest.approx((0.1 + 0.35) / 2)
    assert score.why["pass_rate"] == "pays 0.35: the similarity to the reference is 0.1"


def test_a_page_that_is_like_its_reference_is_paid_for_its_tests_as_they_pass():
    """similarity 3/4 and pass rate 1/2: nothing is limited."""
    score = Rubric().score("abce", reference="abcd", tests=[unit_test(type="present", text=t) for t in ("abc", "d")])
    assert score.reward == (3 / 4 + 1 / 2) / 2
    assert "pass_rate" not in score.why


def test_the_limit_is_a_parameter():
    tests = [unit_test(type="present", text="alpha")]
    assert Rubric({"pass_rate": 1}, unsupported=1).score("alpha", reference="b" * 90, tests=tests).reward == 1.0
    assert Rubric({"pass_rate": 1}, unsupported=0.2).score("alpha", reference="b" * 90, tests=tests).reward == 0.2


def test_the_verdicts_of_olmocr_pay_in_full():
    tests = [unit_test(type="present", text="alpha")]
    assert OLMOCR.score("alpha", reference="b" * 90, tests=tests).reward == 1.0


PROSE = (
    "The old ferry crossed the river twice a day until the bridge was opened, and nobody who lived on the northern "
    "bank remembers a winter in which the ice did not stop it for at least a week or two before the thaw"
)


def prose_tests():
    return [unit_test(type="present", text=text) for text in ("northern", "remembers", "ferry crossed")]


def test_hole_closed_a_page_that_says_everything_twice_is_no_page():
    """If only tests are known; half of the words are repetitions."""
    assert Rubric().score(PROSE, tests=prose_tests()).reward == 1.0
    twice = Rubric().score(f"{PROSE}\n\n{PROSE}", tests=prose_tests())
    assert twice.reward == 0.5
    assert twice.why == {"pass_rate": "pays 0.5: 50% of the page repeats what is on it before"}


def test_hole_closed_a_page_that_says_every_word_twice_is_no_page():
    assert Rubric().score(" ".join(f"{w} {w}" for w in PROSE.split()), tests=prose_tests()[:2]).reward == 0.5


def test_hole_closed_a_list_of_what_the_tests_ask_for_is_no_page():
    """Three words are tested on their own and as parts of a sentence; a real page has them only in the sentence."""
    sentence = "the ferryman returned before midnight"
    words = ["ferryman", "returned", "midnight"]
    tests = [unit_test(type="present", text=text) for text in (*words, sentence)]
    listed = Rubric().score("\n".join([*words, sentence]), tests=tests)
    assert (listed.parts["pass_rate"], listed.reward) == (1.0, 0.35)
    assert listed.why == {"pass_rate": "pays 0.35: the page is a list of what its tests ask for"}
    assert Rubric().score(sentence, tests=tests).reward == 1.0
    assert Rubric().score(f"{sentence}. Nobody had waited for the {', '.join(words)}", tests=tests).reward == 1.0


def test_hole_closed_a_page_in_a_comment_or_of_zero_width_characters_is_hardly_there():
    """Half of the characters are zero-width spaces."""
    assert Rubric().score(f"<!--{PROSE}-->", tests=prose_tests()).reward == 0.35
    assert Rubric().score("\u200b".join([*PROSE, ""]), tests=prose_tests()).reward == pytest.approx(0.5)


def test_a_blank_page_is_coherent():
    assert Rubric().score("", tests=[BLANK]).reward == 1.0


def test_a_page_whose_own_baseline_allows_more_repeats_may_repeat_itself():
    own = unit_test(type="baseline", max_repeats=100)
    rubric = Rubric(gates={})
    assert rubric.score("no " * 40, tests=[own]).reward == 1.0
    assert rubric.score("no " * 40, tests=[unit_test(type="present", text="no")]).reward == 0.35


@settings(deadline=None)
@given(st.text(), st.text(), st.lists(st.sampled_from([*TESTS, BASELINE, BLANK]), max_size=5))
def test_no_completion_earns_more_than_its_similarity_or_a_third_or_so(completion, reference, tests):
    for rubric in (Rubric(), Rubric({"similarity": 0.7, "pass_rate": 0.3}), Rubric({"similarity": 1, "exact": 1})):
        score = rubric.score(completion, reference=reference, tests=tests)
        assert score.reward <= max(0.35, score.parts["similarity"]) + 1e-12


# Reasons


def test_every_part_that_is_zero_and_every_closed_gate_has_a_reason():
    weights = dict.fromkeys(PARTS, 1.0) | {"formulas": 0, "format_decoupled": 0}
    reference = "Twelve 12\n\nfoo bar\n\n|a|b|\n|-|-|\n|1|2|"
    score = Rubric(weights).score("no " * 40, reference=reference, tests=[PRESENT], finished=False)
    zero = {name for name, value in score.parts.items() if value == 0.0}
    assert zero >= {"exact", "word_similarity", "numbers", "tables", "pass_rate", "pass_rate_macro", "front_matter"}
    assert score.why.keys() == zero | {"end", "repetition", "wrong_numbers"}
    assert score.why["end"] == "the completion was cut off"
    assert score.why["repetition"] == '"no " is repeated 39 times in a row'
    assert score.why["numbers"] == "none of the reference's 3 numbers"


def test_a_part_that_is_not_named_is_not_computed():
    parts = Rubric().score("abce", reference="abcd 1", tests=[PRESENT]).parts
    assert parts.keys() == {"similarity", "exact", "pass_rate", "end", "repetition", "wrong_numbers"}
    assert "numbers" in Rubric({"similarity": 1, "numbers": 0}).score("abce", reference="abcd 1").parts


def test_a_part_of_which_the_reference_has_nothing_leaves_the_mean():
    """No number in the reference: similarity 3/4 alone."""
    assert Rubric({"similarity": 1, "numbers": 3}).score("abc7", reference="abcd").reward == 3 / 4
    with pytest.raises(ValueError, match="it has a reference and 0 scored tests, and the rubric weighs numbers"):
        Rubric({"numbers": 1}).prepare("abcd")


# Rubrics from files


def test_the_default_rubric_is_the_one_of_that_name():
    assert load_rubric("default") == Rubric()


def test_the_rubric_named_olmocr_is_its_reward():
    assert load_rubric("olmocr") == OLMOCR


@pytest.mark.parametrize("name", rubric_names())
def test_every_ready_made_rubric_pays_one_for_a_perfect_page(name):
    if name == "format_decoupled":
        pytest.importorskip("py_mini_racer")
    reference = "# Title\n\nIn 1871 it rained, and \\(x^2\\) grew.\n\n| a | b |\n| - | - |\n| 1 | 2 |"
    tests = [unit_test(type="present", text="rained"), unit_test(type="table", cell="1", right="2")]
    rubric = load_rubric(name)
    assert rubric.score(reference, reference=reference, tests=tests).reward == pytest.approx(1.0)
    assert rubric.score("", reference=reference, tests=tests).reward == 0.0


def test_the_layout_reward_is_the_mean_of_edits_paragraphs_and_order():
    """Two of two paragraphs in the wrong order: order 0, count 1, which pays .35 on a page so unlike the reference."""
    score = load_rubric("layout").score("bbbbb\n\naaaaa", reference="aaaaa\n\nbbbbb")
    assert (score.parts["paragraphs"], score.parts["reading_order"]) == (1.0, 0.0)
    assert score.parts["similarity"] < 0.35
    assert score.reward == pytest.approx((score.parts["similarity"] + 0.35) / 3)


def test_a_rubric_can_be_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('unit = "grapheme"\nunsupported = 1\n[weights]\nexact = 1\n[gates]\nend = 0.25\n')
    assert load_rubric(file) == Rubric({"exact": 1}, {"end": 0.25}, unit="grapheme", unsupported=1)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[weights", "mine.toml: not valid TOML"),
        ("wights = 1", 'mine.toml: unknown key "wights"; did you mean "weights"'),
        ("weights = 1", "mine.toml: weights is 1; write a table of numbers"),
        ('[weights]\nexact = "much"', "write a table of numbers"),
        ("[weights]\nexact = true", "write a table of numbers"),
        ("[weights]\nexcat = 1", 'mine.toml: unknown quality part "excat"; did you mean "exact"'),
        ("[gates]\nend = 2", "mine.toml: gates are"),
        ('normalization = "nfc"', "write a list of names"),
        ("unit = 1", "write a name"),
        ('unsupported = "all"', "write a number from 0 to 1"),
    ],
)
def test_a_rubric_file_with_a_mistake_is_an_error_with_its_name(tmp_path, text, complaint):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        load_rubric(file)


def test_a_rubric_that_is_not_there_names_the_ones_that_are():
    with pytest.raises(ValueError, match='no rubric "layuot"; write one of default, format_decoupled, layout'):
        load_rubric("layuot")
    with pytest.raises(ValueError, match=r"nowhere.toml: No such file"):
        load_rubric(Path("nowhere.toml"))


@settings(deadline=None)
@given(
    st.text(),
    st.none() | st.text(),
    st.lists(st.sampled_from([*TESTS, BASELINE, BLANK, REJECTED]), max_size=5),
    st.dictionaries(st.sampled_from(sorted({*PARTS} - {"formulas", "format_decoupled"})), st.floats(0, 10)),
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
