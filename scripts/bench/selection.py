"""How many pages that `ocr-rl select` chooses are worth as much as pages chosen at random.

    python scripts/bench/selection.py lines/ --where level=line --chosen 32,64,96 --random 128

The training pages are sampled once. SFT on the pages chosen first, and on as many drawn at random, with each seed;
CER of the held-out pages, which are the same for all. What is there in --out is not trained again.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ocr_rl import load_pages, split_pages
from ocr_rl.data.splits import SPLIT_SEED
from ocr_rl.rewards.next_pages import choose_pages, read_samples

SAMPLES = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--model", default="tiny-scans")
    parser.add_argument("--where", action="append", default=[], metavar="KEY=VALUE[,VALUE]")
    parser.add_argument("--chosen", default="32,64,96,128", metavar="N,N,...")
    parser.add_argument("--random", default="128", metavar="N,N,...", dest="drawn")
    parser.add_argument("--by", default="both", choices=["both", "disagreement", "coverage"])
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    filters = [word for one in options.where for word in ("--where", one)]
    tokens = str(options.max_tokens)

    where = {key: values.split(",") for key, _, values in (one.partition("=") for one in options.where)}
    train, _ = split_pages(load_pages(options.data, where=where), options.held_out, SPLIT_SEED)
    groups = options.out / "groups.jsonl"
    command("rollout", options.model, "--data", options.data, *filters, "--no-score", "--group-size", str(SAMPLES),
            "--max-tokens", tokens, "--out", str(groups))  # fmt: skip
    known = {page.id for page in train}
    pool = [page for page in read_samples(groups) if page.id in known]
    chosen = [one.page.id for one in choose_pages(pool, max(numbers(options.chosen)), options.by)]

    def run(name: str, pages: Sequence[str], seed: int) -> Path:
        folder = options.out / f"{name}_seed_{seed}"
        only = options.out / f"{name}_seed_{seed}.jsonl"
        only.write_text("".join(json.dumps({"id": page}) + "\n" for page in pages))
        if not (folder / "eval" / "after.json").exists():
            command("train", "sft", "--model", options.model, "--data", options.data, *filters, "--seed", str(seed),
                    "--out", str(folder), "--overwrite", "--steps", str(options.steps), "--set", f"data.only={only}",
                    "--set", f"data.validation={options.held_out}", "--set", f"rollout.max_tokens={tokens}",
                    "--set", "train.learning_rate=3e-4", "--set", "train.eval_every=0")  # fmt: skip
        return folder

    print(f"{len(pool)} pages to choose from")
    seeds = numbers(options.seeds)
    for count in numbers(options.drawn):
        drawn = {seed: random.Random(seed).sample(sorted(known), count) for seed in seeds}
        report(f"random_{count}", [run(f"random_{count}", drawn[seed], seed) for seed in seeds])
    for count in numbers(options.chosen):
        report(f"chosen_{count}", [run(f"chosen_{count}", chosen[:count], seed) for seed in seeds])


def numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "ocr_rl.cli", *words], check=True, stdout=subprocess.DEVNULL)


def report(name: str, runs: Sequence[Path]) -> None:
    """The CER of each seed, and that of all with an interval over held-out pages."""
    found = [json.loads((run / "eval" / "after.json").read_text()) for run in runs]
    counts = np.array([[(page["char_edits"], page["reference_chars"]) for page in one["pages"]] for one in found])
    rng = np.random.default_rng(0)
    pages = counts.sum(0)
    drawn = pages[rng.integers(0, len(pages), (2000, len(pages)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    cer = pages[:, 0].sum() / pages[:, 1].sum()
    each = " ".join(f"{one['cer']:.3f}" for one in found)
    print(f"{name:12} {each}   {cer:.3f} [{low:.3f}, {high:.3f}]", flush=True)


if __name__ == "__main__":
    main()
