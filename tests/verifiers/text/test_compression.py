"""Loops that vary, and pages that truly repeat. `scripts/bench/loops.py` has the numbers of real pages."""

import json
import random
import zlib

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import Rubric, repeats
from ocr_verifiers.cheats.pages import cheated_pages
from ocr_verifiers.cli.main import main
from ocr_verifiers.text.compression import MAX_RATIO, compression_ratio

RUBRIC = Rubric({"similarity": 1.0}, {"compression": 0.5})
PAGE = "\n\n".join(page.reference for page in cheated_pages())
ZEROS = "| Office | Jan | Feb |\n|---|---|---|\n" + "".join(f"| Branch {n} | 0.00 | 0.00 |\n" for n in range(80))


def loop(kind):
    rng = random.Random(0)
    phrase = "the boat leaves in the evening"
    varied = {"numbered": "{n}. {phrase}", "with a number": "{phrase} {r}", "literal": "{phrase}"}[kind]
    return PAGE[:3_000] + " ".join(varied.format(n=n, phrase=phrase, r=rng.randrange(1_000)) for n in range(150))


@pytest.mark.parametrize("kind", ["literal", "numbered", "with a number"])
def test_a_loop_compresses_even_if_it_varies(kind):
    assert compression_ratio(loop(kind)) > MAX_RATIO
    assert repeats(loop(kind)).passed == (kind != "literal")


def test_a_long_page_does_not_hide_a_loop():
    assert compression_ratio(PAGE + loop("numbered") + PAGE) > MAX_RATIO


@pytest.mark.parametrize("page", cheated_pages(), ids=lambda page: page.name)
def test_no_page_of_the_cheating_suite_compresses(page):
    assert RUBRIC.score(page.reference, reference="").parts["compression"] == 1


def test_the_ratio_is_that_of_bytes():
    assert compression_ratio("ä" * 1_000) == 2_000 / len(zlib.compress("ä".encode() * 1_000, 9))
    assert compression_ratio("a" * 999) == 0


def test_a_page_may_repeat_what_its_reference_repeats():
    """A closed gate halves the reward. Without a reference nobody knows that the page is a column of zeros."""
    assert compression_ratio(ZEROS) > MAX_RATIO
    assert RUBRIC.score(ZEROS, reference=ZEROS).reward == 1
    closed = RUBRIC.score(loop("numbered"), reference=PAGE)
    assert closed.parts["compression"] == 0.5
    assert "repeats itself" in closed.why["compression"]
    assert RUBRIC.score(ZEROS, reference="Balances of the branches").parts["compression"] == 0.5


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=3_000), st.integers(0, 400))
def test_any_text_has_a_ratio_and_pays_as_its_own_reference(text, times):
    text = text + text[:20] * times
    assert compression_ratio(text) >= 0
    assert RUBRIC.score(text, reference=text).parts["compression"] == 1


def test_scores_of_files_say_which_pages_loop(tmp_path):
    pages = {"a.png": PAGE, "b.png": loop("literal"), "c.png": loop("numbered")}
    for name, texts in (("references", dict.fromkeys(pages, PAGE)), ("predictions", pages)):
        rows = [json.dumps({"file_name": page, "text": text}) for page, text in texts.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows), encoding="utf-8")
    files = [str(tmp_path / f"{name}.jsonl") for name in ("predictions", "references")]
    result = CliRunner().invoke(main, ["score", files[0], "--references", files[1]])
    assert "pages that repeat themselves word by word: 1, such as b.png\n" in result.output
    assert "pages that repeat themselves with variations: 2, such as b.png\n" in result.output
