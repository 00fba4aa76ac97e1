"""Times math tests without a browser against olmOCR's stored times with one: milliseconds per test and page.

    python scripts/bench/math_checks.py --oracle DIR

DIR has `math_workload.json` (pages with their tests and completions), `math_verdicts.json` and `math_timing.json`
(olmOCR's verdicts, and its times in the browser, measured on a similar machine but not in the same run). Cold: every
cache is emptied before each comparison. Warm: formulas are rendered, but nothing has been compared.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

from ocr_verifiers import PreparedPage, RecordError, UnitTest, parse_test, run_test
from ocr_verifiers.markup import katex, mathml
from ocr_verifiers.unit_tests.olmocr.layout import layout
from ocr_verifiers.unit_tests.olmocr.math import contains as compat_contains
from ocr_verifiers.unit_tests.run import Compat

COMPARISONS = (compat_contains, mathml.contains)
ALL = (*COMPARISONS, mathml.printed, layout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=Path, default=Path(__file__).resolve().parents[3] / "shared/oracle/olmocr")
    oracle: Path = parser.parse_args().oracle
    if not (oracle / "math_workload.json").is_file():
        sys.exit(f"skipped: {oracle}/math_workload.json does not exist; give its folder with --oracle")
    pages, stored, timing = (
        json.loads((oracle / f"math_{name}.json").read_text(encoding="utf-8"))
        for name in ("workload", "verdicts", "timing")
    )
    cold_peer, warm_peer = timing["cold_serial_ms_per_comparison"]["mean"], timing["warm_compare_ms"]["mean"]
    katex.render("x")  # start the engine before timing

    print("| mode | pairs | cold, mean (median) | olmOCR | ratio | warm, mean (median) | olmOCR | ratio | as stored |")
    print("|---|---|---|---|---|---|---|---|---|")
    for compat in ("olmocr", None):
        pairs = list(pairs_of(pages, stored, compat))
        cold = [timed(test, text, compat, forget_all) for test, text, _ in pairs]
        for test, text, _ in pairs:
            run_test(test, PreparedPage(text), compat)
        warm = [timed(test, text, compat, forget_comparisons) for test, text, _ in pairs]
        agree = sum(run_test(test, PreparedPage(text), compat).passed == verdict for test, text, verdict in pairs)
        print(
            f"| {compat or 'strict'} | {len(pairs)} | {mean(cold):.2f} ({median(cold):.2f}) ms | {cold_peer:.0f} ms "
            f"| {cold_peer / mean(cold):.0f}x | {mean(warm):.3f} ({median(warm):.3f}) ms | {warm_peer:.2f} ms "
            f"| {warm_peer / mean(warm):.1f}x | {agree} of {len(pairs)} |"
        )


def pairs_of(pages: Any, stored: Any, compat: Compat | None) -> Iterator[tuple[UnitTest, str, bool]]:
    """(test, completion, olmOCR's verdict), without references that strict mode rejects."""
    for page in pages["pages"]:
        for i, record in enumerate(page["tests"]):
            try:
                test = parse_test(record, page["page_id"], compat)
            except RecordError:
                continue
            for completion, verdicts in zip(page["completions"], stored["verdicts"][page["page_id"]], strict=True):
                yield test, completion, verdicts[i]


def forget_comparisons() -> None:
    for cached in COMPARISONS:
        cached.cache_clear()


def forget_all() -> None:
    katex.forget_renders()
    for cached in ALL:
        cached.cache_clear()


def timed(test: UnitTest, text: str, compat: Compat | None, forget: Callable[[], None]) -> float:
    """Milliseconds of one test on one page, including finding formulas, after emptying caches with `forget`."""
    forget()
    start = time.perf_counter()
    run_test(test, PreparedPage(text), compat)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
