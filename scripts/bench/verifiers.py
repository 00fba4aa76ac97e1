"""Compares the speed of olmOCR-bench's checks and jiwer's CER with ours: CPU seconds of one core, best of three.

    python scripts/bench/verifiers.py --oracle DIR

DIR has `workload_NAME.json` (pages with their tests and completions) and `verdicts_olmocr_NAME.json` (olmOCR's
verdicts). olmOCR is installed into a separate environment, kept in the folder `--env`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ocr_verifiers import PreparedPage, parse_test, run_test
from ocr_verifiers.text.edit_distance import char_edits
from ocr_verifiers.unit_tests.checks.registry import CHECKS
from ocr_verifiers.unit_tests.olmocr.registry import CHECKS as OLMOCR_CHECKS

Result = TypeVar("Result")
PEER = "olmocr==0.4.27"
PEER_NEEDS = "beautifulsoup4 fuzzysearch==0.8.1 numpy playwright rapidfuzz tqdm".split()
"""The imports of its bench tests; its other dependencies are for its models."""
TIME_IN_PEER = """
import json, sys, time
from olmocr.bench.tests import load_single_test
pages = json.load(open(sys.argv[1]))["pages"]
best = float("inf")
for _ in range(int(sys.argv[2])):
    start = time.process_time()
    for page in pages:
        tests = [load_single_test(dict(test)) for test in page["tests"]]
        for completion in page["completions"]:
            for test in tests:
                test.run(completion)
    best = min(best, time.process_time() - start)
print(best)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", type=Path, default=Path(__file__).resolve().parents[3] / "shared/oracle/olmocr")
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "ocr-rl-bench" / PEER)
    parser.add_argument("--workloads", nargs="*", default=["heavy", "table"])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed; the best counts")
    parser.add_argument("--pages", type=int, default=1000, help="for CER against jiwer; 0 skips it")
    parser.add_argument("--words", type=int, default=3000, help="per page")
    parser.add_argument("--completions", type=int, default=8, help="per page")
    args = parser.parse_args()

    print("| workload | runs | olmOCR, s | ours, s | ratio | strict, s | strict / ours | verdicts as stored |")
    print("|---|---|---|---|---|---|---|---|")
    for name in args.workloads:
        workload = args.oracle / f"workload_{name}.json"
        if not workload.is_file():
            print(f"{name}: skipped, {workload} does not exist; give its folder with --oracle", file=sys.stderr)
            continue
        compare_checks(name, args.oracle, peer_python(args.env), args.rounds)
    if args.pages:
        compare_cer(args.pages, args.words, args.completions, args.rounds)


def peer_python(folder: Path) -> Path:
    """The interpreter of olmOCR's environment, which is created first if needed."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    installed = folder / "installed"
    if not installed.is_file():
        venv.create(folder, with_pip=True, clear=True)
        for packages in ([PEER, "--no-deps"], PEER_NEEDS):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        installed.touch()
    return python


def compare_checks(name: str, oracle: Path, python: Path, rounds: int) -> None:
    """One row: olmOCR and both of our modes, for workloads whose tests have a check in both modes."""
    pages = json.loads((oracle / f"workload_{name}.json").read_text(encoding="utf-8"))["pages"]
    stored = json.loads((oracle / f"verdicts_olmocr_{name}.json").read_text(encoding="utf-8"))["verdicts"]
    kinds = {test["type"] for page in pages for test in page["tests"]}
    if missing := kinds - (set(CHECKS) & set(OLMOCR_CHECKS)):
        print(f"{name}: skipped, no check for {', '.join(sorted(missing))}", file=sys.stderr)
        return
    command = [python, "-c", TIME_IN_PEER, oracle / f"workload_{name}.json", str(rounds)]
    peer = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def ours(compat: str | None) -> dict[str, list[list[bool]]]:
        verdicts = {}
        for page in pages:
            tests = [parse_test(test, name, compat) for test in page["tests"]]
            prepared = map(PreparedPage, page["completions"])
            verdicts[page["page_id"]] = [[run_test(t, p, compat).passed for t in tests] for p in prepared]
        return verdicts

    seconds, verdicts = best_of(rounds, lambda: ours("olmocr"))
    strict, _ = best_of(rounds, lambda: ours(None))
    pairs = [
        (mine, theirs)
        for page_id, completions in stored.items()
        for row, stored_row in zip(verdicts[page_id], completions, strict=True)
        for mine, theirs in zip(row, stored_row, strict=True)
    ]
    agree = sum(mine == theirs for mine, theirs in pairs)
    print(
        f"| {name} | {len(pairs)} | {peer:.3f} | {seconds:.3f} | {peer / seconds:.1f}x | {strict:.3f} "
        f"| {strict / seconds:.2f} | {agree} of {len(pairs)} |",
        flush=True,
    )


def compare_cer(pages: int, words: int, completions: int, rounds: int) -> None:
    """CER of random pages with 5 % of their characters replaced, by jiwer and by us."""
    import jiwer

    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(5000)]
    ours = theirs = 0.0
    for _ in range(pages):
        reference = " ".join(rng.choices(vocabulary, k=words))
        for _ in range(completions):
            characters = list(reference)
            for i in rng.sample(range(len(characters)), len(characters) // 20):
                characters[i] = rng.choice(["", "e", "x", characters[i] * 2])
            completion = "".join(characters).strip()
            mine, my_rate = best_of(rounds, lambda r=reference, c=completion: char_edits(r, c).error_rate)
            its, its_rate = best_of(rounds, lambda r=reference, c=completion: jiwer.cer(r, c))
            if abs(my_rate - its_rate) > 1e-12:
                sys.exit(f"the rates differ: {my_rate} is not {its_rate}")
            ours, theirs = ours + mine, theirs + its
    print("\n| CER | jiwer, s | ours, s | ratio | rates |\n|---|---|---|---|---|")
    print(
        f"| {pages} pages x {words} words x {completions} | {theirs:.2f} | {ours:.2f} | {theirs / ours:.1f}x | equal |"
    )


def best_of(rounds: int, work: Callable[[], Result]) -> tuple[float, Result]:
    """The fewest CPU seconds that the work took, and its result."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


if __name__ == "__main__":
    main()
