"""The texts of table cells as OmniDocBench v1.6 compares them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_COMMANDS = [
    (f"\\{name}", sign)
    for name, sign in (
        pair.split("=")
        for pair in (
            "checkmark=√ checked=√ surd=√ times=× xmark=× crossmark=× pm=± mp=∓ alpha=α beta=β gamma=γ gama=γ mu=μ "
            "lambda=λ theta=θ eta=η pi=π rho=ρ sigma=σ omega=ω delta=δ Delta=Δ epsilon=ε varepsilon=ε phi=φ varphi=φ "
            "tau=τ partial=∂ varnothing=∅ emptyset=∅ sim=～"
        ).split()
    )
]
_SIGNS = str.maketrans(
    dict.fromkeys("✓✔☑✅🗸", "√") | dict.fromkeys("✗✘✕✖☒❌╳⨯", "×") | {"Ø": "∅", "∼": "～", "〜": "～"}
)
_ESCAPED = re.compile(r"\\([%#&_])")
_DASHES = ("-", "–", "−", "－", "—")
_DELIMITERS = (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"), ("$", "$"))
_LONGEST_FORMULA = 128


@lru_cache(maxsize=10_000)
def normalized_cell(text: str) -> str:
    """Ticks, crosses, dashes and simple formulas in one way; full-width forms and spaces are folded."""
    text = unicodedata.normalize("NFKC", text).replace("\xa0", " ").replace("\u200b", "")
    text = _with_signs(_without_delimiters(_with_signs(text)))
    return "—" if text.strip() in _DASHES else " ".join(text.split())


def _with_signs(text: str) -> str:
    if "\\" in text:
        for command, sign in _COMMANDS:
            text = text.replace(command, sign)
        text = _ESCAPED.sub(r"\1", text)
    return text if text.isascii() else text.translate(_SIGNS)


def _without_delimiters(text: str) -> str:
    text = text.strip()
    inner: str | None = text
    while inner is not None:
        text = inner
        inner = next(
            (
                inside
                for left, right in _DELIMITERS
                if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right)
                if 0 < len(inside := text[len(left) : len(text) - len(right)].strip()) <= _LONGEST_FORMULA
                and not any(sign in inside for sign in "<>$")
            ),
            None,
        )
    return text
