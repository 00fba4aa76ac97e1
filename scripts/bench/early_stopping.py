"""How near `train.patience` comes to the best step of runs that went on without it.

    ocr-rl train few --data lines/ --set train.patience=0 --seed 0 --out runs/long0
    python scripts/bench/early_stopping.py runs/long0 --patience 4

Each stage of a run is replayed: the step that patience would have kept, and the best one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ocr_rl.config.schema import TrainConfig
from ocr_rl.runs.patience import Patience

METRIC = "eval/cer"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--patience", type=int, default=4, help="evaluations in a row that are not better")
    options = parser.parse_args()
    print("| stage | start | evaluations | stopped after | kept | best | kept / best |\n|---|---|---|---|---|---|---|")
    for metrics in sorted(path for run in options.runs for path in run.rglob("metrics.jsonl")):
        start_file = metrics.parent / "eval" / "start.json"
        if not start_file.is_file():
            sys.exit(f'{metrics.parent}: has no eval/start.json; train it with train.keep_best = "cer"')
        start = json.loads(start_file.read_text())
        rows = [start, *(row for row in map(json.loads, metrics.open()) if row.get(METRIC) is not None)]
        patience, seen = Patience(TrainConfig(keep_best="cer", patience=options.patience)), []
        for row in rows:
            seen.append(row)
            patience.add(row)
            if patience.at_end:
                break
        kept, best = (min(some, key=lambda row: row[METRIC]) for some in (seen, rows))
        ratio = kept[METRIC] / best[METRIC] if best[METRIC] else 1.0
        print(
            f"| {metrics.parent} | {start[METRIC]:.4f} | {len(rows)} | step {seen[-1]['step']} | {kept[METRIC]:.4f}, "
            f"step {kept['step']} | {best[METRIC]:.4f}, step {best['step']} | {ratio:.3f} |"
        )


if __name__ == "__main__":
    main()
