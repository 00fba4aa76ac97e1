"""Names of the rates that evaluation reports, and which of them are better when lower."""

from __future__ import annotations

RATES = ("cer", "cer_capped", "wer", "exact", "similarity", "pass_rate", "truncated", "reward")
"""In the order that tables show them; `evaluation.rates` says how each is computed."""

LOWER_IS_BETTER = frozenset({"cer", "cer_capped", "wer", "truncated"})
