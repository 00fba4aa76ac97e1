"""Which pages to transcribe next, by worked numbers, properties and the command."""

import json
from math import log
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.commands import refused, rows_of, run, write_rows
from ocr_rl.rewards.next_pages import SampledPage, choose_pages, read_samples

UNSURE = SampledPage("unsure", 0.5, frozenset("ab"))
RARE = SampledPage("rare", 0.1, frozenset("abſ§"))
PLAIN = SampledPage("plain", 0.0, frozenset("abc"))
TWIN = SampledPage("twin", 0.1, frozenset("abſ§"))
PAGES = [UNSURE, RARE, PLAIN, TWIN]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names(pages, count, by):
    return [one.page.id for one in choose_pages(pages, count, by)]


def test_disagreement_alone_takes_the_most_unsure_and_of_equals_the_first():
    assert names(PAGES, 4, "disagreement") == ["unsure", "rare", "twin", "plain"]


def test_a_page_whose_characters_are_covered_loses_half_its_worth():
    """d: a, b on 4 of 4 pages, ſ, § on 2, c on 1. log(5/2) = .92 each, log 5 = 1.61, log(5/4) = .22.

    At first rare and twin are worth 2 .92 + 2 .22 = 2.28, plain 1.61 + .45 = 2.06. After rare, twin is worth half of
    that, 1.14, and plain 1.61 + .22 = 1.83.
    """
    chosen = choose_pages(PAGES, 3, "coverage")
    assert [one.page.id for one in chosen] == ["rare", "plain", "twin"]
    first = 2 * log(5 / 2) + 2 * log(5 / 4)
    assert [one.score for one in chosen[:2]] == pytest.approx([1, (log(5) + log(5 / 4)) / first])
    assert [one.new for one in chosen] == ["ab§ſ", "c", ""]


def test_both_is_their_mean():
    score = choose_pages([UNSURE, RARE], 1)[0].score
    coverage = (2 * log(3 / 2)) / (2 * log(3 / 2) + 2 * log(3))
    assert score == pytest.approx(max((1 + coverage) / 2, (0.2 + 1) / 2))


pages = st.lists(st.tuples(st.floats(0, 1), st.frozensets(st.sampled_from("abcſ§"))), min_size=1, max_size=8).map(
    lambda found: [SampledPage(str(i), *one) for i, one in enumerate(found)]
)


@settings(max_examples=50)
@given(pages, st.sampled_from(["both", "disagreement", "coverage"]))
def test_all_are_chosen_once_and_fewer_are_the_first_of_more(found, by):
    everything = names(found, len(found), by)
    assert sorted(everything) == sorted(page.id for page in found)
    assert names(found, 1, by) == everything[:1]


def test_a_character_that_one_sample_makes_up_is_on_no_page():
    write_rows(Path("g.jsonl"), [{"id": "a", "completions": ["abc", "abc", "abſ"]}])
    [page] = read_samples(Path("g.jsonl"))
    assert page.characters == set("abc")
    assert page.disagreement == pytest.approx(1 - (2 * (1 + 2 / 3) / 2 + 2 / 3) / 3)


def test_the_command_reads_rollouts_and_transcriptions_and_skips_what_could_not_be_read():
    rows = [
        {"id": "a", "completions": ["abc", "abc"]},
        {"id": "b", "text": "x", "samples": ["xyz", "abc"]},
        {"id": "c", "completions": [], "error": "cannot be read"},
    ]
    write_rows(Path("g.jsonl"), rows)
    assert run("select", "g.jsonl", "--count", 2, "--out", "next.jsonl").stdout == "2 pages in next.jsonl\n"
    assert [row["id"] for row in rows_of(Path("next.jsonl"))] == ["b", "a"]
    assert "--count is 3, but g.jsonl has 2 pages" in refused("select", "g.jsonl", "--count", "3", "--out", "n.jsonl")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "b", "completions": ["one"]}, 'g.jsonl:2: "completions" must be two or more texts of the page; write'),
        ({"id": "b", "text": "one"}, 'g.jsonl:2: "samples" must be two or more texts'),
        ({"id": "a", "completions": ["x", "y"]}, 'g.jsonl:2: "id" is a, as on line 1'),
    ],
)
def test_a_line_that_says_nothing_is_named(row, message):
    Path("g.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [{"id": "a", "completions": ["x", "y"]}, row]))
    assert message in refused("select", "g.jsonl", "--count", "1", "--out", "next.jsonl")
    assert not Path("next.jsonl").exists()
