"""olmOCR's check for each kind of test."""

from __future__ import annotations

from collections.abc import Mapping

from ocr_verifiers.unit_tests.checks.registry import Check
from ocr_verifiers.unit_tests.olmocr.baseline import baseline
from ocr_verifiers.unit_tests.olmocr.footnote import footnote
from ocr_verifiers.unit_tests.olmocr.formatting import formatting
from ocr_verifiers.unit_tests.olmocr.math import math
from ocr_verifiers.unit_tests.olmocr.order import order
from ocr_verifiers.unit_tests.olmocr.table import table
from ocr_verifiers.unit_tests.olmocr.text import absent, present

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
