"""olmOCR-bench's own verdicts, quirks included: the mode `compat="olmocr"`. One file per kind, like `checks`."""

from __future__ import annotations

from collections.abc import Mapping

from ocr_verifiers.checks import Check
from ocr_verifiers.olmocr.baseline import baseline
from ocr_verifiers.olmocr.footnote import footnote
from ocr_verifiers.olmocr.formatting import formatting
from ocr_verifiers.olmocr.math import math
from ocr_verifiers.olmocr.order import order
from ocr_verifiers.olmocr.table import table
from ocr_verifiers.olmocr.text import absent, present

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
