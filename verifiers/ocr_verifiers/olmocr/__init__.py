"""olmOCR-bench's own verdicts, quirks included: the mode `compat="olmocr"`. One file per kind, like `checks`."""

from __future__ import annotations

from collections.abc import Mapping

from ocr_verifiers.checks import Check

CHECKS: Mapping[str, Check] = {}
