"""Pairs and labels from scored groups, by texts and rewards alone, and the files that hold them."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.tiny_models import make_page
from ocr_rl.config.presets import PromptFormat
from ocr_rl.rewards.group_files import group_row, read_groups
from ocr_rl.rewards.preference_files import label_row, pair_row, read_labels, read_pairs
from ocr_rl.rewards.preference_output import PairOptions, write_preferences
from ocr_rl.rewards.preferences import labels_of_groups, largest_margin, pairs_of_groups
from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.types import Completion, Group

CHOICES = ("best-worst", "margin", "best-of-n")


def scored(*rows, page=None):
    """Rows (text, reward) or (text, reward, finished)."""
    completions = [Completion((), text, "length" if False in rest else "end", ()) for text, _, *rest in rows]
    return ScoredGroup(Group(page or make_page(), completions), (), [reward for _, reward, *_ in rows])


GROUP = scored(("b", 0.5), ("a", 1.0), ("d", 0.0), ("c", 0.4), ("a", 1.0))


def texts(pairs):
    return [(pair.chosen.text, pair.rejected.text) for pair in pairs]


def labels(found):
    return [(label.completion.text, label.desirable) for label in found]


# Pairs.


def test_the_best_against_the_worst():
    (pair,) = pairs_of_groups([GROUP])
    assert (pair.chosen.text, pair.rejected.text) == ("a", "d")
    assert (pair.chosen_reward, pair.rejected_reward, pair.margin) == (1.0, 0.0, 1.0)
    assert pair.page is GROUP.group.page
    assert pair.chosen is GROUP.group.completions[1]


def test_the_best_against_all_others_the_worst_first():
    assert texts(pairs_of_groups([GROUP], "best-of-n")) == [("a", "d"), ("a", "c"), ("a", "b")]
    assert texts(pairs_of_groups([GROUP], "best-of-n", margin=0.55)) == [("a", "d"), ("a", "c")]


def test_every_two_that_are_a_margin_apart_the_largest_first_and_at_most_max_pairs():
    """Differences: a-d 1, a-c .6, a-b .5, b-d .5, c-d .4, b-c .1."""
    every = [("a", "d"), ("a", "c"), ("a", "b"), ("b", "d"), ("c", "d"), ("b", "c")]
    assert texts(pairs_of_groups([GROUP], "margin", margin=0.05)) == every
    assert texts(pairs_of_groups([GROUP], "margin", margin=0.4)) == every[:5]
    assert texts(pairs_of_groups([GROUP], "margin", margin=0.05, max_pairs=2)) == every[:2]


def test_a_difference_of_exactly_the_margin_is_enough():
    assert texts(pairs_of_groups([scored(("a", 0.75), ("b", 0.5))], margin=0.25)) == [("a", "b")]


@pytest.mark.parametrize("choose", CHOICES)
def test_a_group_without_the_margin_gives_no_pair_and_the_others_give_theirs(choose):
    flat = scored(("a", 0.5), ("b", 0.45))
    assert pairs_of_groups([flat], choose) == []
    assert len(pairs_of_groups([flat, scored(("a", 1.0), ("b", 0.0)), flat], choose)) == 1


def test_identical_texts_never_form_a_pair_even_if_one_was_truncated():
    group = scored(("a", 1.0), ("a", 0.5, False))
    assert pairs_of_groups([group], "margin") == []
    assert largest_margin(group) == 0.0
    assert labels(labels_of_groups([group], 0.6)) == [("a", True)]


def test_a_margin_of_zero_is_an_internal_error():
    with pytest.raises(AssertionError, match="the margin is 0"):
        pairs_of_groups([GROUP], margin=0)


# Labels.


def test_good_and_bad_by_a_threshold():
    assert labels(labels_of_groups([GROUP], 0.5)) == [("a", True), ("b", True), ("c", False), ("d", False)]


def test_good_and_bad_by_the_mean_of_the_group():
    """The mean of 1, 1, .5, .4, 0 is .58; nothing is within .05 of it, b and c within .2."""
    assert labels(labels_of_groups([GROUP])) == [("a", True), ("b", False), ("c", False), ("d", False)]
    assert labels(labels_of_groups([GROUP], dead_zone=0.2)) == [("a", True), ("d", False)]


def test_in_the_dead_zone_a_completion_is_neither():
    """.5 +- .1: .6 is good, .4 is at the lower edge and neither, .39 is bad."""
    group = scored(("a", 0.6), ("b", 0.55), ("c", 0.4), ("d", 0.39))
    assert labels(labels_of_groups([group], 0.5, dead_zone=0.1)) == [("a", True), ("d", False)]


@pytest.mark.parametrize("reward", [0.0, 0.1, 0.7])
def test_a_group_of_equal_rewards_has_no_label_by_its_mean(reward):
    assert labels_of_groups([scored(("a", reward), ("b", reward), ("c", reward))]) == []


# For all groups.

ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 10).map(lambda n: n / 10)), min_size=1, max_size=8)


@given(ROWS, st.sampled_from(CHOICES), st.sampled_from([0.1, 0.3, 0.5]), st.integers(1, 5))
def test_what_holds_for_all_pairs(rows, choose, margin, max_pairs):
    found = pairs_of_groups([scored(*rows)], choose, margin, max_pairs)
    best = max(reward for _, reward in rows)
    for pair in found:
        assert pair.margin >= margin
        assert pair.chosen.text != pair.rejected.text
        assert pair.rejected_reward < best
    assert len(set(texts(found))) == len(found)
    assert [pair.margin for pair in found] == sorted((pair.margin for pair in found), reverse=True)
    assert len(found) <= {"best-worst": 1, "best-of-n": 5, "margin": max_pairs}[choose]
    if choose != "margin":
        assert all(pair.chosen_reward == best for pair in found)
    assert bool(found) == (largest_margin(scored(*rows)) >= margin)


@given(ROWS.flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), st.sampled_from(CHOICES))
def test_the_order_of_the_completions_does_not_matter(both, choose):
    one, other = (scored(*rows) for rows in both)
    assert texts(pairs_of_groups([one], choose)) == texts(pairs_of_groups([other], choose))
    assert labels(labels_of_groups([one])) == labels(labels_of_groups([other]))
    assert labels(labels_of_groups([one], 0.5, 0.1)) == labels(labels_of_groups([other], 0.5, 0.1))


@given(ROWS, st.none() | st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0.0, 0.2]))
def test_what_holds_for_all_labels(rows, threshold, dead_zone):
    found = labels_of_groups([scored(*rows)], threshold, dead_zone)
    middle = sum(reward for _, reward in rows) / len(rows) if threshold is None else threshold
    good = [label.reward for label in found if label.desirable]
    bad = [label.reward for label in found if not label.desirable]
    assert all(reward > middle + dead_zone - 1e-9 for reward in good)
    assert all(reward < middle - dead_zone + 1e-9 for reward in bad)
    assert not good or not bad or min(good) > max(bad)
    assert len({text for text, _ in labels(found)}) == len(found)


# Files.

PAGES = [make_page(0, prompt="Read."), make_page(1), make_page(2)]


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_pairs_are_read_as_they_were_written(tmp_path):
    groups = [scored(("a\n½", 1.0), ("", 0.0, False), page=page) for page in PAGES]
    pairs = pairs_of_groups(groups)
    file = write(tmp_path / "pairs.jsonl", *map(pair_row, pairs))
    assert read_pairs(file, PAGES) == pairs
    assert read_pairs(file, PAGES[1:], PAGES) == pairs[1:]


def test_labels_are_read_as_they_were_written(tmp_path):
    found = labels_of_groups([scored(("a", 1.0), ("b", 0.0, False), page=page) for page in PAGES])
    file = write(tmp_path / "labels.jsonl", *map(label_row, found))
    assert read_labels(file, PAGES) == found
    assert read_labels(file, PAGES[:1], PAGES) == found[:2]


def test_the_prompt_of_a_row_is_the_policy_s():
    image, text = {"type": "image"}, {"type": "text", "text": "Read."}
    for page, content in zip(PAGES, ([image, text], [image]), strict=False):
        (pair,) = pairs_of_groups([scored(("a", 1.0), ("b", 0.0), page=page)])
        assert pair_row(pair)["prompt"] == [{"role": "user", "content": content}]
        assert "images" not in pair_row(pair)


def test_a_conversation_of_the_groups_is_the_prompt_of_the_pairs(tmp_path):
    """Also the preset's text, its place before the image, and its system message."""
    asked = PromptFormat(prompt="Read.", prompt_order="text_first", system="Be exact.")
    for page in PAGES:
        row = group_row(scored(("a", 1.0), ("b", 0.0), page=page), asked)
        groups, out = write(tmp_path / "g.jsonl", row), tmp_path / "p.jsonl"
        write_preferences(groups, out, PairOptions())
        assert json.loads(out.read_text())["prompt"] == [
            {"role": "system", "content": "Be exact."},
            {"role": "user", "content": [{"type": "text", "text": "Read."}, {"type": "image"}]},
        ]
        assert "prompt" not in group_row(scored(("a", 1.0), page=replace(page, prompt="")))


