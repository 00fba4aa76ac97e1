"""Trials are trained, each in its own process; a trial that was interrupted is resumed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from ocr_rl.comparison.children import Children
from ocr_rl.comparison.plan import Trial
from ocr_rl.config.chains import Chain, System, load_system, system_to_toml
from ocr_rl.runs.atomic import write_atomically
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import find_resume_point
from ocr_rl.threads import share_threads


class TrialLostError(Exception):
    """A run was killed, or failed on a bug. The same command continues it."""


def is_done(trial: Trial) -> bool:
    """Whether a trial is trained and evaluated, or its training could not continue.

    Raises:
        ValueError: its folder holds a run by another recipe.
    """
    started = trial.path / ("chain.toml" if isinstance(trial.recipe, Chain) else "resolved.toml")
    for file in (trial.recipe_file, started):
        if file.exists() and (found := load_system(str(file))) != trial.recipe:
            raise ValueError(
                f"{file}: {_difference(found, trial.recipe)}. Give another --out, or delete "
                f"{trial.recipe_file} and {trial.path} to run it again"
            )
    if trial.stopped.exists():
        return True
    return all(
        (run / "resolved.toml").exists() and find_resume_point(RunFolder.open(run)) is None for run in trial.stages
    )


def _difference(before: System, after: System) -> str:
    """The first one: "budget.completions was 4096 and is now 8192"."""
    values, now = _values(before), _values(after)
    for key in values | now:
        if values.get(key) != now.get(key):
            return f"{key} was {values.get(key)!r} and is now {now.get(key)!r}"
    raise AssertionError("they are equal")


def _values(system: System) -> dict[str, object]:
    """By key: `train.steps`, or `stages.1.train.steps` of a chain."""
    if isinstance(system, Chain):
        parts = {f"stages.{i}.": stage.recipe for i, stage in enumerate(system.stages, 1)}
        own: dict[str, object] = {f"budget.{key}": value for key, value in vars(system.budget).items()}
        return own | {prefix + key: value for prefix, one in parts.items() for key, value in _values(one).items()}
    return {
        f"{name}.{key}" if key else name: value
        for name, section in vars(system).items()
        for key, value in (vars(section) if hasattr(section, "__dict__") else {"": section}).items()
    }


def run_trials(
    trials: Sequence[Trial], jobs: int, begun: Callable[[Trial], None], ended: Callable[[Trial], None]
) -> None:
    """Train the trials that are not done, `jobs` at a time, in order. An error ends those that run beside it.

    Raises:
        ValueError: a trial could not begin, with its message.
        TrialLostError: a trial was killed, or failed on a bug.
    """
    left = [trial for trial in trials if not is_done(trial)]
    pool, children = ThreadPoolExecutor(jobs, thread_name_prefix="trial"), Children()
    try:
        trained = {pool.submit(_train, trial, share_threads(jobs), begun, children): trial for trial in left}
        for future in as_completed(trained):
            future.result()
            ended(trained[future])
    except (ValueError, TrialLostError) as error:
        if beside := children.stop():
            tqdm.write(f"{error}\nstopping the runs beside it ({beside}), which the same command continues")
        raise
    finally:
        children.stop()
        pool.shutdown(cancel_futures=True)


def _train(trial: Trial, threads: Mapping[str, str], begun: Callable[[Trial], None], children: Children) -> None:
    begun(trial)
    trial.path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(trial.recipe_file, system_to_toml(trial.recipe))
    begun_before = (trial.stages[0] / "resolved.toml").exists()
    arguments = ["--resume", str(trial.path)] if begun_before else [str(trial.recipe_file), "--out", str(trial.path)]
    before = trial.log.stat().st_size if trial.log.exists() else 0
    code = children.run(["train", *arguments], trial.log, threads)
    message = error_in(trial.log.read_bytes()[before:].decode("utf-8", "replace"))
    if code == 1 and message.startswith("step "):
        write_atomically(trial.stopped, message.splitlines()[0] + "\n")
    elif code == 2 and message:
        raise ValueError(f"{trial.label}, {trial.name}: {message}")
    elif code or not is_done(trial):
        ending = f"was killed by signal {-code}" if code < 0 else f"ended early (exit code {code})"
        raise TrialLostError(f"{trial.label}, {trial.name} {ending}: see {trial.log}. The same command continues it")


def error_in(output: str) -> str:
    """The last message of a command that failed, or "". Progress bars end in a carriage return."""
    lines = output.replace("\r", "\n").splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("Error: ")]
    return "\n".join(lines[starts[-1] :]).removeprefix("Error: ").strip() if starts else ""
