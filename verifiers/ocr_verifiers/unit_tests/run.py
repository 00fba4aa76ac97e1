"""One unit test on one page."""

from __future__ import annotations

from typing import Literal

from ocr_verifiers.unit_tests.checks.registry import CHECKS
from ocr_verifiers.unit_tests.olmocr.registry import CHECKS as OLMOCR_CHECKS
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import UnitTest
from ocr_verifiers.unit_tests.verdict import Verdict

Compat = Literal["olmocr"]
"""Whose verdicts to reproduce, holes included. None, the strict mode, closes the holes."""


def run_test(test: UnitTest, page: PreparedPage, compat: Compat | None = None) -> Verdict:
    """One test's verdict on one page, by itself; the rubric adds that `absent` needs a page worth reading."""
    return (OLMOCR_CHECKS if compat else CHECKS)[test.type](test, page)
