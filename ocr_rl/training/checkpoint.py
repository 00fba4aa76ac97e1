"""What a checkpoint holds beside the weights, in its folder trainer/, so that training can go on exactly.

optimizer.safetensors   the optimiser's float32 state, by the names of the weights
modules.safetensors     what there is beside the policy: the trained weights of a critic, a reference that moves
recipe.toml             what the run was told
state.json              the step, a fingerprint of the pages, the environment, numbers that the algorithm adapts
files.json              the files of the checkpoint and their sizes (run_folder.py)

No random generator is saved, because each is seeded by train.seed and the step or epoch that uses it; the step is the
position in the schedule and in the data too. The folder is one of its own because vLLM takes every *.safetensors
beside config.json for weights.
"""

from __future__ import annotations

import hashlib
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
from ocr_rl.models.policy import Policy
from ocr_rl.models.safetensors_io import disk_errors
from ocr_rl.runs.resume import RECIPE
from ocr_rl.training.base import NO_STATE, TrainerState
from ocr_rl.types import Page

OPTIMIZER = Path("trainer", "optimizer.safetensors")
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
    """A Hugging Face folder, and trainer/ in it."""
    policy.save(folder)
    (folder / "trainer").mkdir()
    (folder / RECIPE).write_text(to_toml(recipe), encoding="utf-8")
    modules = trainer_state.trained()
    state = {
        f"{key}/{name}": value
        for name, parameter in (dict(policy.model.named_parameters()) | modules).items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    _write_tensors(folder, OPTIMIZER, state)
    if saved := trainer_state.saved():
        _write_tensors(folder, MODULES, {name: tensor.detach() for name, tensor in saved.items()})
    state_json = {
        "step": step,
        "pages": fingerprint(pages),
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
) -> None:
    """Weights, optimiser and extras as they were when the checkpoint was saved, in place.

    Raises:
        ValueError: the pages or the model are not those that it was trained on.
    """
    state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    assert state["step"] == step
    if state["pages"] != fingerprint(pages):
        raise ValueError(
            f"the {len(pages)} pages to train on are not those that {folder} was trained on: ids, texts or tests have "
            "changed. Bring the old ones back, or start another run"
        )
    modules = trainer_state.trained()
    names = {parameter: name for name, parameter in (dict(policy.model.named_parameters()) | modules).items()}
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    index = {names[parameter]: i for i, parameter in enumerate(trained)}
    loaded: dict[int, dict[str, torch.Tensor]] = {}
    for entry, value in load_file(folder / OPTIMIZER).items():
        key, _, name = entry.partition("/")
        if name not in index or (value.ndim and value.shape != trained[index[name]].shape):
            raise ValueError(f"{folder / OPTIMIZER}: model.path has no trained weight {name} {list(value.shape)}")
        loaded.setdefault(index[name], {})[key] = value.clone()  # not mapped to a file that will be deleted
    optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})
    policy.load_weights(folder)
    if wanted := trainer_state.saved():
        saved = load_file(folder / MODULES)
        assert saved.keys() == wanted.keys(), f"{folder / MODULES} has other weights than the recipe's algorithm"
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(saved[name])
    trainer_state.numbers.update(state.get("numbers", {}))


def _write_tensors(folder: Path, file: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    with disk_errors(folder / file):
        save_file({name: value.contiguous() for name, value in tensors.items()}, folder / file)
    (folder / file).chmod((folder / RECIPE).stat().st_mode)  # safetensors lets nobody but the owner read them


def fingerprint(pages: Sequence[Page]) -> str:
    """Of all that a dataset says of its pages, in their order; images are not read."""
    digest = hashlib.sha256()
    for page in pages:
        row = [page.id, page.prompt, page.text, [dict(test) for test in page.tests]]
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """What the last bits of a result depend on beside the recipe."""
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
    """ "torch 2.12.0 -> 2.13.0, threads 2 -> 4", since a checkpoint was saved."""
    then = json.loads((folder / STATE).read_text(encoding="utf-8"))["environment"]
    return ", ".join(
        f"{name} {then.get(name)} -> {now}" for name, now in environment().items() if then.get(name) != now
    )
