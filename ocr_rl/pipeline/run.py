"""A run: evaluate the held-out pages, train, evaluate again, write the report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

from tqdm import tqdm

from ocr_rl import distributed
from ocr_rl.data.indexed import as_recorded, joined, recorded
from ocr_rl.errors import EngineError, TrainingStoppedError
from ocr_rl.evaluation.completions import readable, transcribe_pages
from ocr_rl.evaluation.results import score_pages
from ocr_rl.evaluation.summary import evaluation
from ocr_rl.evaluation.watch import Watch
from ocr_rl.pipeline.job import Job, describe, make_scorer, make_trainer
from ocr_rl.reporting.run_report import close_with_report
from ocr_rl.reporting.text_tables import evaluation_table, malformed_text
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import ResumePoint
from ocr_rl.training.checkpoint import environment_changes, load_checkpoint, removed_pages
from ocr_rl.training.loop import TrainingLoop
from ocr_rl.types import Page
from ocr_verifiers.rewards.functions import FunctionError


def run(job: Job, folder: RunFolder, say: Callable[[str], None] = print, start: ResumePoint | None = None) -> None:
    """Evaluate, train, evaluate again; all results are in the run folder. With `start`, the rest of an interrupted run.

    Each of several processes calls this, all but the first with a `ReadOnlyRunFolder` and a silent `say`.

    Raises:
        TrainingStoppedError: a loss is not finite, the engine failed, or a file cannot be read or written.
        ValueError: the interrupted run had other pages.
    """
    try:
        with closing(job.engine):
            _run(job, folder, say, start)
    except EngineError as error:
        raise TrainingStoppedError(str(error)) from None
    except FunctionError as error:
        raise TrainingStoppedError(
            f"{error}\nall complete files are kept. Mend the function, then: ocr-rl train --resume {folder.path}"
        ) from None
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise TrainingStoppedError(
            f"{what}\nall complete files are kept. Fix this, then: ocr-rl train --resume {folder.path}"
        ) from None


def _run(job: Job, folder: RunFolder, say: Callable[[str], None], start: ResumePoint | None) -> None:
    say(f"{len(job.train)} pages to train on, {len(job.held_out)} held out; {describe(job)}")
    allow_removed = start is not None and start.allow_removed_pages
    before = distributed.of_first(lambda: folder.read_eval("before"))
    if before is None:
        before = evaluate(job, job.held_out)
        folder.write_eval("before", before)
    elif not _same_held_out(before, job, allow_removed):
        raise ValueError(
            f"the {len(job.held_out)} held-out pages are not those of {folder.path}/eval/before.json, or in another "
            "order. Restore the old pages, or start another run"
        )
    _check_evaluated(job, folder, allow_removed)
    for row in before.get("unread", ()):
        say(f"{row['id']}: left out: {row['error']}")
    say(f"before: CER {_show(before['cer'])}, pass rate {_show(before['pass_rate'])}")
    if malformed := malformed_text(before):
        say(malformed)
    if start is not None:
        _say_where(start, say)
    with make_scorer(job) as scorer:
        trainer = make_trainer(job, scorer)
        watch = _watch(job, folder, before, start)

        def evaluated(step: int) -> dict[str, Any]:
            found = evaluate(job, job.chosen_on)
            point = curve_point(found)
            if watch is not None:
                point["alarms"] = watch.look(found, step)
                if watch.step == step:
                    folder.write_eval("best", {**found, "step": step})
            return point

        at_start = _at_start(job, folder, before, start)
        loop = TrainingLoop(trainer, job.policy, job.train, job.recipe, folder, evaluated, start, at_start)
        loop.run()
        best = distributed.of_first(folder.best)
        if best is not None and job.recipe.data.evaluate != "all":
            load_checkpoint(
                folder.checkpoint(best["step"]),
                job.policy,
                trainer.optimizer,
                job.train,
                best["step"],
                trainer.state,
                True,
            )
            trainer.sync_engine()
        measured = trainer.measure()
    try:
        after = evaluate(job, job.held_out)
    except FloatingPointError as error:
        raise TrainingStoppedError(
            f"step {len(folder.logged())}: {error}: its update broke the weights. Try a lower train.learning_rate"
        ) from None
    if watch is not None and not loop.alarms and (lines := watch.look(after, loop.step)):
        after["alarms"] = lines
        for line in lines:
            say(f"alarm: {line}")
    folder.write_eval("after", {**after, **measured})
    say(evaluation_table({"before": before, "after": after}))
    if malformed := malformed_text(after):
        say(malformed)
    if measured:
        say(
            "held-out pages: "
            + ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in measured.items())
        )
    if best is not None and best["step"] == 0:
        say(f"no step was better than the start by {best['metric']} ({best['value']:.3f}), {folder.checkpoint(0)}")
    elif best is not None:
        say(f"best step by {best['metric']}: {best['step']} ({best['value']:.3f}), {folder.checkpoint(best['step'])}")
    if distributed.first():
        close_with_report(folder, say, joined(job.train, job.held_out))
    say(f"run folder: {folder.path}")


def _at_start(
    job: Job, folder: RunFolder, before: Mapping[str, Any], start: ResumePoint | None
) -> dict[str, Any] | None:
    """The line of step 0, which is in eval/start.json. None if no step is chosen, or none was when the run began."""
    if not job.recipe.train.chooses:
        return None
    row = distributed.of_first(lambda: folder.read_eval("start"))
    if row is None and (start is None or start.step == 0):
        point = curve_point(before if job.chosen_on is job.held_out else evaluate(job, job.chosen_on))
        row = {"step": 0, **{f"eval/{name}": value for name, value in point.items()}}
        folder.write_eval("start", row)
    return row


def _watch(job: Job, folder: RunFolder, before: Mapping[str, Any], start: ResumePoint | None) -> Watch | None:
    """What compares evaluations with the best one so far, which eval/best.json keeps for a resumed run."""
    if not (job.recipe.train.watch and before["pages"] and job.chosen_on is job.held_out):
        return None
    best = distributed.of_first(lambda: folder.read_eval("best"))
    if start is not None and best is not None and best["step"] <= start.step:
        return Watch(best, best["step"])
    return Watch(before)


def _same_held_out(before: Mapping[str, Any], job: Job, allow_removed: bool) -> bool:
    """Whether the held-out pages are those of the evaluation before, or with `allow_removed` some of them."""
    then = [row["id"] for row in before["pages"]]
    unread = [row["id"] for row in before.get("unread", ())]
    now = [page.id for page in job.held_out]
    if allow_removed:
        return set(now) <= {*then, *unread}
    return then == [id for id in now if id not in unread] and set(unread) <= set(now)


def _check_evaluated(job: Job, folder: RunFolder, allow_removed: bool) -> None:
    """Raises ValueError if other pages are evaluated than those in eval/pages.json, written if it is missing."""
    sides = [job.held_out] if job.chosen_on is job.held_out else [job.held_out, job.chosen_on]
    record = distributed.of_first(lambda: folder.read_eval("pages"))
    if record is None:
        folder.write_eval("pages", recorded(*sides))
        return
    what = f"the {sum(map(len, sides))} pages to evaluate are not those of {folder.path}/eval/pages.json"
    removed_pages(*as_recorded(record, *sides), allow_removed, what)


def _say_where(start: ResumePoint, say: Callable[[str], None]) -> None:
    for trouble in start.passed_over:
        say(f"skipped: {trouble}")
    if start.checkpoint is None:
        say("no checkpoint was saved: starting from the beginning")
        return
    say(f"resuming after step {start.step} of {start.recipe.train.steps}")
    changes = environment_changes(start.checkpoint)
    if changes:
        say(f"the environment has changed since then ({changes}): the last bits of the results may differ")


def evaluate(job: Job, held_out: Sequence[Page]) -> dict[str, Any]:
    """Greedy transcriptions of held-out pages, scored: the contents of eval/before.json and eval/after.json.

    Each process transcribes its share of the pages and scores all of them. Pages that cannot be read are left out,
    and are under `unread`.
    """
    own = distributed.mine(held_out)
    with tqdm(total=len(own), desc="evaluating", unit="page", leave=False, disable=not distributed.first()) as bar:
        completions = transcribe_pages(
            job.engine, own, job.recipe.rollout.max_tokens, lambda done: bar.update(done - bar.n)
        )
    pages, transcribed, unread = readable(held_out, distributed.gather(completions))
    evaluated = evaluation(score_pages(pages, transcribed, job.reward_function))
    if unread:
        evaluated["unread"] = [{"id": page.id, "error": page.why} for page in unread]
    return evaluated


def curve_point(evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """An evaluation in a line of metrics.jsonl: the totals, and `pass_rate/<kind>` of each kind of test."""
    rows = ("pages", "unread")
    totals = {name: value for name, value in evaluated.items() if not isinstance(value, dict) and name not in rows}
    return totals | {f"pass_rate/{kind}": row["pass_rate"] for kind, row in evaluated["by_kind"].items()}


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