ANSWER = [{"role": "assistant", "content": "a"}]
PAIR = {"id": "page0", "chosen": ANSWER, "rejected": [{"role": "assistant", "content": "b"}]}


def test_a_pair_of_another_program_needs_only_id_chosen_and_rejected(tmp_path):
    (pair,) = read_pairs(write(tmp_path / "p.jsonl", PAIR), PAGES)
    assert (pair.chosen.text, pair.chosen.finished, pair.rejected.text) == ("a", True, "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "page9"}, ':1: "id" is page9, which is not a page of the recipe\'s dataset'),
        ({"id": None}, ':1: "id" must be the page\'s name'),
        ({"chosen": "a"}, ':1: "chosen" must be [{"role": "assistant", "content": "..."}]; pairs have chosen and'),
        ({"rejected": ANSWER * 2}, ':1: "rejected" must be [{"role": '),
        ({"chosen_finished": 1}, ':1: "chosen_finished" must be true or false'),
        ({"chosen_reward": "1"}, ':1: "chosen_reward" must be a number'),
    ],
)
def test_an_invalid_pair_is_an_error_with_file_and_line(tmp_path, change, message):
    file = write(tmp_path / "p.jsonl", PAIR | change)
    with pytest.raises(ValueError, match=re.escape(f"{file}{message}")):
        read_pairs(file, PAGES)


