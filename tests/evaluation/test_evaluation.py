"""Transcriptions to evaluate: greedy, sampled, or from a file; and the row that tells of each."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scored_pages import RUBRIC, page, results
from helpers.tiny_models import make_page, make_policy
from ocr_rl.evaluation.completions import sample_pages, transcribe_pages
from ocr_rl.evaluation.predictions import read_predictions
from ocr_rl.evaluation.results import PageEvaluation, score_pages, score_samples
from ocr_rl.evaluation.summary import evaluation, summarize, summarize_samples
from ocr_rl.reporting.text_tables import breakdown, evaluation_table
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Group


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
    text = evaluation_table({"before": summary, "after": summary})
    assert "0.500 [0.500, 0.500]" in text
    assert "before: 2 pages of 2 documents, after: 2 pages of 2 documents" in text


def test_transcribing_is_greedy_in_page_order_and_reports():
    engine, done = TransformersEngine(make_policy()), []
    pages = [make_page(i) for i in range(35)]
    first = transcribe_pages(engine, pages, 4, done.append)
    assert done == list(range(1, 36))
    assert first == transcribe_pages(engine, pages, 4)
    assert first[34].token_ids == transcribe_pages(engine, [pages[34]], 4)[0].token_ids


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


def test_a_prediction_may_say_how_it_ended(tmp_path):
    rows = [{"id": "a", "text": "A", "finish_reason": "length"}, {"id": "b", "text": "B", "finish_reason": "stop"}]
    _, completions = read_predictions(predictions(tmp_path, rows[0]), [page("a")])
    assert not completions[0].finished
    with pytest.raises(ValueError, match=r"jsonl:2: .*'stop'; write one of end, length, repetition, or leave it out"):
        read_predictions(predictions(tmp_path, *rows), [page("a"), page("b")])


def test_predictions_of_other_pages_are_skipped_on_request(tmp_path):
    path = predictions(tmp_path, {"id": "zz", "text": ""}, {"id": "a", "text": "A"})
    found, completions = read_predictions(path, [page("a")], skip_unknown=True)
    assert [p.id for p in found] == ["a"]
    assert [c.text for c in completions] == ["A"]


def test_an_evaluation_is_read_back_with_its_transcriptions_and_scores_the_same(tmp_path):
    rows = results((page("a"), "abxx"), (page("b"), "")) + results((page("c"), "abcd"), finished=False)
    path = tmp_path / "before.json"
    path.write_text(json.dumps(evaluation(rows)))
    found, completions = read_predictions(path, [row.page for row in rows])
    again = score_pages(found, completions, RewardFunction(RUBRIC, found))
    assert evaluation(again) == evaluation(rows)


@pytest.mark.parametrize(
    "text", ["", "[]", "[1]", "{}", '{"pages": 5}', '{"pages": [5]}', '{"id": "a", "text": ""}\n{}']
)
def test_json_that_is_not_an_evaluation_is_an_error(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    message = r"x.json: not an evaluation as `ocr-rl eval --json` writes it; .* must end in .jsonl"
    with pytest.raises(ValueError, match=message):
        read_predictions(path, [page("a")])


def test_an_evaluation_without_a_text_has_an_address(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"pages": [{"id": "a", "text": "A"}, {"id": "b"}]}')
    with pytest.raises(ValueError, match=r'x.json: page 2: "text" is None'):
        read_predictions(path, [page("a"), page("b")])


# --- samples


def samples_of(page, *texts):
    return Group(page, [Completion((), text, "end", ()) for text in texts])


def test_the_mean_counts_every_sample_and_the_best_is_chosen_by_reward_per_page():
    """Page a: 0, 1 and 4 of 4 characters wrong; page b: 2, 2 and 4. Mean CER 13/24, best (0 + 2)/8."""
    pages = [page("a"), page("b")]
    groups = [samples_of(pages[0], "abcx", "abcd", "zzzz"), samples_of(pages[1], "zzzz", "abxx", "xxcd")]
    found = summarize_samples(score_samples(groups, RewardFunction(RUBRIC, pages)), 0.7, seed=0)
    assert (found["samples"], found["temperature"]) == (3, 0.7)
    assert found["mean"]["cer"] == (1 + 0 + 4 + 4 + 2 + 2) / 24
    assert found["best"]["cer"] == (0 + 2) / 8
    assert found["mean"]["n"] == found["best"]["n"] == 2
    assert [one["text"] for one in found["pages"]["b"]] == ["zzzz", "abxx", "xxcd"]
    assert found["pages"]["b"][1] == {"text": "abxx", "finish_reason": "end", "reward": 0.5, "cer": 0.5}


def test_the_best_of_one_is_the_mean():
    pages = [page("a", tests=["ab"]), page("b", absent=["z"])]
    groups = [samples_of(pages[0], "abcx"), samples_of(pages[1], "z")]
    found = summarize_samples(score_samples(groups, RewardFunction(RUBRIC, pages)), 1.0, seed=0)
    assert found["mean"] == found["best"]


@settings(max_examples=25)
@given(st.lists(st.lists(st.text("abcd", max_size=5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_the_best_is_never_worse_than_the_mean_in_reward(texts):
    pages = [page(f"p{i}") for i in range(len(texts))]
    groups = [samples_of(p, *own) for p, own in zip(pages, texts, strict=True)]
    found = summarize_samples(score_samples(groups, RewardFunction(RUBRIC, pages)), 1.0, seed=0)
    assert found["best"]["reward"] >= found["mean"]["reward"] - 1e-12


def test_samples_follow_the_seed_and_differ_within_a_page():
    engine, pages = TransformersEngine(make_policy()), [make_page(i) for i in range(3)]

    def texts(seed):
        return [[c.text for c in group.completions] for group in sample_pages(engine, pages, Sampling(8, 1.0, 6), seed)]

    assert texts(1) == texts(1) != texts(2)
    assert all(len(set(own)) > 1 for own in texts(1))


# --- tables


def test_sources_and_languages_are_shown_where_there_are_several():
    one = results((page("a", source="x"), "abcd"), (page("b", source="x"), "abzz"))
    assert breakdown(evaluation(one)) == ""
    two = results((page("a", source="x", language="de"), "abcd"), (page("b", source="y", language="de"), "abzz"))
    text = breakdown(evaluation(two))
    assert re.search(r"^by source +pages +documents +cer +wer +exact +pass_rate$", text, re.MULTILINE)
    assert re.search(r"^y +1 +1 +0\.500 \[0\.500, 0\.500\] +1\.000 \[1\.000, 1\.000\] .*-$", text, re.MULTILINE)
    assert "by language" not in text


def test_kinds_of_tests_have_rows_under_the_pass_rate_where_there_are_several():
    both = evaluation(results((page("a", tests=["abcd"], absent=["abcd"]), "abcd")))
    text = evaluation_table({"before": both, "after": both})
    assert re.search(r"^pass_rate .*\n  absent +0\.000 .*\n  present +1\.000 .*\ntruncated", text, re.MULTILINE)
    assert "present" not in evaluation_table({"x": evaluation(results((page("a", tests=["abcd"]), "abcd")))})


def test_a_rate_that_no_page_allows_is_a_dash():
    text = evaluation_table({"x": evaluation(results((replace(page("a", tests=["ab"]), text=None), "ab")))})
    assert re.search(r"^cer +-$", text, re.MULTILINE)


def test_a_row_has_what_a_report_needs():
    """Everything but the image: reference and text, edits that pool to the totals, and each test with its verdict."""
    row = results((page("a", tests=["abcd", "zz"], source="x"), "abcz"))[0].as_dict()
    assert (row["source"], row["reference"], row["text"], row["finish_reason"]) == ("x", "abcd", "abcz", "end")
    assert (row["char_edits"], row["reference_chars"], row["word_edits"], row["reference_words"]) == (1, 4, 1, 1)
    assert [(t["id"], t["type"], t["passed"], bool(t["why"])) for t in row["tests"]] == [
        ("a_0", "present", False, True),
        ("a_1", "present", False, True),
    ]


def test_a_row_of_a_page_without_a_text_has_no_rates():
    row = results((replace(page("a", tests=["ab"]), text=None), "ab"))[0].as_dict()
    assert row["reference"] is None
    assert not {"cer", "wer", "char_edits", "reference_chars"} & row.keys()


def test_a_result_is_a_page_its_completion_and_its_score():
    result = results((page("a"), "abcd"))[0]
    assert isinstance(result, PageEvaluation)
    assert result.score.reward == 1
