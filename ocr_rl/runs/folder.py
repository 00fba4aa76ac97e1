"""The run folder, whose files other tools read.

resolved.toml                   the recipe with every default
metrics.jsonl                   one object per step
rollouts/step_NNNNNN.jsonl      every completion with its reward parts, verdicts and advantage; .jsonl.zst if large
checkpoints/step_NNNNNN/        Hugging Face folders, complete or absent; trainer/ in them is what --resume needs
checkpoints/best.json           which of them evaluated best, with train.keep_best
eval/before.json, after.json    held-out pages before and after training
eval/start.json                 what a step has to be better than, where one is chosen
eval/pages.json                 a digest of each page that is evaluated
eval/best.json                  the best evaluation in between, which later ones are compared with
reward_functions.json           SHA-256 of the code of reward.functions, and the steps it was used after
report.html                     all of this to look at, written at the end
pages/                          the rendered collection, unless the recipe names a dataset
tensorboard/                    event files, if tensorboard is installed

A process may be killed at any moment: every file but metrics.jsonl is complete or absent, and a last line that was cut
off does not count. What is written is on disk before anything that depends on it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocr_rl.runs.atomic import addressed, atomic_folder, delete_folder, write_atomically
from ocr_rl.runs.compression import compressible, read_compressible, write_compressible

MANIFEST = Path("trainer", "files.json")
"""In a checkpoint: its files and their sizes in bytes."""


@dataclass(frozen=True)
class LoggedStep:
    """A complete line of metrics.jsonl."""

    metrics: Mapping[str, Any]
    end: int
    """Size of the file in bytes up to the end of this line."""


class RunFolder:
    """One run on disk: its recipe, metrics, rollouts, evaluations and checkpoints."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"

    @classmethod
    def create(cls, path: Path, resolved: str, *, overwrite: bool = False) -> RunFolder:
        """Start a run. A folder that holds a run is replaced only with `overwrite`.

        The replaced run is kept next to it until `commit` deletes it or `rollback` restores it.

        Raises:
            ValueError: `path` holds a run or other files.
        """
        if (path / "resolved.toml").exists() and overwrite:
            replaced = _replaced(path)
            with cls(path).locked():
                shutil.rmtree(replaced, ignore_errors=True)
                os.replace(path, replaced)
        elif path.is_dir() and any(path.iterdir()):
            what = "a run" if (path / "resolved.toml").exists() else "files"
            raise ValueError(f"{path} holds {what} already; give another --out, or --overwrite to replace a run")
        for folder in ("rollouts", "checkpoints", "eval"):
            (path / folder).mkdir(parents=True, exist_ok=True)
        write_atomically(path / "resolved.toml", resolved)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """A run that was started before. Raises ValueError if `path` holds none."""
        if not (path / "resolved.toml").is_file():
            raise ValueError(f"{path} holds no run: it has no resolved.toml; give a folder that `ocr-rl train` wrote")
        return cls(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Only one process at a time trains in a run folder. The lock of a process that is killed is released.

        Raises:
            ValueError: another process holds it.
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{self.path} is being trained by another process; wait for it or stop it") from None
            yield
        finally:
            os.close(handle)

    def commit(self) -> None:
        """The run starts: delete what it replaces."""
        shutil.rmtree(_replaced(self.path), ignore_errors=True)

    def rollback(self) -> None:
        """The run did not start: restore what it would have replaced."""
        shutil.rmtree(self.path)
        if _replaced(self.path).exists():
            os.replace(_replaced(self.path), self.path)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Append one step to metrics.jsonl. It is on disk when this returns."""
        with addressed(self.metrics), open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def logged(self) -> list[LoggedStep]:
        """Steps 1, 2, ... of metrics.jsonl, up to the first line that is cut off, damaged or out of order."""
        steps: list[LoggedStep] = []
        end = 0
        for line in self.metrics.read_bytes().splitlines(keepends=True) if self.metrics.exists() else []:
            try:
                row = json.loads(line)
            except ValueError:
                break
            end += len(line)
            if not (line.endswith(b"\n") and isinstance(row, dict) and row.get("step") == len(steps) + 1):
                break
            steps.append(LoggedStep(row, end))
        return steps

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_compressible(self.path / "rollouts" / f"step_{step:06d}.jsonl", text)

    def read_rollouts(self, step: int) -> list[dict[str, Any]]:
        """The rows of a step; none if it wrote none."""
        file = compressible(self.path / "rollouts" / f"step_{step:06d}.jsonl")
        if not file.exists():
            return []
        lines = read_compressible(file).split("\n")
        return [_parsed(line, f"{file}:{number}") for number, line in enumerate(lines, 1) if line]

    def write_eval(self, name: str, evaluation: Mapping[str, Any]) -> None:
        text = json.dumps(evaluation, indent=1, ensure_ascii=False)
        write_atomically(self.path / "eval" / f"{name}.json", text + "\n")

    def checkpoint(self, step: int) -> Path:
        """The path of a step's checkpoint, if it has one."""
        return self.path / "checkpoints" / f"step_{step:06d}"

    def read_eval(self, name: str) -> dict[str, Any] | None:
        file = self.path / "eval" / f"{name}.json"
        return _parsed(file.read_text(encoding="utf-8"), str(file)) if file.exists() else None

    def write_checkpoint(self, step: int, save: Callable[[Path], None], keep: int, spare: int | None = None) -> Path:
        """Write a checkpoint with `save`, complete or not at all, then `prune`."""
        folder = self.checkpoint(step)
        if folder.exists():  # damaged, or training would have continued from it
            delete_folder(folder)
        with atomic_folder(folder) as partial:
            save(partial)
            sizes = {file.relative_to(partial).as_posix(): file.stat().st_size for file in _files(partial)}
            (partial / MANIFEST).parent.mkdir(exist_ok=True)
            (partial / MANIFEST).write_text(json.dumps(sizes, indent=1, sort_keys=True) + "\n")
        self.prune(step, keep, spare)
        return folder

    def prune(self, step: int, keep: int, spare: int | None = None) -> None:
        """Delete the checkpoints up to a step, except the newest `keep` of them and that of the step `spare`."""
        for old in [path for path in self.checkpoints() if step_of(path) <= step][:-keep]:
            if step_of(old) != spare:
                delete_folder(old)

    def write_best(self, best: Mapping[str, Any] | None) -> None:
        """Name the best checkpoint, which must be complete: {step, metric, value}; None if there is none."""
        file = self.path / "checkpoints" / "best.json"
        if best is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, json.dumps(best) + "\n")

    def best(self) -> dict[str, Any] | None:
        """{step, metric, value} of the best checkpoint, if train.keep_best keeps one."""
        file = self.path / "checkpoints" / "best.json"
        return _parsed(file.read_text(encoding="utf-8"), str(file)) if file.exists() else None

    def checkpoints(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        folders = (self.path / "checkpoints").glob("step_*")
        return sorted((p for p in folders if re.fullmatch(r"step_\d+", p.name)), key=step_of)

    def damage(self, checkpoint: Path) -> str | None:
        """What is wrong with a checkpoint since it was written; None if nothing."""
        manifest = checkpoint / MANIFEST
        try:
            sizes: dict[str, int] = json.loads(manifest.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return f"{manifest} is missing"
        except ValueError:
            return f"{manifest} is damaged"
        for name, size in sizes.items():
            file = checkpoint / name
            if not file.is_file():
                return f"{file} is missing"
            if file.stat().st_size != size:
                return f"{file} has {file.stat().st_size} bytes, but {size} were written"
        return None

    def evaluated(self) -> bool:
        """Whether training ended, at its last step or on request, and the result was evaluated."""
        return (self.path / "eval" / "after.json").exists()

    def rewind(self, step: int, resolved: str) -> None:
        """Back to when `step` had been done and saved: everything after it is deleted, to be done again.

        The last evaluation of a run that was stopped, or is now made longer, becomes eval/after_step_NNNNNN.json.
        """
        logged = self.logged()
        after = self.path / "eval" / "after.json"
        if after.exists():
            os.replace(after, after.with_name(f"after_step_{len(logged):06d}.json"))
        if (self.path / "resolved.toml").read_text(encoding="utf-8") != resolved:
            write_atomically(self.path / "resolved.toml", resolved)
        if self.metrics.exists():
            os.truncate(self.metrics, logged[step - 1].end if step else 0)
        for file in (self.path / "rollouts").glob("step_*.jsonl*"):
            if step_of(file) > step:
                file.unlink()
        for folder in (self.path / "checkpoints").iterdir():
            if folder.suffix in (".partial", ".deleted"):
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()


class ReadOnlyRunFolder(RunFolder):
    """A run that another process writes: reading works, writing does nothing."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def commit(self) -> None:
        pass

    def rollback(self) -> None:
        pass

    def log(self, metrics: Mapping[str, Any]) -> None:
        pass

    def write_rollouts(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        pass

    def write_eval(self, name: str, evaluation: Mapping[str, Any]) -> None:
        pass

    def write_checkpoint(self, step: int, save: Callable[[Path], None], keep: int, spare: int | None = None) -> Path:
        return self.checkpoint(step)

    def prune(self, step: int, keep: int, spare: int | None = None) -> None:
        pass

    def write_best(self, best: Mapping[str, Any] | None) -> None:
        pass


def step_of(path: Path) -> int:
    """7 of step_000007, step_000007.jsonl or step_000007.jsonl.zst."""
    return int(path.name.split(".")[0].removeprefix("step_"))


def _parsed(text: str, where: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (ValueError, TypeError):
        raise ValueError(f"{where}: is damaged; it should hold a JSON object") from None


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _replaced(path: Path) -> Path:
    return path.parent / (path.name + ".replaced")
