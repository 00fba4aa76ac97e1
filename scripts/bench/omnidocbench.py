"""Compares OmniDocBench's scores with a peer's: every pair of blocks, and CPU seconds of one core.

    python scripts/bench/omnidocbench.py --pages 2000
    python scripts/bench/omnidocbench.py --pages 2000 --vlmevalkit OmniDocBench/odb_v16_vendor

The peer of version 1.5 is evalscope, that of version 1.6 the program in VLMEvalKit since its commit fb4d575. Pages are
those of tests/helpers/omnidocbench_pages.py. evalscope is installed into an environment of its own, without what it
needs for anything else; VLMEvalKit's program runs there too.
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
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from ocr_verifiers.metrics.omnidocbench import scoring
from ocr_verifiers.metrics.omnidocbench.reference import Version, reference_page
from ocr_verifiers.metrics.omnidocbench.scoring import PageScore, summary
from ocr_verifiers.metrics.omnidocbench.v16 import scoring as scoring_v16

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from helpers.omnidocbench_pages import page as invented_page
from helpers.omnidocbench_pages import page_with_lines

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


RUN_VLMEVALKIT = """
import contextlib, json, logging, os, sys, time, types, warnings
from pathlib import Path
warnings.simplefilter("ignore")
os.environ["OMNIDOCBENCH_LATEX_TO_TEXT_TIMEOUT_SEC"] = "0"  # without a process for each formula
def module(name, **values):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__dict__.update(values)
    return sys.modules[name]
root = Path(sys.argv[3])
sys.path.insert(0, str(root))
for name in ("src", "src.core", "src.metrics", "src.dataset", "src.runtime"):  # without what the packages import
    module(name, __path__=[str(root.joinpath(*name.split(".")))])
quiet = lambda *args, **options: None
module("evaluate")
module("loguru", logger=types.SimpleNamespace(info=quiet, warning=quiet, error=quiet))
module("func_timeout", FunctionTimedOut=TimeoutError, func_timeout=lambda limit, call, args: call(*args))
fonts, plots = module("matplotlib.font_manager", FontProperties=quiet), module("matplotlib.pyplot")
module("matplotlib", font_manager=fonts, pyplot=plots)
logging.disable(logging.CRITICAL)
from src.dataset.end2end_dataset import End2EndDataset, RecognitionEnd2EndTableDataset
from src.metrics.table_metric import TEDS
pages = json.load(open(sys.argv[1]))
start = time.process_time()
judge = End2EndDataset.__new__(End2EndDataset)
limits = "short_line_max_chars target_chunk_chars max_chunk_chars max_chunk_span order_window order_penalty"
judge.__dict__ |= {"timeout_fallback_" + name: None for name in limits.split()}
judge.__dict__ |= {"match_method": "quick_match", "match_timeout_sec": 420, "slow_stage_log_sec": 0}
judge.__dict__ |= {"enable_timeout_match_fallback": False, "quick_match_truncated_timeout_sec": 300}
measures = {"TEDS": TEDS(), "TEDS_structure_only": TEDS(structure_only=True)}
blocks = {"text_block": [], "display_formula": [], "table": [], "reading_order": []}
for record, markdown in pages:
    image = os.path.basename(record["page_info"]["image_path"])
    with contextlib.redirect_stdout(sys.stderr):
        texts, formulas, _, tables, order = judge.process_get_matched_elements(record, markdown, image)
    tables = RecognitionEnd2EndTableDataset(tables, "html").samples
    for kind, rows in (("text_block", texts), ("display_formula", formulas), ("table", tables)):
        for row in rows:
            sides = [row.get("norm_gt") or row["gt"], row.get("norm_pred") or row["pred"]]
            scores = {name: teds.evaluate(*sides[::-1]) for name, teds in measures.items()} if kind == "table" else {}
            blocks[kind].append([image, *sides, scores])
    if order:
        blocks["reading_order"].append([image, "", "", {"Edit_dist": order["edit"]}])
json.dump({"seconds": time.process_time() - start, "blocks": blocks, "scores": {}}, open(sys.argv[2], "w"))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--page", type=int, action="append", help="compare this one of the pages only; repeatable")
    parser.add_argument("--blocks", type=int, default=14, help="of a page, at most")
    parser.add_argument("--chunk", type=int, default=250, help="pages that the peer and we score in turn")
    parser.add_argument("--lines", action="store_true", help="formulas of several lines and tables of formulas too")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--env", type=Path, default=Path(tempfile.gettempdir()) / "ocr-rl-bench" / PEER)
    parser.add_argument(
        "--vlmevalkit", type=Path, help="compare version 1.6: the folder odb_v16_vendor of a copy of VLMEvalKit"
    )
    parser.add_argument("--show-scores", action="store_true", help="print the peer's means")
    args = parser.parse_args()
    invent = page_with_lines if args.lines else invented_page
    version: Version = "v1.5" if args.vlmevalkit is None else "v1.6"
    score_page = scoring.score_page if version == "v1.5" else scoring_v16.score_page
    rng = random.Random(args.seed)
    peer_seconds = seconds = 0.0
    compared, pairs, differences = 0, 0, []
    if args.page and not all(0 <= number < args.pages for number in args.page):
        parser.error(f"--page is a number from 0 to {args.pages - 1}, one below --pages")
    for start in range(0, args.pages, args.chunk):
        pages = [invent(rng, number, args.blocks) for number in range(start, min(args.pages, start + args.chunk))]
        if args.page:
            pages = [page for number, page in enumerate(pages, start) if number in args.page]
        if not pages:
            continue
        theirs = run_peer(pages, args.env, args.vlmevalkit)
        began = time.process_time()
        scores = [score_page(reference_page(record, version), markdown, render=False) for record, markdown in pages]
        summary(scores)
        seconds += time.process_time() - began
        peer_seconds += theirs["seconds"]
        compared += len(pages)
        expected, written = by_page(theirs["blocks"]), {score.image: our_blocks(score) for score in scores}
        pairs += sum(map(len, written.values()))
        differences += [
            (image, expected[image], blocks) for image, blocks in written.items() if expected[image] != blocks
        ]
        if args.show_scores:
            print(json.dumps(theirs["scores"], indent=2))
    print("| pages | peer, s | ours, s | ratio | pairs of blocks | unequal pages |\n|---|---|---|---|---|---|")
    print(
        f"| {compared} | {peer_seconds:.1f} | {seconds:.1f} | {peer_seconds / seconds:.1f}x | {pairs} "
        f"| {len(differences)} |"
    )
    for image, theirs_of_page, ours in differences[:10]:
        for whose, one, other in (("peer", theirs_of_page, ours), ("ours", ours, theirs_of_page)):
            print(image, whose, *(Counter(one) - Counter(other)), sep="\n  ", file=sys.stderr)
    sys.exit(bool(differences))


def run_peer(pages: list[tuple[dict[str, Any], str]], env: Path, vlmevalkit: Path | None) -> dict[str, Any]:
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
        command: list[str | Path] = (
            [RUN_PEER, given, found] if vlmevalkit is None else [RUN_VLMEVALKIT, given, found, vlmevalkit]
        )
        subprocess.run(
            [python, "-c", *command],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if vlmevalkit else None,
        )
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
