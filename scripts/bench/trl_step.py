"""One GRPO step compared with TRL's GRPOTrainer: CPU seconds and peak memory for the same work.

    python scripts/bench/trl_step.py --group-sizes 8 16 --lengths 32 512

Same policy (the embedded one), rendered pages, reward, loss, optimiser and number of sampled tokens; float32, no
gradient checkpointing, no KL, one optimiser step per batch, one thread. Completions have a forced length: the end
token is not sampled. Completions of up to 64 tokens belong to pages of two or three short lines, longer ones to pages
of eleven lines. Each contender runs in a separate process, whose CPU time per step is counted after a warm-up step.

With this architecture TRL encodes all pages x G images of a batch in one attention matrix, so its time grows with the
square of their number; much of the ratio comes from that.

First both compute loss and gradient for one batch that TRL sampled. If these differ, nothing is timed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ocr_rl.algorithms.grpo import GrpoLearner
from ocr_rl.config.schema import GrpoConfig, ModelConfig, Recipe, RewardConfig, RolloutConfig, TrainConfig
from ocr_rl.data.synthetic.render import STYLES, Layout, render_page
from ocr_rl.models.policy import Policy
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup, make_rubric
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.training.group_advantages import advantages_of
from ocr_rl.types import Group, Page

TOLERANCE = 1e-4
"""Relative to the gradient's largest entry; absolute for the loss."""

MIB = 2**20


def main() -> int:
    options = parse()
    if options.only:
        print(json.dumps(CONTENDERS[options.only](options)))
        return 0
    print(
        f"{options.model}, {options.pages} pages x G, {options.steps} steps, {options.threads} thread(s), CPU seconds\n"
    )
    print("| G | tokens | prompt | contender | s/step | generate | score | learn | peak MiB | above start |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    verdicts = []
    for length in options.lengths:
        for size in options.group_sizes:
            same = measure(options, "parity", size, length)
            if not max(same["loss"], same["gradient"]) <= TOLERANCE:
                print(f"\nG={size}, {length} tokens: loss or gradient differ, so nothing is timed: {same}")
                return 1
            ours, theirs = measure(options, "ours", size, length), measure(options, "trl", size, length)
            for name, found in (("TRL", theirs), ("ours", ours)):
                times = " | ".join(f"{found[part]:.2f}" for part in ("total", "generate", "score", "learn"))
                memory = f"{found['peak'] / MIB:.0f} | {(found['peak'] - found['start']) / MIB:.0f}"
                print(f"| {size} | {length} | {same['prompt']} | {name} | {times} | {memory} |", flush=True)
            verdicts.append(
                f"G={size}, {length} tokens: CPU time {ours['total'] / theirs['total']:.2f} of TRL's, "
                f"peak memory {ours['peak'] / theirs['peak']:.2f} "
                f"(above start {(ours['peak'] - ours['start']) / (theirs['peak'] - theirs['start']):.2f}); "
                f"same batch: loss off by {same['loss']:.1e}, gradient by {same['gradient']:.1e}"
            )
    print("\n" + "\n".join(verdicts))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a folder, or tiny, the embedded policy")
    parser.add_argument("--group-sizes", type=int, nargs="+", default=[8, 16], metavar="G")
    parser.add_argument("--lengths", type=int, nargs="+", default=[32, 512], metavar="T")
    parser.add_argument("--pages", type=int, default=2, help="pages of a step")
    parser.add_argument("--steps", type=int, default=2, help="steps to time")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--only", choices=sorted(CONTENDERS), help="run only this contender, in this process, and print JSON"
    )
    return parser.parse_args()


