"""Names of the rates that evaluation reports, and which of them are better when lower."""

from __future__ import annotations

LOWER_IS_BETTER = ("cer", "cer_capped", "wer")
