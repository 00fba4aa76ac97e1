"""Runs of `ocr-rl train` in child processes, which a test can kill before they touch a file of their run folder."""

import json
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from ocr_rl.cli.main import main

STEPS = 6


SETTINGS = {
    "data.validation": 0.25,
    "rollout.group_size": 4,
    "rollout.max_tokens": 6,
    "rollout.pages_per_step": 2,
    "grpo.min_group_std": 1e-3,
    "train.steps": STEPS,
    "train.learning_rate": 1e-3,
    "train.eval_every": 3,
    "train.checkpoint_every": 2,
    "train.tensorboard": False,
}


@dataclass(frozen=True)
class Finished:
    status: int
    """Of the process: 0, an exit code, or -9."""
    output: str
    touches: int
    """How often it opened, renamed or deleted something in its run folder."""


def ocr_rl(*arguments, run, kill=None, with_signal=signal.SIGKILL, file_limit=None):
    """Runs the command line in a child process, and kills it before a touch of `run` for which `kill` is true.

    kill: takes the number of the touch, from 1, and the path within `run`.
    """
    note = Path(run).parent / "finished.json"
    note.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        touches = 0

        def touch(event, args):
            nonlocal touches
            if event in ("open", "os.rename", "os.remove", "os.rmdir", "os.truncate", "os.mkdir") and args:
                path = str(args[0])
                if path.startswith(f"{run}/"):
                    touches += 1
                    if kill is not None and kill(touches, path.removeprefix(f"{run}/")):
                        os.kill(os.getpid(), with_signal)

        sys.addaudithook(touch)
        if file_limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, resource.RLIM_INFINITY))
        code = 99
        try:
            result = CliRunner().invoke(main, [str(argument) for argument in arguments])
            failed = result.exception is not None and not isinstance(result.exception, SystemExit)
            code = 98 if failed else result.exit_code
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            note.write_text(json.dumps([result.output + repr(result.exception) * failed, touches]))
        finally:
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    output, touches = json.loads(note.read_text()) if note.exists() else ("", 0)
    return Finished(status, output, touches)


def train(run, *more, **options):
    """A new run."""
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    files = ["--data", run.parent / "pages", "--model", run.parent / "policy", "--out", run]
    return ocr_rl("train", *files, *settings, *more, run=run, **options)


def resume(run, *more, **options):
    return ocr_rl("train", "--resume", run, *more, run=run, **options)


def killed(finished):
    assert finished.status == -signal.SIGKILL, finished.output
    return finished


def done(finished):
    assert finished.status == 0, finished.output
    return finished


def before_touching(part, time=1):
    """When to kill: before the nth touch of a path that contains `part`."""
    seen = 0

    def kill(_touch, path):
        nonlocal seen
        seen += part in path
        return part in path and seen == time

    return kill


def metrics_of(run):
    """The lines of metrics.jsonl, without what depends on the clock."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    clock = ("time_s", "time/", "tokens_per_s", "peak_memory")
    return [{key: value for key, value in json.loads(line).items() if not key.startswith(clock)} for line in lines]


def contents(run):
    """All files of a run, byte for byte, but without the clock in the metrics and without the report, which has times.

    The times in the metrics must increase.
    """
    times = [json.loads(line)["time_s"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert times == sorted(times)
    files = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
    files.pop("report.html", None)
    return files | {"metrics.jsonl": metrics_of(run)}


def untracked(run):
    """`contents` without TensorBoard's events, which contain times."""
    return {name: content for name, content in contents(run).items() if not name.startswith("tensorboard/")}
