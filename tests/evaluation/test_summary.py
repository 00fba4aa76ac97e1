"""Totals and tables of an evaluation: pooled rates, with intervals over documents."""

import json
import random
import unicodedata
from dataclasses import replace

import jiwer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scored_pages import page, results
from ocr_rl.data.loading import load_pages
from ocr_rl.evaluation.bootstrap import RESAMPLES, resampled_sums
from ocr_rl.evaluation.predictions import read_predictions
from ocr_rl.evaluation.results import score_pages
from ocr_rl.evaluation.summary import by_kind, by_metadata, evaluation, summarize
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.types import Completion
from ocr_verifiers import Rubric


def test_rates_pool_counts_over_pages():
    """2 of 4 and 0 of 12 characters wrong: CER 2/16, not the mean of 1/2 and 0. Words: 1 of 1 and 0 of 3."""
    summary = summarize(results((page("a", "abcd"), "abxy"), (page("b", "aaa bbb cccc"), "aaa bbb cccc")))
    assert summary["cer"] == 2 / 16
    assert summary["wer"] == 1 / 4
    assert summary["exact"] == 1 / 2
    assert summary["similarity"] == (0.5 + 1) / 2
    assert summary["n"] == summary["documents"] == 2


def test_tests_pool_over_pages_too():
    """1 of 1 and 0 of 3 tests passed: 1/4."""
    rows = (page("a", tests=["abcd"]), "abcd"), (page("b", tests=["xx", "yy", "zz"]), "abcd")
    assert summarize(results(*rows))["pass_rate"] == 1 / 4


def test_a_runaway_page_counts_as_one_lost_page_in_the_capped_rate():
    """Page a: 96 insertions on 4 characters, capped at 4. Page b: none on 4. CER 96/8, capped 4/8."""
    summary = summarize(results((page("a"), "abcd" + "z" * 96), (page("b"), "abcd")))
    assert summary["cer"] == 96 / 8
    assert summary["cer_capped"] == 4 / 8


def test_truncated_is_the_share_of_pages_that_did_not_end():
    rows = results((page("a"), "abcd")) + results((page("b"), "abcd"), finished=False)
    summary = summarize(rows)
    assert summary["truncated"] == 1 / 2
    assert summary["reward"] == (1 + 0.5) / 2


def test_what_no_page_allows_is_none():
    rows = results((replace(page("a", tests=["ab"]), text=None), "ab"))
    summary = summarize(rows)
    for name in ("cer", "cer_capped", "wer", "exact", "similarity"):
        assert summary[name] is None
        assert summary[f"{name}_ci"] is None
    assert summary["pass_rate"] == 1


def test_a_single_transcription_has_no_reward_where_that_is_agreement_alone():
    pages = [page("a", "abcd"), page("b", "abcd")]
    completions = [Completion((), "abcd", "end", ()), Completion((), "abxy", "end", ())]
    for weights, reward in (({"consensus": 1.0}, None), ({"consensus": 1.0, "similarity": 1.0}, 0.75)):
        function = RewardFunction(Rubric(weights=weights), pages)
        evaluated = evaluation(score_pages(pages, completions, function))
        assert evaluated["reward"] == reward
        assert [row["reward"] is None for row in evaluated["pages"]] == [reward is None] * 2
        assert evaluated["cer"] == 2 / 8


def test_a_single_document_has_an_interval_of_no_width():
    """Its pages are resampled together: every resample is the document itself."""
    rows = results(*((page(f"p{i}", doc="book"), "abcd"[:i]) for i in range(4)))
    summary = summarize(rows)
    assert summary["documents"] == 1
    assert summary["cer_ci"] == [summary["cer"]] * 2 == [(4 + 3 + 2 + 1) / 16] * 2


