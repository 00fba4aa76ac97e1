"""The run folder: a contract that other tools read.

resolved.toml                   the recipe, every default spelled out
metrics.jsonl                   one object per step
rollouts/step_NNNNNN.jsonl      every completion with its reward parts, verdicts and advantage
checkpoints/step_NNNNNN/        Hugging Face folders, complete or absent
eval/before.json, after.json    held-out pages before and after training
pages/                          the rendered collection, unless the recipe names a dataset
tensorboard/                    event files, if tensorboard is installed
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, resolved: str, *, overwrite: bool = False) -> RunFolder:
        """Start a run. A folder that holds a run is only replaced when told so.

        What it replaces lies beside it until `settle` deletes it or `abandon` brings it back.

        Raises:
            ValueError: there is a run, or something else, at `path`.
        """
        if (path / "resolved.toml").exists() and overwrite:
            replaced = _replaced(path)
            shutil.rmtree(replaced, ignore_errors=True)
            os.replace(path, replaced)
        elif path.is_dir() and any(path.iterdir()):
            what = "a run" if (path / "resolved.toml").exists() else "files"
            raise ValueError(f"{path} holds {what} already; give another --out, or --overwrite to replace a run")
        for folder in ("rollouts", "checkpoints", "eval"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_atomically(path / "resolved.toml", resolved)
        return cls(path)

    def settle(self) -> None:
        """The run begins: what it replaces goes."""
        shutil.rmtree(_replaced(self.path), ignore_errors=True)

    def abandon(self) -> None:
        """The run never began: what it would have replaced comes back."""
        shutil.rmtree(self.path)
        if _replaced(self.path).exists():
            os.replace(_replaced(self.path), self.path)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one step to metrics.jsonl, on disk when this returns."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_atomically(self.path / "rollouts" / f"step_{step:06d}.jsonl", text)

    def write_eval(self, name: str, evaluation: Mapping[str, Any]) -> None:
        text = json.dumps(evaluation, indent=1, ensure_ascii=False)
        write_atomically(self.path / "eval" / f"{name}.json", text + "\n")

    def write_checkpoint(self, step: int, save: Callable[[Path], None], keep: int) -> Path:
        """Write with `save` beside its place, move it there whole, then delete all but the newest `keep`."""
        folder = self.path / "checkpoints" / f"step_{step:06d}"
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save(partial)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old)
        return folder

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in (self.path / "checkpoints").glob("step_*") if p.suffix != ".partial")


def _replaced(path: Path) -> Path:
    return path.parent / (path.name + ".replaced")


def write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
