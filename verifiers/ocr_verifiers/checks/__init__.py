"""Checks: a unit test and a page in, a Verdict out. One file per kind; `ocr_verifiers.olmocr` has olmOCR's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocr_verifiers.checks.baseline import baseline
from ocr_verifiers.checks.footnote import footnote
from ocr_verifiers.checks.formatting import formatting
from ocr_verifiers.checks.math import math
from ocr_verifiers.checks.order import order
from ocr_verifiers.checks.table import table
from ocr_verifiers.checks.text import absent, present
from ocr_verifiers.page import PreparedPage
from ocr_verifiers.verdict import Verdict

__all__ = ["CHECKS", "Check", "absent", "baseline", "order", "present"]

Check = Callable[[Any, PreparedPage], Verdict]
"""The test is of the kind's own class (`records.KINDS`)."""

CHECKS: Mapping[str, Check] = {
    "present": present,
    "absent": absent,
    "order": order,
    "baseline": baseline,
    "format": formatting,
    "footnote": footnote,
    "table": table,
    "math": math,
}
