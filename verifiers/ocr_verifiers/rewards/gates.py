"""Gates: factors of a reward for what is wrong with a completion as a whole. They never add.

`end` closes on a completion that was cut off, `repetition` on one that loops, `compression` on one that loops with
variations, `wrong_numbers` on one whose numbers are not those of the reference.
"""

from __future__ import annotations

from ocr_verifiers.markup.reading import read
from ocr_verifiers.rewards.parts import Comparison
from ocr_verifiers.text.compression import MAX_RATIO, TOLERANCE, compression_ratio
from ocr_verifiers.text.repetition import find_loops
from ocr_verifiers.unit_tests.loops import judge_loops
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail

GATES = ("end", "repetition", "compression", "wrong_numbers")
WRONG_NUMBER = 0.9
"""What a page with a wrong, missing or added number pays at most."""


def repetition(page: PreparedPage, max_repeats: int, texts: Comparison | None) -> Verdict:
    """Fails a completion that loops. What the reference repeats may be repeated as often, in any markup."""
    verdict = judge_loops(page.loops, max_repeats)
    if verdict.passed or texts is None:
        return verdict
    allowed = texts.reference.repeats
    return judge_loops(find_loops(texts.completion.reading.text), max_repeats, allowed)


def compression(page: PreparedPage, texts: Comparison | None) -> Verdict:
    """Fails a completion that compresses by more than 4, and more than 1.25 times as well as the reference."""
    ratio = compression_ratio(texts.completion.reading.text if texts else read(page.body).text)
    if ratio <= MAX_RATIO or (texts and ratio <= TOLERANCE * compression_ratio(texts.reference.reading.text)):
        return PASS
    return fail(f"what is read compresses to a {ratio:.1f}th of its size; it repeats itself")


def number_factor(texts: Comparison | None, factor: float) -> tuple[float, str] | None:
    """min(0.9, factor + (1 - factor) F1 of the numbers), with the reason; 1 if all are right. None without numbers."""
    score = texts.numbers if texts else None
    if score is None or not score.expected:
        return None
    if score.f1 == 1 or factor == 1:
        return 1.0, ""
    wrong = f"{score.found} of {score.expected} numbers are right, and {score.written} were written"
    return min(WRONG_NUMBER, factor + (1 - factor) * score.f1), wrong
