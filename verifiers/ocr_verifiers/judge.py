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
    """One test's verdict on one page, by itself; the rubric adds that `absent` needs a page worth reading.

    A test whose kind has no check in that mode is a ValueError.
    """
    check = (olmocr.CHECKS if compat else checks.CHECKS).get(test.type)
    if check is None:
        raise ValueError(f'test "{test.id}" is of type "{test.type}", which has no check')
    return check(test, page)
