"""The strict check for each kind of test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ocr_verifiers.unit_tests.checks.baseline import baseline
from ocr_verifiers.unit_tests.checks.footnote import footnote
from ocr_verifiers.unit_tests.checks.formatting import formatting
from ocr_verifiers.unit_tests.checks.math import math
from ocr_verifiers.unit_tests.checks.order import order
from ocr_verifiers.unit_tests.checks.table import table
from ocr_verifiers.unit_tests.checks.text import absent, present
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.verdict import Verdict

Check = Callable[[Any, PreparedPage], Verdict]
"""Takes a test of the kind's class (`records.KINDS`) and a page."""


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
