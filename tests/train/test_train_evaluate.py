"""Evaluation: pooled rates with intervals over documents, and predictions read from a file."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import make_page, make_policy

from ocr_rl.evaluate import PageResult, read_predictions, score_pages, summarize, table, transcribe
from ocr_rl.rollout import TransformersEngine
from ocr_rl.types import Completion, Page
from ocr_verifiers import Rubric

RUBRIC = Rubric(weights={"similarity": 1.0, "pass_rate": 1.0}, gates={"end": 0.5})
TEXT = "present"


def page(id, text="abcd", doc=None, tests=()):
    records = [{"pdf": "a.pdf", "page": 1, "id": f"{id}_{i}", "type": TEXT, "text": t} for i, t in enumerate(tests)]
    return Page(id, lambda: None, text=text, tests=records, metadata={} if doc is None else {"doc": doc})


def results(*rows: tuple[Page, str], finished=True):
    completions = [Completion((), text, "end" if finished else "length", ()) for _, text in rows]
    return score_pages([page for page, _ in rows], completions, RUBRIC)


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
    assert re.search(r"^cer +-$", table({"x": summary}), re.MULTILINE)


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


@given(st.lists(st.tuples(st.text("abcd", max_size=6), st.sampled_from("xyz")), min_size=1, max_size=8))
def test_an_interval_holds_its_rate_and_stays_in_range(answers):
    rows = results(*((page(f"p{i}", doc=doc), text) for i, (text, doc) in enumerate(answers)))
    summary = summarize(rows)
    for name in ("cer_capped", "exact", "similarity"):
        low, high = summary[f"{name}_ci"]
        assert 0 <= low <= high <= 1
        assert low - 1e-9 <= summary[name] <= high + 1e-9 or len({doc for _, doc in answers}) > 1


def test_the_order_of_pages_does_not_matter():
    rows = results(*((page(f"p{i}", doc=str(i % 3)), "abcdefgh"[:i]) for i in range(8)))
    assert summarize(rows) == summarize(rows[::-1])


def test_a_row_of_an_evaluation_says_what_failed():
    row = results((page("a", tests=["abcd", "zz"], doc="book"), "abcd"))[0].as_dict()
    assert row["id"] == "a"
    assert row["document"] == "book"
    assert row["cer"] == 0
    assert row["reward"] == (1 + 0.5) / 2
    assert list(row["failed_tests"]) == ["a_1"]
    assert json.loads(json.dumps(row)) == row


def test_a_table_shows_evaluations_side_by_side():
    summary = summarize(results((page("a"), "abxx"), (page("b"), "abxx")))
    text = table({"before": summary, "after": summary})
    assert "0.500 [0.500, 0.500]" in text
    assert "before: 2 pages of 2 documents, after: 2 pages of 2 documents" in text


def test_transcribing_is_greedy_in_page_order_and_reports():
    engine, done = TransformersEngine(make_policy()), []
    pages = [make_page(i) for i in range(35)]
    first = transcribe(engine, pages, 4, done.append)
    assert done == [32, 35]
    assert first == transcribe(engine, pages, 4)
    assert first[34].token_ids == transcribe(engine, [pages[34]], 4)[0].token_ids


def predictions(tmp_path, *rows):
    path = tmp_path / "predictions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_predictions_are_matched_by_id_or_file_name(tmp_path):
    pages = [page("a.png"), page("b.png"), page("c.png")]
    path = predictions(tmp_path, {"id": "b.png", "text": "B"}, {"file_name": "a.png", "text": ""})
    found, completions = read_predictions(path, pages)
    assert [p.id for p in found] == ["b.png", "a.png"]
    assert [c.text for c in completions] == ["B", ""]
    assert all(c.finished for c in completions)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a"}, 'jsonl:2: "text" is None; write the transcription as a string'),
        ({"id": "a", "text": 5}, 'jsonl:2: "text" is 5; write the transcription as a string'),
        ({"id": "zz", "text": ""}, "jsonl:2: no page 'zz' in the data; write an id or file_name that it has"),
        ({"text": ""}, "jsonl:2: no page None in the data; write an id or file_name that it has"),
        ({"id": "b", "text": ""}, "jsonl:2: 'b' is transcribed by an earlier row; write one row per page"),
    ],
)
def test_a_prediction_that_cannot_be_used_is_an_error_with_its_line(tmp_path, row, message):
    path = predictions(tmp_path, {"id": "b", "text": "fine"}, row)
    with pytest.raises(ValueError, match="predictions") as error:
        read_predictions(path, [page("a"), page("b")])
    assert str(error.value).endswith(message)


def test_a_result_is_a_page_its_completion_and_its_score():
    result = results((page("a"), "abcd"))[0]
    assert isinstance(result, PageResult)
    assert result.score.reward == 1
