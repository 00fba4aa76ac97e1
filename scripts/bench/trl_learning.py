"""TRL's GRPOTrainer and ours on the same number of completions: CER of held-out pages during training.

    python scripts/bench/trl_learning.py --steps 60 --seeds 0 1 2

Both start from the embedded policy and train on the same rendered pages of the default collection, in the same order,
with the default recipe's reward, rate and sampling; each samples its own completions. TRL encodes a whole batch of
pages in one attention matrix, so the default is 4 pages x 8 completions per step. Greedy transcriptions, scored alike.
The interval at the end is of the pooled CER over all seeds, from resampled held-out pages.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from trl_trainer import make_trl_trainer

from ocr_rl.algorithms.grpo import GrpoTrainer
from ocr_rl.config.loader import load_recipe, to_toml
from ocr_rl.config.schema import Recipe
from ocr_rl.evaluation.completions import readable, transcribe_pages
from ocr_rl.evaluation.results import score_pages
from ocr_rl.pipeline.job import Job, prepare
from ocr_rl.pipeline.pages import collect_pages
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.training.batching import epochs
from ocr_rl.training.loop import TrainingLoop
from ocr_rl.types import Page


class Point(NamedTuple):
    """Held-out pages after some steps: (pages,) each."""

    edits: np.ndarray
    lengths: np.ndarray

    @property
    def cer(self) -> float:
        return float(self.edits.sum() / self.lengths.sum())


Curve = dict[int, Point]
"""By number of steps; 0 is before training."""


def main() -> None:
    options = parse()
    torch.set_num_threads(options.threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    curves: dict[str, list[Curve]] = {"TRL": [], "ours": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pages = collect_pages(options.recipe, folder / "pages")
        print("| seed | contender | CPU s | " + " | ".join(f"step {n}" for n in points(options)) + " |")
        print("|---|---|---|" + "---|" * len(points(options)), flush=True)
        for seed in options.seeds:
            recipe = replace(options.recipe, train=replace(options.recipe.train, seed=seed))
            for name, train in (("TRL", train_trl), ("ours", train_ours)):
                began = time.process_time()
                curve = train(recipe, pages, folder / f"{name}-{seed}")
                shown = " | ".join(f"{point.cer:.3f}" for point in curve.values())
                print(f"| {seed} | {name} | {time.process_time() - began:.0f} | {shown} |", flush=True)
                curves[name].append(curve)
    print("\n" + verdict(curves["TRL"], curves["ours"], options.recipe.train.steps))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--pages", type=int, default=4, help="pages of a step")
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--eval-pages", type=int, default=100, help="held-out pages")
    parser.add_argument("--eval-every", type=int, default=10, help="steps between points of the curve")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    changes = {
        "rollout.pages_per_step": options.pages,
        "rollout.group_size": options.group_size,
        "train.steps": options.steps,
        "train.eval_every": options.eval_every,
        "train.eval_pages": options.eval_pages,
        "train.tensorboard": "false",
    }
    try:
        options.recipe = load_recipe("grpo", [f"{key}={value}" for key, value in changes.items()])
    except ValueError as error:
        parser.error(str(error))
    return options


def points(options: argparse.Namespace) -> list[int]:
    return [*range(0, options.steps, options.eval_every), options.steps]


def point(job: Job) -> Point:
    results = transcribe_pages(job.engine, job.held_out, job.recipe.rollout.max_tokens)
    pages, completions, _ = readable(job.held_out, results)
    counts = [result.score.char_edits for result in score_pages(pages, completions, job.reward_function)]
    return Point(np.array([c.distance for c in counts if c]), np.array([c.reference_length for c in counts if c]))


def train_ours(recipe: Recipe, pages: Sequence[Page], folder: Path) -> Curve:
    job = prepare(recipe, pages)
    curve = {0: point(job)}
    every = recipe.train.eval_every

    def evaluate(step: int) -> Mapping[str, Any]:
        curve[len(curve) * every] = point(job)
        return {}

    run = RunFolder.create(folder, to_toml(recipe))
    trainer = GrpoTrainer(job.policy, job.engine, job.train, GroupScorer(job.reward_function, processes=0), recipe)
    TrainingLoop(trainer, job.policy, job.train, recipe, run, evaluate).run()
    if recipe.train.steps not in curve:
        curve[recipe.train.steps] = point(job)
    return curve


def train_trl(recipe: Recipe, pages: Sequence[Page], folder: Path) -> Curve:
    job = prepare(recipe, pages)
    curve = {0: point(job)}
    every, steps = recipe.train.eval_every, recipe.train.steps

    class Evaluate(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
            if state.global_step % every == 0 or state.global_step == steps:
                job.policy.model.eval()
                curve[state.global_step] = point(job)
                job.policy.model.train()

    batches = islice(epochs(job.train, recipe.rollout.pages_per_step, recipe.train.seed), steps)
    in_order = [page for batch in batches for page in batch]
    trainer = make_trl_trainer(job.policy, in_order, job.reward_function, recipe, str(folder), shuffle_dataset=False)
    trainer.add_callback(Evaluate())
    job.engine = TransformersEngine(job.policy, recipe.rollout.rows)
    trainer.train()
    return curve


def verdict(theirs: Sequence[Curve], ours: Sequence[Curve], steps: int, resamples: int = 2000) -> str:
    """Both gains in CER at the last step, and their difference with its 95 % interval, paired by page."""
    edits = {
        name: np.sum([curve[at].edits for curve in curves], axis=0)
        for name, curves, at in (("before", theirs, 0), ("theirs", theirs, steps), ("ours", ours, steps))
    }
    lengths = np.sum([curve[0].lengths for curve in theirs], axis=0)
    drawn = np.random.default_rng(0).integers(len(lengths), size=(resamples, len(lengths)))
    total = lengths[drawn].sum(axis=1)
    difference = (edits["theirs"] - edits["ours"])[drawn].sum(axis=1) / total
    low, high = np.quantile(difference, [0.025, 0.975])
    gain = {name: (edits["before"] - edits[name]).sum() / lengths.sum() for name in ("theirs", "ours")}
    return (
        f"CER gained: TRL {gain['theirs']:.3f}, ours {gain['ours']:.3f}; ours more by "
        f"{gain['ours'] - gain['theirs']:+.3f}, 95 % interval [{low:+.3f}, {high:+.3f}]; "
        f"10 % of TRL's gain is {gain['theirs'] / 10:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
