"""Saving and loading checkpoints. The folder trainer/ in a checkpoint holds what training needs to continue exactly:

optimizer.safetensors   the optimiser's float32 state, by weight name; with train.shard the folder optimizer/ instead
modules.safetensors     trained weights besides the policy's, e.g. a critic's, and a reference that is renewed
recipe.toml             the recipe of the run
state.json              the step, digests of the pages, the environment, numbers that the algorithm adapts
files.json              the files of the checkpoint and their sizes (runs/folder.py)

No random generator is saved, because each is seeded by train.seed and the step or epoch that uses it; the step is also
the position in the schedule and in the data. These files are in a folder because vLLM loads every *.safetensors beside
config.json as weights.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ocr_rl import __version__, distributed
from ocr_rl.config.loader import to_toml
from ocr_rl.config.schema import Recipe
from ocr_rl.data.indexed import as_recorded, recorded
from ocr_rl.models.checkpoints.safetensors_io import disk_errors
from ocr_rl.models.divided_tensors import own_part, same_part, whole
from ocr_rl.models.policy import Policy
from ocr_rl.runs.resume import RECIPE
from ocr_rl.training.base import NO_STATE, TrainerState
from ocr_rl.training.optimizer_state import read_optimizer, write_optimizer
from ocr_rl.types import Page

MODULES = Path("trainer", "modules.safetensors")
STATE = Path("trainer", "state.json")


def save_checkpoint(
    folder: Path,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    pages: Sequence[Page],
    step: int,
    trainer_state: TrainerState = NO_STATE,
) -> None:
    """Write a Hugging Face folder with trainer/ in it.

    If weights are divided, all processes call this together, and each writes its part of the optimiser's state.
    """
    names = _names(policy, trainer_state)
    weights = policy.gathered_weights()
    modules = {name: whole(tensor.detach()) for name, tensor in trainer_state.saved().items()}
    if distributed.first():
        policy.save(folder, weights)
        (folder / "trainer").mkdir()
        (folder / RECIPE).write_text(to_toml(recipe), encoding="utf-8")
        if modules:
            _write_modules(folder, modules)
        _write_state(folder, recipe, pages, step, trainer_state.numbers)
    if policy.shards is not None:
        distributed.wait()
    write_optimizer(folder, optimizer, names)
    if distributed.first():
        for file in (folder / "trainer").rglob("*.safetensors"):  # safetensors makes them readable by the owner only
            file.chmod((folder / RECIPE).stat().st_mode)


def _write_state(folder: Path, recipe: Recipe, pages: Sequence[Page], step: int, numbers: Mapping[str, float]) -> None:
    state_json = {
        "step": step,
        **recorded(pages),
        "environment": environment(),
        "numbers": numbers,
    }
    (folder / STATE).write_text(json.dumps(state_json, indent=1) + "\n", encoding="utf-8")


def load_checkpoint(
    folder: Path,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    pages: Sequence[Page],
    step: int,
    trainer_state: TrainerState = NO_STATE,
    allow_removed: bool = False,
) -> int:
    """Restore weights, optimiser and trainer state in place.

    Returns:
        How many pages have been removed since; with `allow_removed` that is no error.

    Raises:
        ValueError: the checkpoint was trained on other pages or another model.
    """
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    assert state["step"] == step
    if state.keys().isdisjoint({"page_digests", "page_hashes"}):
        raise ValueError(f"{folder}: was written by an older version; start another run from it with --model {folder}")
    what = f"the {len(pages)} pages to train on are not those that {folder} was trained on"
    removed = removed_pages(*as_recorded(state, pages), allow_removed, what)
    read_optimizer(folder, optimizer, _names(policy, trainer_state))
    policy.load_weights(folder)
    if current := trainer_state.saved():
        saved = load_file(folder / MODULES)
        assert saved.keys() == current.keys(), f"{folder / MODULES} has other weights than the recipe's algorithm"
        with torch.no_grad():
            for name, tensor in current.items():
                own_part(tensor).copy_(same_part(saved[name], tensor))
    trainer_state.numbers.update(state.get("numbers", {}))
    return removed


def removed_pages(before: Sequence[str], now: Sequence[str], allow_removed: bool, message: str) -> int:
    """How many pages have been removed since. Raises ValueError if that is not allowed, or not all that has changed.

    Args:
        before, now: a digest of each page.
        message: the error's beginning.
    """
    if before == now:
        return 0
    left = set(now)
    what, advice = "ids, prompts, texts or tests have changed", "Restore the old pages, or start another run"
    if sorted(before) == sorted(now):
        what = "they are the same in another order"
    elif [digest for digest in before if digest in left] == now:
        if allow_removed:
            return len(before) - len(now)
        what = f"{len(before) - len(now)} of {len(before)} have been removed"
        advice = "--allow-removed-pages continues without them; or restore them, or start another run"
    raise ValueError(f"{message}: {what}. {advice}")


def _write_modules(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    with disk_errors(folder / MODULES):
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / MODULES)


def _names(policy: Policy, trainer_state: TrainerState) -> dict[nn.Parameter, str]:
    """The name of each weight of the policy, and of each that trains besides them."""
    if policy.shards is not None:
        policy.shards.drop()
    named = dict(policy.model.named_parameters()) | trainer_state.trained()
    return {parameter: name for name, parameter in named.items()}


def environment() -> dict[str, Any]:
    """What the last bits of a result depend on besides the recipe."""
    import transformers

    return {
        "ocr-rl": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "processes": distributed.count(),
    }


def environment_changes(folder: Path) -> str:
    """What has changed since the checkpoint was saved, e.g. "torch 2.12.0 -> 2.13.0, threads 2 -> 4"."""
    then = json.loads((folder / STATE).read_text(encoding="utf-8"))["environment"]
    return ", ".join(
        f"{name} {then.get(name)} -> {now}" for name, now in environment().items() if then.get(name) != now
    )
