"""The optimiser's state in a checkpoint: one file, or with divided weights one file of each process.

Either is read by any number of processes, divided or not. torch.distributed.checkpoint divides anew what others wrote;
its usual format has a pickle in it, so its safetensors one is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ocr_rl import distributed
from ocr_rl.models.checkpoints.safetensors_io import disk_errors
from ocr_rl.models.divided_tensors import is_divided, own_part, same_part

FILE = Path("trainer", "optimizer.safetensors")
FOLDER = Path("trainer", "optimizer")
MOMENTS = ("exp_avg", "exp_avg_sq", "state1", "state2")
"""Of AdamW, and in 8 bits: as large as the weight."""


def write_optimizer(folder: Path, optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> None:
    """Write the state under `key/name`. With divided weights all processes call this together.

    Raises:
        OSError: it cannot be written.
    """
    state = {
        f"{key}/{name}": torch.as_tensor(value)  # bitsandbytes counts steps in an int
        for parameter, name in names.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    if state and any(map(is_divided, names)):
        _write_parts(folder / FOLDER, state)
        return
    if not distributed.first():  # before the first step there is nothing to divide
        return
    # bitsandbytes has one table of 8-bit values for all weights, which safetensors would refuse to write several times
    state = {key: value.clone() if key.startswith("qmap") else value for key, value in state.items()}
    with disk_errors(folder / FILE):
        save_file({name: value.contiguous() for name, value in state.items()}, folder / FILE)


def read_optimizer(folder: Path, optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> None:
    """Restore the state in place.

    Raises:
        ValueError: the optimiser has no weight of such a name or shape.
    """
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    index = {names[parameter]: i for i, parameter in enumerate(trained)}
    parts = (folder / FOLDER).is_dir()
    shapes = _shapes_of_parts(folder / FOLDER) if parts else {n: t.shape for n, t in load_file(folder / FILE).items()}
    for entry, shape in shapes.items():
        key, _, name = entry.partition("/")
        if name not in index or (key in MOMENTS and shape != trained[index[name]].shape):
            where = folder / (FOLDER if parts else FILE)
            raise ValueError(f"{where}: model.path has no trained weight {name} {list(shape)}")
    like = {entry: trained[index[entry.partition("/")[2]]] for entry in shapes}
    found = _read_parts(folder / FOLDER, shapes, like) if parts else _read_file(folder / FILE, like)
    loaded: dict[int, dict[str, Any]] = {}
    for entry, value in found.items():
        key, _, name = entry.partition("/")
        is_count = key == "step"
        if is_count and not isinstance(optimizer, torch.optim.AdamW):
            loaded.setdefault(index[name], {})[key] = int(value)
        else:
            loaded.setdefault(index[name], {})[key] = value.reshape(()) if is_count else value
    optimizer.load_state_dict({"state": loaded, "param_groups": optimizer.state_dict()["param_groups"]})


def _read_file(file: Path, like: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    found = {}
    for entry, value in load_file(file).items():
        if is_divided(like[entry]) and entry.partition("/")[0] in MOMENTS:
            found[entry] = torch.zeros_like(like[entry])
            own_part(found[entry]).copy_(same_part(value, like[entry]))
        else:
            found[entry] = value.clone()  # otherwise it is mapped to a file that will be deleted
    return found


def _write_parts(folder: Path, state: Mapping[str, Tensor]) -> None:
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    counts = {key: value.reshape(1) if value.ndim == 0 else value for key, value in state.items()}
    try:
        save(counts, storage_writer=writer, planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True))
    except CheckpointException as error:
        first, _ = next(iter(error.failures.values()))
        raise (first if isinstance(first, OSError) else RuntimeError(str(first))) from None


def _shapes_of_parts(folder: Path) -> dict[str, Sequence[int]]:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    found = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {entry: value.size for entry, value in found.items()}  # type: ignore[union-attr]


def _read_parts(
    folder: Path, shapes: Mapping[str, Sequence[int]], like: Mapping[str, nn.Parameter]
) -> dict[str, Tensor]:
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    found = {
        entry: torch.zeros_like(like[entry]) if entry.partition("/")[0] in MOMENTS else torch.zeros(shape)
        for entry, shape in shapes.items()
    }
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # each process reads what it needs
        load(found, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
    return found
