"""Checks: a unit test and a page in, a Verdict out. One file per kind."""

from __future__ import annotations

from ocr_verifiers.checks.baseline import baseline
from ocr_verifiers.checks.order import order
from ocr_verifiers.checks.text import absent, present
from ocr_verifiers.page import PreparedPage
from ocr_verifiers.records import BaselineTest, OrderTest, TextTest, UnitTest
from ocr_verifiers.verdict import Verdict

__all__ = ["Verdict", "absent", "baseline", "order", "present", "run_test"]


def run_test(test: UnitTest, page: PreparedPage) -> Verdict:
    """One test's verdict on one page, by itself; the rubric adds that `absent` needs a page worth reading.

    A test whose kind has no check (`SCORED_KINDS` has those that do) is a ValueError.
    """
    match test:
        case TextTest(type="present"):
            return present(test, page)
        case TextTest():
            return absent(test, page)
        case OrderTest():
            return order(test, page)
        case BaselineTest():
            return baseline(test, page)
    raise ValueError(f'test "{test.id}" is of type "{test.type}", which has no check')