def test_pages_of_one_document_are_resampled_together():
    """Two documents of 50 pages, one right and one wrong: CER 0, 1/2 or 1 with chances 1/4, 1/2, 1/4, so [0, 1].

    As 100 documents the standard deviation would be 1/20.
    """
    rows = [(f"p{i}", "abcd" if i % 2 else "") for i in range(100)]
    together = summarize(results(*((page(id, doc=str(i % 2)), text) for i, (id, text) in enumerate(rows))))
    apart = summarize(results(*((page(id), text) for id, text in rows)))
    assert together["cer"] == apart["cer"] == 1 / 2
    assert together["cer_ci"] == [0, 1]
    low, high = apart["cer_ci"]
    assert 0.5 - 3 * 0.05 < low < 0.5 - 0.05
    assert 0.5 + 0.05 < high < 0.5 + 3 * 0.05


def test_the_pages_of_a_pdf_are_one_document():
    assert summarize(results((page("a.pdf#1"), "abcd"), (page("a.pdf#2"), "abcd")))["documents"] == 1


def test_intervals_follow_the_seed():
    rows = results(*((page(f"p{i}", text="a" * (50 + i * i)), "a" * 3 * i) for i in range(40)))
    assert summarize(rows, seed=1) == summarize(rows, seed=1)
    assert summarize(rows, seed=1)["cer_ci"] != summarize(rows, seed=2)["cer_ci"]


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text("abcd", max_size=6), st.sampled_from("xyz")), min_size=1, max_size=8))
def test_an_interval_holds_its_rate_and_stays_in_range(answers):
    rows = results(*((page(f"p{i}", doc=doc), text) for i, (text, doc) in enumerate(answers)))
    summary = summarize(rows)
    for name in ("cer_capped", "exact", "similarity"):
        low, high = summary[f"{name}_ci"]
        assert 0 <= low <= high <= 1
        assert low - 1e-9 <= summary[name] <= high + 1e-9 or len({doc for _, doc in answers}) > 1


WORDS = st.text("abc éﬁ̈", min_size=1, max_size=12).filter(str.strip)


@settings(max_examples=25)
@given(st.lists(st.tuples(WORDS, st.text("abc éﬁ̈", max_size=12)), min_size=1, max_size=6))
def test_pooled_rates_equal_those_of_jiwer_over_all_pages(pairs):
    """After the same normalisation: NFC, and any white space as one space."""
    clean = [tuple(" ".join(unicodedata.normalize("NFC", text).split()) for text in pair) for pair in pairs]
    references, texts = zip(*clean, strict=True)
    summary = summarize(results(*((page(f"p{i}", text=r), t) for i, (r, t) in enumerate(pairs))))
    assert summary["cer"] == pytest.approx(jiwer.cer(list(references), list(texts)), abs=1e-12)
    assert summary["wer"] == pytest.approx(jiwer.wer(list(references), list(texts)), abs=1e-12)


def test_real_predictions_score_as_jiwer_scores_them(real_data):
    """Tesseract on real pages."""
    pages = load_pages(real_data)
    found, completions = read_predictions(real_data / "predictions" / "tesseract.jsonl", pages)
    lines = [(p, c.text) for p, c in zip(found, completions, strict=True) if p.metadata.get("level") == "line"][:300]
    assert len(lines) > 100
    clean = [[" ".join(unicodedata.normalize("NFC", text).split()) for text in (p.text, t)] for p, t in lines]
    references, texts = map(list, zip(*clean, strict=True))
    summary = summarize(results(*lines))
    assert summary["cer"] == pytest.approx(jiwer.cer(references, texts), abs=1e-12)
    assert summary["wer"] == pytest.approx(jiwer.wer(references, texts), abs=1e-12)


