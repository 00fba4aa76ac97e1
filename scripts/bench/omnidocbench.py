"""Compares OmniDocBench's scores with evalscope's: every pair of blocks, and CPU seconds of one core.

    python scripts/bench/omnidocbench.py --pages 2000

Pages are those of tests/helpers/omnidocbench_pages.py. evalscope is installed into an environment of its own, without
what it needs for anything else.
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
from collections import defaultdict
from pathlib import Path
from typing import Any

from ocr_verifiers.metrics.omnidocbench.reference import reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import PageScore, score_page, summary

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from helpers.omnidocbench_pages import page as invented_page

PEER = "evalscope==1.14.1"
NEEDS = "lxml apted numpy scipy pandas tabulate tqdm beautifulsoup4 pylatexenc python-Levenshtein".split()
RUN_PEER = """
import importlib.util, json, logging, sys, time, types
from pathlib import Path
root = Path(next(path for path in sys.path if Path(path, "evalscope", "benchmarks").is_dir()), "evalscope")
parts = "evalscope.benchmarks.omnidoc_bench.legacy".split(".")
for name in (".".join(parts[:n]) for n in range(1, 5)):
    module = types.ModuleType(name)  # without what the packages import
    module.__path__ = [str(root.parent.joinpath(*name.split(".")))]
    sys.modules[name] = module
tools = types.ModuleType("evalscope.utils")
tools.get_logger = lambda: logging.getLogger("evalscope")
sys.modules["evalscope.utils"] = tools
logging.disable(logging.CRITICAL)
from evalscope.benchmarks.omnidoc_bench.legacy.end2end_eval import End2EndEvaluator
kinds = ("text_block", "display_formula", "table", "reading_order")
measures = {kind: {"metric": ["Edit_dist"]} for kind in kinds} | {"table": {"metric": ["TEDS", "Edit_dist"]}}
pages = json.load(open(sys.argv[1]))
start = time.process_time()
judge = End2EndEvaluator([page[1] for page in pages], [page[0] for page in pages], measures)
matched = judge.get_matched_elements(judge.references, judge.predictions)
scores = judge.process_generated_metric_results(matched)
seconds = time.process_time() - start
blocks = {
    kind: [
        [b["img_id"], b.get("norm_gt") or b["gt"], b.get("norm_pred") or b["pred"], b.get("metric", {})]
        for b in matched[kind].samples
    ]
    for kind in kinds
}
json.dump({"seconds": seconds, "blocks": blocks, "scores": scores}, open(sys.argv[2], "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--blocks", type=int, default=14, help="of a page, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "ocr-rl-bench" / PEER)
    parser.add_argument("--show-scores", action="store_true", help="print the peer's means")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    pages = [invented_page(rng, number, args.blocks) for number in range(args.pages)]
    theirs = run_peer(pages, args.env)
    start = time.process_time()
    scores = [score_page(reference_page(reference), markdown, render=False) for reference, markdown in pages]
    summary(scores)
    seconds = time.process_time() - start
    print("| pages | peer, s | ours, s | ratio | pairs of blocks | unequal pages |\n|---|---|---|---|---|---|")
    expected, written = by_page(theirs["blocks"]), {score.image: our_blocks(score) for score in scores}
    unequal = [image for image in written if expected[image] != written[image]]
    pairs = sum(len(blocks) for blocks in written.values())
    peer_seconds = theirs["seconds"]
    print(
        f"| {len(pages)} | {peer_seconds:.1f} | {seconds:.1f} | {peer_seconds / seconds:.1f}x | {pairs} "
        f"| {len(unequal)} |"
    )
    if args.show_scores:
        print(json.dumps(theirs["scores"], indent=2))
    for image in unequal[:3]:
        print(image, *set(expected[image]) ^ set(written[image]), sep="\n  ", file=sys.stderr)
    sys.exit(bool(unequal))


def run_peer(pages: list[tuple[dict[str, Any], str]], env: Path) -> dict[str, Any]:
    """The peer's blocks, means and CPU seconds."""
    python = env / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (env / "installed").is_file():
        venv.create(env, with_pip=True, clear=True)
        for packages in ([PEER, "--no-deps"], NEEDS):
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        (env / "installed").touch()
    with tempfile.TemporaryDirectory() as scratch:
        given, found = Path(scratch, "pages.json"), Path(scratch, "found.json")
        given.write_text(json.dumps(pages), encoding="utf-8")
        subprocess.run([python, "-c", RUN_PEER, given, found], check=True, stdout=subprocess.DEVNULL)
        result: dict[str, Any] = json.loads(found.read_text(encoding="utf-8"))
    return result


def by_page(blocks: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The peer's pairs of each page."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for kind, pairs in blocks.items():
        for image, reference, page, metric in pairs:
            if kind == "reading_order":
                found[image].append((kind, round(metric["Edit_dist"], 6), "", ""))
            else:
                teds = [round(metric.get(name, 0.0), 6) for name in ("TEDS", "TEDS_structure_only")]
                found[image].append((kind, reference, page, str(teds)))
    return defaultdict(list, {image: sorted(pairs, key=str) for image, pairs in found.items()})


def our_blocks(score: PageScore) -> list[Any]:
    """Our pairs of a page, in the same form."""
    pairs: list[Any] = []
    for kind, blocks in (("text_block", score.texts), ("display_formula", score.formulas), ("table", score.tables)):
        for block in blocks:
            teds = [round(block.table.teds, 6), round(block.table.structure, 6)] if block.table else [0.0, 0.0]
            pairs.append((kind, block.reference, block.page, str(teds)))
    if score.order is not None:
        pairs.append(("reading_order", round(score.order, 6), "", ""))
    return sorted(pairs, key=str)


if __name__ == "__main__":
    main()
