"""Saving and loading checkpoints. The folder trainer/ in a checkpoint holds what training needs to continue exactly:

optimizer.safetensors   the optimiser's float32 state, by weight name
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

from ocr_rl import __version__, distributed
from ocr_rl.config.loader import to_toml
from ocr_rl.config.schema import Recipe
from ocr_rl.data.indexed import facts
from ocr_rl.models.checkpoints.safetensors_io import disk_errors
from ocr_rl.models.policy import Policy
from ocr_rl.runs.resume import RECIPE
from ocr_rl.training.base import NO_STATE, TrainerState
from ocr_rl.types import Page

OPTIMIZER = Path("trainer", "optimizer.safetensors")
MOMENTS = ("exp_avg", "exp_avg_sq", "state1", "state2")
"""Of AdamW, and in 8 bits: as large as the weight."""
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
    """Write a Hugging Face folder with trainer/ in it."""
    policy.save(folder)
    (folder / "trainer").mkdir()
    (folder / RECIPE).write_text(to_toml(recipe), encoding="utf-8")
    modules = trainer_state.trained()
    state = {
        f"{key}/{name}": torch.as_tensor(value)  # bitsandbytes counts steps in an int
        for name, parameter in (dict(policy.model.named_parameters()) | modules).items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    # bitsandbytes has one table of 8-bit values for all weights, which safetensors would refuse to write several times
    state = {key: value.clone() if key.startswith("qmap") else value for key, value in state.items()}
    _write_tensors(folder, OPTIMIZER, state)
    if saved := trainer_state.saved():
        _write_tensors(folder, MODULES, {name: tensor.detach() for name, tensor in saved.items()})
    state_json = {
        "step": step,
        "page_hashes": facts(pages, "digest"),
        "environment": environment(),
        "numbers": trainer_state.numbers,
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
    removed = _removed(folder, state["page_hashes"], facts(pages, "digest"), allow_removed)
    modules = trainer_state.trained()
    names = {parameter: name for name, parameter in (dict(policy.model.named_parameters()) | modules).items()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    index = {names[parameter]: i for i, parameter in enumerate(trained)}
    loaded: dict[int, dict[str, Any]] = {}
    for entry, value in load_file(folder / OPTIMIZER).items():
        key, _, name = entry.partition("/")
        if name not in index or (key in MOMENTS and value.shape != trained[index[name]].shape):
            raise ValueError(f"{folder / OPTIMIZER}: model.path has no trained weight {name} {list(value.shape)}")
        loaded.setdefault(index[name], {})[key] = value.clone()  # otherwise it is mapped to a file that will be deleted
    if not isinstance(optimizer, torch.optim.AdamW):
        for values in loaded.values():
            values["step"] = int(values["step"])
    optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})
    policy.load_weights(folder)
    if current := trainer_state.saved():
        saved = load_file(folder / MODULES)
        assert saved.keys() == current.keys(), f"{folder / MODULES} has other weights than the recipe's algorithm"
        with torch.no_grad():
            for name, tensor in current.items():
                tensor.copy_(saved[name])
    trainer_state.numbers.update(state.get("numbers", {}))
    return removed


def _removed(folder: Path, before: Sequence[str], now: Sequence[str], allow_removed: bool) -> int:
    """How many pages have been removed since. Raises ValueError if that is not allowed, or not all that has changed.

    Args:
        before, now: a digest of each page to train on.
    """
    if before == now:
        return 0
    left = set(now)
    what, advice = "ids, texts or tests have changed", "Restore the old pages, or start another run"
    if sorted(before) == sorted(now):
        what = "they are the same in another order"
    elif [digest for digest in before if digest in left] == now:
        if allow_removed:
            return len(before) - len(now)
        what = f"{len(before) - len(now)} of {len(before)} have been removed"
        advice = "--allow-removed-pages continues without them; or restore them, or start another run"
    raise ValueError(f"the {len(now)} pages to train on are not those that {folder} was trained on: {what}. {advice}")


def _write_tensors(folder: Path, file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    with disk_errors(folder / file):
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / file)
    (folder / file).chmod((folder / RECIPE).stat().st_mode)  # safetensors makes files readable by their owner only


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
