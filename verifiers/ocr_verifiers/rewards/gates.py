"""Gates: factors of a reward for what is wrong with a completion as a whole. They never add.

`end` closes on a completion that was cut off, `repetition` on one that loops, `wrong_numbers` on one whose numbers are
not those of the reference.
"""

from __future__ import annotations

from ocr_verifiers.rewards.parts import Comparison
from ocr_verifiers.text.repetition import find_loops
from ocr_verifiers.unit_tests.loops import judge_loops
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.verdict import Verdict

GATES = ("end", "repetition", "wrong_numbers")
WRONG_NUMBER = 0.9
"""What a page with a wrong, missing or added number pays at most."""


def repetition(page: PreparedPage, max_repeats: int, texts: Comparison | None) -> Verdict:
    """Fails a completion that loops. What the reference repeats may be repeated as often, in any markup."""
    verdict = judge_loops(page.loops, max_repeats)
    if verdict.passed or texts is None:
        return verdict
    allowed = texts.reference.repeats
    return judge_loops(find_loops(texts.completion.reading.text), max_repeats, allowed)


def number_factor(texts: Comparison | None, factor: float) -> tuple[float, str] | None:
    """min(0.9, factor + (1 - factor) F1 of the numbers), with the reason; 1 if all are right. None without numbers."""
    score = texts.numbers if texts else None
    if score is None or not score.expected:
        return None
    if score.f1 == 1 or factor == 1:
        return 1.0, ""
    wrong = f"{score.found} of {score.expected} numbers are right, and {score.written} were written"
    return min(WRONG_NUMBER, factor + (1 - factor) * score.f1), wrong
