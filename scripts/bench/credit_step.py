"""What grpo.credit = "alignment" adds to the CPU time of a step: on the default run, and on long pages.

    python scripts/bench/credit_step.py --steps 2 --characters 3000

Default run: a step as it is (sampling, scoring, update), and on its groups, in turn, the advantages without and with
credit by token. Long pages: a page of `--characters` with 16 completions that have 5 % of wrong characters; of these
`--learned` go through forward and backward pass, and their time is scaled to 16. Sampling is left out there, so that
the ratio is an upper bound.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from ocr_rl.algorithms.grpo import GrpoLearner, GrpoTrainer
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import Recipe
from ocr_rl.models.text_encoder import TextEncoder
from ocr_rl.pipeline.job import make_scorer, make_trainer, prepare
from ocr_rl.pipeline.pages import collect_pages
from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
from ocr_rl.types import Group

GROUP_SIZE = 16
REPEATS = 5


def credited(recipe: Recipe) -> Recipe:
    return replace(recipe, grpo=replace(recipe.grpo, credit="alignment"))


def advantage_seconds(
    learner: GrpoLearner, recipe: Recipe, groups: Sequence[ScoredGroup], rewards: RewardFunction
) -> tuple[float, float]:
    """CPU seconds of the advantages of a batch without and with credit, the lowest of several turns each."""
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(REPEATS):
        for with_credit in (False, True):
            learner.recipe = credited(recipe) if with_credit else recipe
            began = time.process_time()
            learner.advantages(groups, rewards)
            found[with_credit].append(time.process_time() - began)
    learner.recipe = recipe
    return min(found[False]), min(found[True])


def report(name: str, step: float, without: float, with_credit: float) -> None:
    ratio = (step + with_credit - without) / step
    print(f"{name}: step {step:.2f} s, credit {with_credit - without:.3f} s, ratio {ratio:.4f}", flush=True)


def noisy(random: Random, text: str, share: float) -> str:
    """Some characters replaced, some left out, some written twice."""
    written = []
    for character in text:
        if random.random() >= share:
            written.append(character)
        else:
            written.append(random.choice(["", character * 2, random.choice("abcdefghijklmnopqrstuvwxyz ")]))
    return "".join(written)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=2, help="of the default run")
    parser.add_argument("--characters", type=int, default=3000, help="of a long page; 0: none")
    parser.add_argument("--learned", type=int, default=1, help="completions of it that are learned")
    given = parser.parse_args()
    torch.set_num_threads(1)
    longest = max(64, given.characters + given.characters // 10 + 8)
    settings = ["render.pages=60", "reward.processes=0", "train.eval_pages=1"]
    recipe = load_recipe("grpo", settings)
    with TemporaryDirectory() as folder:
        pages = collect_pages(recipe, Path(folder) / "pages")
        job = prepare(recipe, pages, say=lambda line: None)
        with make_scorer(job) as scorer:
            trainer = make_trainer(job, scorer)
            assert isinstance(trainer, GrpoTrainer)
            trainer.start(0)
            for step in range(1, given.steps + 1):
                batches: list[Sequence[ScoredGroup]] = []
                update = trainer.learner.update

                def kept(scored: Sequence[ScoredGroup], *rest: object, update=update, batches=batches):  # type: ignore[no-untyped-def]
                    batches.append(scored)
                    return update(scored, *rest)

                trainer.learner.update = kept  # type: ignore[method-assign]
                began = time.process_time()
                trainer.step(step, 1e-4)
                seconds = time.process_time() - began
                trainer.learner.update = update  # type: ignore[method-assign]
                without, credit = advantage_seconds(trainer.learner, recipe, batches[0], scorer.reward_function)
                report(f"default run, step {step}", seconds, without, credit)
        if not given.characters:
            return
        random, encoder = Random(0), TextEncoder(job.policy)
        text = "".join(random.choice("abcdefghijklmnopqrstuvwxyz     ") for _ in range(given.characters)).strip()
        page = replace(job.train[0], id="long", text=text, tests=())
        rewards = RewardFunction(job.reward_function.rubric, [page])
        completions = [encoder.completion(noisy(random, text, 0.05), True, longest) for _ in range(GROUP_SIZE)]
        [scored] = rewards.score_groups([Group(page, completions)])
        without, credit = advantage_seconds(trainer.learner, recipe, [scored], rewards)
        some = slice(given.learned)
        part = replace(
            scored, group=Group(page, completions[some]), scores=scored.scores[some], rewards=scored.rewards[some]
        )
        began = time.process_time()
        trainer.learner.update([part], torch.ones(1, given.learned), torch.ones(1, dtype=torch.bool), 1e-4)
        seconds = (time.process_time() - began) * GROUP_SIZE / given.learned
        report(f"{given.characters:,} characters x {GROUP_SIZE}, without sampling", seconds, without, credit)


if __name__ == "__main__":
    main()
