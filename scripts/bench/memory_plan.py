"""What `ocr-rl train --dry-run` plans against what training takes: `python scripts/bench/memory_plan.py`.

Models of 50 and 200 million random weights in the form of LightOnOCR, on the CPU, in three settings. Each case is a
process of its own that makes two GRPO steps on one page, and the plan is another that loads no weights. A table row:
setting, planned MiB, peak MiB, their quotient.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

SIZES = {"50M": (512, 10), "200M": (1024, 13)}
SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "full": {},
    "recomputed": {"model": {"gradient_checkpointing": True}},
    "LoRA, micro-batches of 1": {"model": {"lora_rank": 16}, "train": {"micro_batch_tokens": 96}},
}
GROUP, TOKENS = 6, 96


def save_model(folder: Path, size: str) -> None:
    from helpers.sized_models import sized_policy

    policy = sized_policy(*SIZES[size])
    print(size, f"{policy.model.num_parameters():,} weights", file=sys.stderr, flush=True)
    policy.save(folder)


def recipe_of(folder: Path, setting: str) -> Any:
    from helpers.tiny_models import make_recipe

    recipe = make_recipe(
        rollout_group_size=GROUP,
        rollout_max_tokens=TOKENS,
        rollout_pages_per_step=1,
        train_steps=2,
        grpo_min_group_std=0.0,
    )
    recipe = replace(recipe, model=replace(recipe.model, path=str(folder), compute_dtype="float32"))
    for section, values in SETTINGS[setting].items():
        recipe = replace(recipe, **{section: replace(getattr(recipe, section), **values)})
    return recipe


def planned(folder: Path, setting: str) -> int:
    from helpers.tiny_models import make_page
    from ocr_rl.pipeline.memory_plan import plan_memory, planned_machine

    plan = plan_memory(recipe_of(folder, setting), [make_page(0, (320, 240))], planned_machine())
    print(*plan.lines(), sep="\n", file=sys.stderr)
    return plan.total >> 20


def trained(folder: Path, setting: str) -> int:
    import torch

    from helpers.tiny_models import make_page
    from ocr_rl.algorithms.grpo import GrpoTrainer
    from ocr_rl.models.policy import Policy
    from ocr_rl.rewards.reward_function import RewardFunction, ScoredGroup
    from ocr_rl.rollouts.engine import Sampling
    from ocr_rl.rollouts.scoring import GroupScorer
    from ocr_rl.rollouts.transformers_engine import TransformersEngine
    from ocr_verifiers import Rubric

    recipe, page = recipe_of(folder, setting), make_page(0, (320, 240))
    policy = Policy.load(recipe.model)
    engine, function = TransformersEngine(policy), RewardFunction(Rubric(), [page])
    trainer = GrpoTrainer(policy, engine, [page], GroupScorer(function, 0), recipe)
    for seed in range(2):
        [group] = engine.generate([page], Sampling(GROUP, 1.0, TOKENS), seed)
        groups = [ScoredGroup(group, (), [float(i) for i in range(GROUP)])]
        _, by_page = trainer.learner.advantages(groups)
        trainer.learner.update(groups, by_page, torch.ones(1, dtype=torch.bool), 1e-5)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main() -> None:
    if len(sys.argv) > 3:
        what, folder, setting = sys.argv[1:]
        if what == "save":
            save_model(Path(folder), setting)
        else:
            print(json.dumps({"planned": planned, "trained": trained}[what](Path(folder), setting)))
        return
    print("| model, setting | planned MiB | peak MiB | planned / peak |\n|---|---|---|---|", flush=True)
    for size in sys.argv[1:] or SIZES:
        with tempfile.TemporaryDirectory() as folder:
            _run("save", folder, size)
            for setting in SETTINGS:
                plan, peak = (int(_run(what, folder, setting)) for what in ("planned", "trained"))
                print(f"| {size}, {setting} | {plan:,} | {peak:,} | {plan / peak:.2f} |", flush=True)


def _run(*arguments: str) -> str:
    return subprocess.run([sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2] / "tests"))
    main()