def test_a_file_of_pairs_is_not_a_file_of_labels(tmp_path):
    with pytest.raises(ValueError, match=r"labels \(`ocr-rl pairs --labels`, for kto\) a completion"):
        read_labels(write(tmp_path / "p.jsonl", PAIR), PAGES)
    with pytest.raises(ValueError, match='"label" must be true or false'):
        read_labels(write(tmp_path / "p.jsonl", {"id": "page0", "completion": ANSWER}), PAGES)


def test_a_file_with_only_held_out_pages_is_an_error(tmp_path):
    file = write(tmp_path / "p.jsonl", PAIR)
    with pytest.raises(ValueError, match="has no line for the 2 pages to train on"):
        read_pairs(file, PAGES[1:], PAGES)
    with pytest.raises(ValueError, match=r"none.jsonl does not exist; `ocr-rl pairs` writes such a file"):
        read_pairs(tmp_path / "none.jsonl", PAGES)


ROW = {"id": "page0", "completions": ["a", "b"], "finished": [True, False], "rewards": [1.0, 0.0]}


def test_groups_of_a_rollout(tmp_path):
    unread = {"id": "page1", "completions": [], "error": "is broken"}
    (group,) = read_groups(write(tmp_path / "g.jsonl", ROW, unread), pages={page.id: page for page in PAGES})
    assert group.group.page is PAGES[0]
    assert [(c.text, c.finished) for c in group.group.completions] == [("a", True), ("b", False)]
    assert group.rewards == [1.0, 0.0]


def test_scores_of_another_rubric_replace_the_group_s_rewards(tmp_path):
    score = {"id": "page0", "completions": [{"reward": 0.2, "parts": {}}, {"reward": 1}]}
    groups, scores = write(tmp_path / "g.jsonl", ROW), write(tmp_path / "s.jsonl", score)
    assert next(read_groups(groups, scores)).rewards == [0.2, 1.0]
    write(scores, score | {"id": "page1"})
    with pytest.raises(ValueError, match=r"s.jsonl:1: \"id\" is 'page1', but .*g.jsonl:1 has 'page0'"):
        list(read_groups(groups, scores))
    write(groups, ROW, ROW)
    write(scores, score)
    with pytest.raises(ValueError, match=r"g.jsonl:2: the scores end before this line"):
        list(read_groups(groups, scores))


def test_more_scores_than_groups_are_an_error(tmp_path):
    score = {"id": "page0", "completions": [{"reward": 0.2}, {"reward": 1}]}
    groups, scores = write(tmp_path / "g.jsonl", ROW), write(tmp_path / "s.jsonl", score, score)
    with pytest.raises(ValueError, match=r"s.jsonl:2: has no line in .*g.jsonl"):
        list(read_groups(groups, scores))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rewards": None}, '"rewards" is missing; score the completions with `ocr-verify groups FILE --json SCORES`'),
        ({"rewards": [1.0]}, '"completions" has 2, but there are 1 rewards'),
        ({"rewards": [1.0, "0"]}, '"rewards" must have a number for each completion, its reward'),
        ({"rewards": [1.0, float("nan")]}, '"rewards" must have a number for each completion, its reward'),
        ({"completions": "ab"}, '"completions" must be a list of strings'),
        ({"prompt": "Read."}, '"prompt" must be a conversation, a list of messages, as `ocr-rl rollout` writes it'),
        ({"finished": [True]}, '"finished" must be a list of true or false, one for each completion'),
        ({"id": "page9"}, '"id" is page9, which is not a page of the dataset'),
    ],
)
def test_an_invalid_scored_group_is_an_error_with_file_and_line(tmp_path, change, message):
    file = write(tmp_path / "g.jsonl", ROW | change)
    with pytest.raises(ValueError, match=re.escape(f"{file}:1: {message}")):
        list(read_groups(file, pages={page.id: page for page in PAGES}))


def test_the_image_of_a_pdf_s_page_is_written_to_a_file(tmp_path):
    """Slashes in its name do not lead out of the folder."""
    from ocr_rl.rewards.preference_files import image_path

    path = image_path(replace(PAGES[0], id="../a/b.pdf#1"), tmp_path / "images")
    assert path.parent == tmp_path / "images"
    assert path.is_file()
