"""Comparison with other tools on real pages: jiwer's rates and olmOCR's verdicts.

The data is not part of the repository: `OCR_RL_REAL_DATA` names its folder, `../shared/data/real` by default.
"""

import jiwer
import pytest
from click.testing import CliRunner

from ocr_verifiers import PreparedPage, char_edits, load_tests, normalize, pool, read_jsonl, run_test, word_edits
from ocr_verifiers.cli.main import main


@pytest.fixture(scope="module")
def pairs(real_data):
    """(reference, Tesseract's prediction), after NFC and white space collapsing."""
    references = {row["file_name"]: row["text"] for _, row in read_jsonl(real_data / "metadata.jsonl")}
    rows = [row for _, row in read_jsonl(real_data / "predictions" / "tesseract.jsonl")]
    texts = [(references[row["file_name"]], row["text"]) for row in rows]
    return [tuple(normalize(text, ["nfc", "whitespace"]) for text in pair) for pair in texts if pair[0].strip()]


def test_the_pooled_cer_equals_that_of_jiwer(pairs):
    ours = pool(char_edits(*pair) for pair in pairs).error_rate
    assert ours == pytest.approx(jiwer.cer(*map(list, zip(*pairs, strict=True))), abs=1e-12)


def test_the_pooled_wer_equals_that_of_jiwer(pairs):
    ours = pool(word_edits(*pair) for pair in pairs).error_rate
    assert ours == pytest.approx(jiwer.wer(*map(list, zip(*pairs, strict=True))), abs=1e-12)


def test_strict_verdicts_on_the_sample_pages_of_olmocr_bench_are_those_of_olmocr(real_data):
    """Ten systems, 473 verdicts: none of them involves a hole, so none differs."""
    bench = real_data / "olmocr_bench"
    tests = {test.id: test for test in load_tests(bench / "tests.jsonl")}
    pages = {}
    differ = []
    rows = [row for _, row in read_jsonl(real_data / "olmocr_bench_extra" / "upstream_verdicts.jsonl")]
    for row in rows:
        text = (bench / row["candidate"]).read_text(encoding="utf-8")
        page = pages.setdefault(row["candidate"], PreparedPage(text))
        verdict = run_test(tests[row["test_id"]], page)
        if verdict.passed != row["passed"]:
            differ.append((row["test_id"], row["candidate"], verdict.why))
    assert len(rows) == 473
    assert differ == []


def test_the_command_line_scores_a_file_of_real_predictions(real_data):
    predictions, references = real_data / "predictions" / "tesseract.jsonl", real_data / "metadata.jsonl"
    result = CliRunner().invoke(main, ["score", str(predictions), "--references", str(references)])
    assert result.exit_code == 0
    assert result.stdout.startswith("355 of 1792 references have a prediction\n")
    assert "kannada-words          30  0.253" in result.stdout
