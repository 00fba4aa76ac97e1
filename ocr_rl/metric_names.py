"""Names of the rates that evaluation reports, and which of them are better when lower."""

from __future__ import annotations

from typing import Literal, get_args

_OfText = Literal["cer", "cer_capped", "wer", "exact", "similarity", "pass_rate"]
Rate = Literal[_OfText, "truncated", "reward"]
"""In the order that tables show them; `evaluation.rates` says how each is computed."""
RATES: tuple[Rate, ...] = get_args(Rate)

BestBy = Literal[_OfText, "reward"]
"""The rates by which train.keep_best may choose: a policy that says nothing is never truncated."""

LOWER_IS_BETTER = frozenset({"cer", "cer_capped", "wer", "truncated"})