def mixed(n=30):
    """Pages of several documents, sources and languages, some without text, with tests of two kinds."""
    numbers = random.Random(3)
    rows = []
    for i in range(n):
        text = "".join(numbers.choice("abc d") for _ in range(20)) + "e"
        wrong = "".join(c if numbers.random() > 0.2 else "z" for c in text)
        metadata = {"doc": f"d{i % 7}", "source": f"s{i % 2}", "language": "de" if i % 3 else "fr"}
        rows.append((page(f"p{i}", text, tests=[text[:4]], absent=["z"], **metadata), wrong))
    return results(*rows)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_shuffled_pages_give_the_same_totals_tables_and_intervals_to_the_last_digit(seed):
    shuffled = mixed()
    random.Random(seed).shuffle(shuffled)
    ours, theirs = evaluation(mixed()), evaluation(shuffled)
    assert [row["id"] for row in theirs.pop("pages")] == [result.page.id for result in shuffled]
    del ours["pages"]
    assert json.dumps(ours) == json.dumps(theirs)


def test_each_kind_of_test_has_its_own_pass_rate():
    """Of three present tests one passes, of one absent test none: 1/4 overall says neither."""
    rows = results(
        (page("a", tests=["abcd"]), "abcd"),
        (page("b", tests=["bbbb", "cccc"], absent=["abcd"]), "abcd"),
    )
    kinds = by_kind(rows)
    assert list(kinds) == ["absent", "present"]
    assert {k: v for k, v in kinds["present"].items() if k != "pass_rate_ci"} == {
        "tests": 3,
        "passed": 1,
        "pass_rate": 1 / 3,
    }
    assert kinds["absent"] == {"tests": 1, "passed": 0, "pass_rate": 0, "pass_rate_ci": [0, 0]}
    assert kinds["present"]["pass_rate_ci"] == [0, 1]  # page a alone, or page b alone, in over 2.5 % of draws each


def test_pages_without_tests_have_no_kinds():
    assert by_kind(results((page("a"), "abcd"))) == {}


def test_each_source_has_a_summary_of_its_pages_alone():
    rows = results(
        (page("a", source="x"), "abcd"), (page("b", source="y"), "abzz"), (page("c", source="y"), "zzzz"),
        (page("d"), "zzzz"), (page("e", source=""), "zzzz"), (page("f", source=None), "zzzz"),
    )  # fmt: skip
    table = by_metadata(rows, "source")
    assert list(table) == ["x", "y"]
    assert table["x"] == summarize(rows[:1])
    assert table["y"] == summarize(rows[1:3])
    assert table["y"]["cer"] == 6 / 8


def test_a_page_of_two_languages_counts_under_each():
    table = by_metadata(
        results((page("a", language=["de", "fr"]), "abcz"), (page("b", language="fr"), "abcd")), "language"
    )
    assert {name: summary["cer"] for name, summary in table.items()} == {"de": 1 / 4, "fr": 1 / 8}


def test_draws_are_of_whole_documents_and_as_many_as_there_are():
    """Each document counts 1 in the first column, so that every draw sums to their number."""
    counts = np.stack([np.ones(40), np.arange(40)], axis=1)
    sums = resampled_sums(counts, seed=5)
    assert sums.shape == (RESAMPLES, 2)
    assert (sums[:, 0] == 40).all()
    mean, sd = counts[:, 1].mean(), counts[:, 1].std()
    assert sums[:, 1].mean() / 40 == pytest.approx(mean, abs=5 * sd / (40 * RESAMPLES) ** 0.5)
    assert (sums[:, 1] / 40).std() == pytest.approx(sd / 40**0.5, rel=0.1)


def test_many_documents_are_drawn_in_pieces_with_the_same_result(monkeypatch):
    counts = np.random.default_rng(0).random((50, 3))
    whole = resampled_sums(counts, seed=1)
    monkeypatch.setattr("ocr_rl.evaluation.bootstrap._CHUNK", 700)
    np.testing.assert_allclose(resampled_sums(counts, seed=1), whole, rtol=1e-12)


def test_several_samples_of_a_page_count_one_by_one_in_rates_and_once_as_a_page():
    one = page("a")
    summary = summarize(results((one, "abcd"), (one, "abzz"), (one, "zzzz")))
    assert summary["cer"] == (0 + 2 + 4) / 12
    assert summary["n"] == summary["documents"] == 1