def measure(options: argparse.Namespace, contender: str, size: int, length: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--only", contender, "--model", options.model]
    command += ["--group-sizes", str(size), "--lengths", str(length), "--pages", str(options.pages)]
    command += ["--steps", str(options.steps), "--threads", str(options.threads)]
    quiet = {"OMP_NUM_THREADS": str(options.threads), "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def work(options: argparse.Namespace) -> tuple[Policy, list[Page], RewardFunction, Recipe]:
    """What both contenders share."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    (size,), (length,) = options.group_sizes, options.lengths
    recipe = Recipe(
        model=ModelConfig(path=options.model),
        rollout=RolloutConfig(pages_per_step=options.pages, group_size=size, max_tokens=length),
        reward=RewardConfig(weights={"similarity": 1.0}),
        grpo=GrpoConfig(min_group_std=0.0),  # no group is skipped: the same work
        train=TrainConfig(steps=options.steps + 1, learning_rate=1e-5),
    )
    render = recipe.render
    short = Layout(render.layout, tuple(render.lines), tuple(render.characters))
    layout = short if length <= 64 else Layout(lines=(11, 11), characters=(36, 42))
    pages = [make_page(i, layout) for i in range(options.pages)]
    return Policy.load(recipe.model, "cpu"), pages, RewardFunction(make_rubric(recipe.reward), pages), recipe


def make_page(i: int, layout: Layout) -> Page:
    rendered = render_page(f"race:{i}", layout, STYLES["carbon"])
    return Page(f"page {i}", lambda: rendered.image, text=rendered.text)


def run_ours(options: argparse.Namespace) -> dict[str, float]:
    policy, pages, reward_function, recipe = work(options)
    endless = copy.copy(policy)  # the same weights, but the end token is never sampled
    endless.end_ids, endless.suppressed_ids = [], (*policy.suppressed_ids, *policy.end_ids)
    engine, learner = TransformersEngine(endless), GrpoLearner(policy, recipe)
    sampling = Sampling(recipe.rollout.group_size, recipe.rollout.temperature, recipe.rollout.max_tokens)
    clocks, start = [], resident()
    for step in range(recipe.train.steps):
        clock = [time.process_time()]
        groups = engine.generate(pages, sampling, seed=step)
        clock.append(time.process_time())
        assert all(len(c.token_ids) == recipe.rollout.max_tokens for group in groups for c in group.completions)
        scored = reward_function.score_groups(groups)
        clock.append(time.process_time())
        advantages, spread = advantages_of(scored, recipe.grpo)
        learner.update(scored, advantages, spread, recipe.train.learning_rate)
        clock.append(time.process_time())
        clocks.append([b - a for a, b in pairwise(clock)])
    return summary(clocks[1:], start)


def run_trl(options: argparse.Namespace) -> dict[str, float]:
    """Times from the end of one step to the end of the next; what is neither generation nor reward is learning."""
    import transformers
    from trl_trainer import make_trl_trainer

    policy, pages, reward_function, recipe = work(options)
    ends: list[float] = []
    generate: list[float] = []
    score: list[float] = []

    class Clock(transformers.TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.process_time())

    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trl_trainer(policy, pages, reward_function, recipe, folder, **forced(recipe))
        trainer.add_callback(Clock())
        trainer._generate = timed(trainer._generate, generate)
        trainer._calculate_rewards = timed(trainer._calculate_rewards, score)
        start = resident()
        trainer.train()
    steps = [b - a for a, b in pairwise(ends)]
    return summary(
        [[g, s, total - g - s] for total, g, s in zip(steps, generate[1:], score[1:], strict=True)],
        start,
    )


def run_parity(options: argparse.Namespace) -> dict[str, float]:
    """The differences of our loss and gradient from TRL's on the first batch that TRL samples."""
    from trl_trainer import as_completion, make_trl_trainer

    policy, pages, reward_function, recipe = work(options)
    recipe = replace(recipe, train=replace(recipe.train, steps=1))
    theirs = copy.copy(policy)
    theirs.model = copy.deepcopy(policy.model)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trl_trainer(theirs, pages, reward_function, recipe, folder, **forced(recipe))
        seen: list[tuple[dict[str, Any], float]] = []
        compute_loss = trainer._compute_loss

        def spy(model: Any, inputs: dict[str, Any]) -> torch.Tensor:
            loss: torch.Tensor = compute_loss(model, inputs)
            seen.append((inputs, loss.item()))
            return loss

        trainer._compute_loss = spy
        trainer.create_optimizer()
        trainer.optimizer.step = lambda *_, **__: None  # the gradient stays as it is
        trainer.optimizer.zero_grad = trainer.model.zero_grad = lambda *_, **__: None
        trainer.args.max_grad_norm = 0.0
        trainer.train()
    (inputs, loss), size = seen[0], recipe.rollout.group_size
    # TRL shuffles rows between sampling and loss; the pixels of a row identify its page
    prompts = [policy.prompt(page) for page in pages]
    groups: list[list[int]] = [[] for _ in pages]
    for row in range(len(inputs["completion_ids"])):
        pixels = inputs["pixel_values"][row]
        groups[nearest(pixels, [prompt.inputs["pixel_values"][0] for prompt in prompts])].append(row)
    assert all(len(rows) == size for rows in groups)
    scored = []
    for page, rows in zip(pages, groups, strict=True):
        completions = [as_completion(policy, inputs["completion_ids"][row].tolist()) for row in rows]
        scores = [reward_function.score(page, completion) for completion in completions]
        scored.append(ScoredGroup(Group(page, completions), scores, [score.reward for score in scores]))
    advantages, spread = advantages_of(scored, recipe.grpo)
    policy.suppressed_ids = ()  # TRL keeps image tokens in its softmax
    learner = GrpoLearner(policy, recipe)
    learner.accumulate(scored, learner.prepare(scored, advantages, spread))
    expected = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    found = {name: p.grad for name, p in policy.model.named_parameters()}
    largest = max(grad.abs().max().item() for grad in expected.values())
    if largest == 0:
        raise SystemExit("all completions of a page have the same reward, so there is no gradient to compare; use more")
    return {
        "loss": abs(learner.sums[0].item() - loss),
        "gradient": max((found[name] - grad).abs().max().item() for name, grad in expected.items()) / largest,
        "prompt": max(map(len, prompts)),
    }


def nearest(pixels: torch.Tensor, pages: Sequence[torch.Tensor]) -> int:
    """The index of the page with these pixels, which are padded to the batch."""
    return min(
        range(len(pages)),
        key=lambda i: (
            (pixels[:, : pages[i].shape[1], : pages[i].shape[2]] - pages[i]).abs().sum().item()
            + pixels[:, pages[i].shape[1] :].abs().sum().item()
            + pixels[:, :, pages[i].shape[2] :].abs().sum().item()
        ),
    )


def forced(recipe: Recipe) -> dict[str, Any]:
    return {"generation_kwargs": {"min_new_tokens": recipe.rollout.max_tokens}, "shuffle_dataset": False}


def timed(call: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        result = call(*args, **kwargs)
        seconds.append(time.process_time() - began)
        return result

    return wrapped


def summary(clocks: Sequence[Sequence[float]], start: int) -> dict[str, float]:
    """Means over the steps, and memory in bytes."""
    generate, score, learn = (sum(part) / len(clocks) for part in zip(*clocks, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "total": generate + score + learn,
        "generate": generate,
        "score": score,
        "learn": learn,
        "start": start,
        "peak": peak,
    }


def resident() -> int:
    """Bytes of memory that this process has now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


CONTENDERS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "ours": run_ours,
    "trl": run_trl,
    "parity": run_parity,
}

if __name__ == "__main__":
    sys.exit(main())
