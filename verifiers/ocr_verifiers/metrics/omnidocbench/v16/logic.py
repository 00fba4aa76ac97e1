r"""`cases` that hold steps of reasoning, as arrays in a brace: OmniDocBench v1.6 compares both."""

from __future__ import annotations

import re

from ocr_verifiers.metrics.omnidocbench.v16.multiline import (
    ENVIRONMENT,
    are_without_columns,
    environment_end,
    has_logic,
    rows,
)

_BEGIN = re.compile(r"\\begin\{")
_DEEPEST = 20
"""Environments in one another that are looked at."""


def with_logic_as_arrays(latex: str, depth: int = 0) -> str:
    r"""The formula with `cases` as `\left\{ \begin{array}{l}`, if a sign of logic stands in them or after them."""
    if depth == _DEEPEST:
        return latex
    pieces: list[str] = []
    position = 0
    while found := _BEGIN.search(latex, position):
        pieces.append(latex[position : found.start()])
        begin = ENVIRONMENT.match(latex, found.start())
        if begin is None:
            pieces.append(found[0])
            position = found.end()
            continue
        end = environment_end(latex, begin["name"], begin.end())
        if end is None:
            position = found.start()
            break
        closing = rf"\end{{{begin['name']}}}"
        body, position = with_logic_as_arrays(latex[begin.end() : end], depth + 1), end + len(closing)
        if begin["name"] == "cases" and _reasons(body, latex[position : position + 200]):
            pieces.append(rf"\left\{{ \begin{{array}}{{l}} {body.strip()} \end{{array}} \right.")
        else:
            pieces.append(begin[0] + body + closing)
    return "".join(pieces) + latex[position:]


def _reasons(body: str, after: str) -> bool:
    lines, after = rows(body), after.lstrip()
    follows = has_logic(body) or has_logic(after) or bool(ENVIRONMENT.match(after))
    return len(lines) > 1 and are_without_columns(lines) and follows
