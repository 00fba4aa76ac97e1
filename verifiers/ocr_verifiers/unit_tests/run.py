"""Runs a unit test on a page."""

from __future__ import annotations

from typing import Literal

from ocr_verifiers.unit_tests.checks.registry import CHECKS
from ocr_verifiers.unit_tests.olmocr.registry import CHECKS as OLMOCR_CHECKS
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.verdict import Verdict

Compat = Literal["olmocr"]
"""Whose verdicts to reproduce, holes included. None is the strict mode, which closes the holes."""


def run_test(test: UnitTest, page: PreparedPage, compat: Compat | None = None) -> Verdict:
    """The verdict of one test on one page. The rubric adds the rule that `absent` needs a page that passes baseline."""
    return (OLMOCR_CHECKS if compat else CHECKS)[test.type](test, page)
