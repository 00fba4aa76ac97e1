"""Looks for an edited page that earns more than the true one, under each rubric with text.

    python scripts/bench/reference_earns_most.py --examples 100000 --processes 8

Pages and edits are those of tests/verifiers/rewards/test_true_page.py. A seed stands for the same examples whatever the
number of processes. Exit code 1 and the smallest counterexample of each part of the examples, if there is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from helpers.edited_pages import RUBRICS, edited, rewards

PART = 250
"""Examples of one rubric that one process tries in turn; few, as a violation ends them."""
TOLERANCE = 1e-9


class Part(NamedTuple):
    rubric: str
    seed: str
    examples: int


class Outcome(NamedTuple):
    rubric: str
    examples: int
    """Before the first violation."""
    seconds: float
    violation: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000, help="of each rubric")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rubric", choices=RUBRICS, action="append", help="only this one; repeatable")
    args = parser.parse_args()
    names = args.rubric or RUBRICS
    with ProcessPoolExecutor(args.processes) as pool:
        outcomes = list(pool.map(tried, parts(names, args.examples, args.seed)))
    print("| rubric | examples | violations | CPU seconds |\n|---|---|---|---|")
    for name in names:
        found = [outcome for outcome in outcomes if outcome.rubric == name]
        violations = sum(bool(outcome.violation) for outcome in found)
        examples, seconds = sum(outcome.examples for outcome in found), sum(outcome.seconds for outcome in found)
        print(f"| {name} | {examples} | {violations} | {seconds:.0f} |")
    violations = [outcome for outcome in outcomes if outcome.violation]
    for outcome in violations:
        print(outcome.rubric, outcome.violation, file=sys.stderr)
    sys.exit(bool(violations))


def parts(names: list[str], examples: int, number: int) -> Iterator[Part]:
    for first in range(0, examples, PART):
        for name in names:
            yield Part(name, f"{number} {name} {first}", min(PART, examples - first))


def tried(part: Part) -> Outcome:
    """The number of examples without a violation, and the smallest one, if there is one."""
    start, examples, violation = time.process_time(), 0, ""

    @seed(part.seed)
    @settings(
        max_examples=part.examples,
        phases=[Phase.generate, Phase.shrink],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(edited())
    def earns_no_more(pages: tuple[str, str]) -> None:
        nonlocal examples, violation
        true, other = rewards(part.rubric, *pages)
        if abs(true - 1) > TOLERANCE or other > true + TOLERANCE:
            violation = f"the page {pages[0]!r} earns {true}, and {pages[1]!r} earns {other}"
            raise AssertionError(violation)
        examples += not violation

    try:
        earns_no_more()
    except AssertionError:
        assert violation, "an error of another kind"
    return Outcome(part.rubric, examples, time.process_time() - start, violation)


if __name__ == "__main__":
    main()
