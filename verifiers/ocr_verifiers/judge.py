"""One unit test on one page."""

from __future__ import annotations

from typing import Literal

from ocr_verifiers import checks, olmocr
from ocr_verifiers.page import PreparedPage
from ocr_verifiers.records import UnitTest
from ocr_verifiers.verdict import Verdict

Compat = Literal["olmocr"]
"""Whose verdicts to reproduce, holes included. None, the strict mode, closes the holes."""


def run_test(test: UnitTest, page: PreparedPage, compat: Compat | None = None) -> Verdict:
    """One test's verdict on one page, by itself; the rubric adds that `absent` needs a page worth reading."""
    return (olmocr.CHECKS if compat else checks.CHECKS)[test.type](test, page)
