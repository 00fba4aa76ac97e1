"""`evaluate` and `transcribe`, as Python calls them."""

import json

import pytest

from helpers.commands import run, write_rows
from ocr_rl import EvaluateOptions, TranscribeOptions, evaluate, load_pages, transcribe


def test_an_evaluation_is_what_the_command_writes_but_for_its_settings(pages, tmp_path):
    found = load_pages(pages)
    rows = [{"id": page.id, "text": page.text[i:]} for i, page in enumerate(found)]
    predictions = write_rows(tmp_path / "predictions.jsonl", rows)
    written = tmp_path / "out.json"
    done = run("eval", "--predictions", predictions, "--data", pages, "--against", predictions, "--json", written)
    assert done.exit_code == 0
    expected = json.loads(written.read_text())
    del expected["settings"]
    options = EvaluateOptions(predictions=predictions, against=str(predictions))
    assert json.loads(json.dumps(evaluate(found, options))) == expected


@pytest.mark.parametrize("options", [{}, {"model": "tiny", "predictions": "p.jsonl"}])
def test_either_a_model_or_predictions_are_evaluated(options):
    with pytest.raises(ValueError, match="give either a MODEL or --predictions FILE"):
        EvaluateOptions(**options)


def test_a_page_that_cannot_be_read_has_an_error_and_the_others_have_texts(pages, tmp_path):
    (tmp_path / "a.png").write_bytes((pages / "images" / "rendered_00000.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"no image")
    read, unread = transcribe(tmp_path, TranscribeOptions(model="tiny", max_tokens=4))
    assert (read.id, read.finish_reason, read.finished, read.error) == ("a.png", "length", False, "")
    assert read.text
    assert (unread.id, unread.text, unread.finish_reason) == ("b.png", "", None)
    assert unread.error == "is not an image in a format that Pillow knows"


def test_a_source_without_pages_and_a_model_that_does_not_exist_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no image or PDF here"):
        next(transcribe(tmp_path, TranscribeOptions(model="tiny")))
    with pytest.raises(ValueError, match='no folder "nothing"'):
        TranscribeOptions(model="nothing")
