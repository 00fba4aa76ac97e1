"""A recipe becomes a run: pages, policy, engine and rubric are put together, evaluated, trained, evaluated again."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers.utils.logging import disable_progress_bar

from ocr_rl import distributed
from ocr_rl.algorithms import grpo, ppo, reward_model, sft
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.sources import of_pages
from ocr_rl.algorithms.preference.trainer import Preference
from ocr_rl.config.loader import to_toml
from ocr_rl.config.schema import DataConfig, ModelConfig, Recipe, RenderConfig
from ocr_rl.data.loading import load_pages
from ocr_rl.data.splits import SPLIT_SEED, split_pages, tuning_and_test
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.errors import EngineFailed, TrainingStopped
from ocr_rl.evaluate import transcribe
from ocr_rl.evaluation_summary import evaluation
from ocr_rl.evaluation_table import table
from ocr_rl.models.policy import Policy
from ocr_rl.models.reward_model import RewardModel
from ocr_rl.page_results import score_pages
from ocr_rl.report_run import close_with_report
from ocr_rl.rewards.preference_files import read_labels, read_pairs
from ocr_rl.rewards.preferences import Labelled, Pair
from ocr_rl.rewards.rewarder import Rewarder, ScoredGroup, make_rubric
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.reward_model_scorer import JudgedScorer
from ocr_rl.rollouts.scoring import Scorer
from ocr_rl.rollouts.selection import chosen_engine, make_engine
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import Start
from ocr_rl.training.base import Method
from ocr_rl.training.checkpoint import environment, environment_changes
from ocr_rl.training.loop import run_steps
from ocr_rl.training.resources import peak_memory
from ocr_rl.types import Page


@dataclass
class Job:
    """Everything that a run needs, loaded and checked before anything is written."""

    recipe: Recipe
    train: Sequence[Page]
    held_out: Sequence[Page]
    policy: Policy
    engine: Engine
    rewarder: Rewarder
    judge: RewardModel | None = None
    """reward.model, where there is one."""
    examples: Sequence[Pair | Labelled] | None = None
    """Of pairs.path, where there is one."""


def prepare(recipe: Recipe, pages: Sequence[Page], say: Callable[[str], None] = print, log: Path | None = None) -> Job:
    """What an engine prints goes to the file `log`; with several processes each but the first has one of its own.

    Raises ValueError for anything in the recipe or the pages that would stop the run later.
    """
    if distributed.count() > 1:
        check_processes(recipe)
    if not distributed.first():
        disable_progress_bar()
        log = log and log.with_stem(f"{log.stem}-{distributed.rank()}")
    if recipe.train.wandb and find_spec("wandb") is None:
        raise ValueError("train.wandb is true, but wandb is not installed: pip install wandb")
    chosen_engine(recipe.rollout.engine, recipe.vllm.server)
    torch.manual_seed(recipe.train.seed)
    train, held_out = split_pages(pages, recipe.data.validation, SPLIT_SEED)
    if recipe.data.evaluate != "all":
        held_out = dict(zip(("tuning", "test"), tuning_and_test(held_out), strict=True))[recipe.data.evaluate]
    if recipe.train.eval_pages:
        held_out = held_out[: recipe.train.eval_pages]
    check_keep_best(recipe.train.keep_best, held_out)
    rubric = make_rubric(recipe.reward)
    rewarder = Rewarder(rubric, [*train, *held_out])
    examples = stored_examples(recipe, train, pages)
    if recipe.algorithm == "sft":
        sft.require_texts(train)
    policy = Policy.load(recipe.model)
    engine = make_engine(policy, recipe.rollout, recipe.vllm, say, log)
    return Job(recipe, train, held_out, policy, engine, rewarder, load_judge(recipe, policy), examples)


def check_processes(recipe: Recipe) -> None:
    """Raises ValueError for what is made for one process."""
    for key, value, want in (
        ("rollout.ahead", recipe.rollout.ahead, "false"),
        ("vllm.server", recipe.vllm.server, 'nothing (""): each process has an engine of its own'),
    ):
        if value:
            raise ValueError(f"{key} is {value}, and {distributed.count()} processes train together; write {want}")


def stored_examples(recipe: Recipe, train: Sequence[Page], pages: Sequence[Page]) -> Sequence[Pair | Labelled] | None:
    """Those of the file that the recipe names for its algorithm. Raises ValueError for a file that is none."""
    if not recipe.pairs.path or recipe.algorithm not in LEARNERS:
        return None
    read = read_labels if recipe.algorithm == "kto" else read_pairs
    return read(Path(recipe.pairs.path), train, pages)


def load_judge(recipe: Recipe, policy: Policy) -> RewardModel | None:
    """The reward model that the recipe names. Raises ValueError if it is none, or reads other tokens."""
    name = recipe.reward.model
    if not name:
        return None
    model = recipe.model
    judge = RewardModel.load(
        ModelConfig(
            path=name,
            compute_dtype=model.compute_dtype,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        ),
        policy.device,
    )
    if judge.policy.processor.tokenizer.get_vocab() != policy.processor.tokenizer.get_vocab():
        raise ValueError(f'reward.model "{name}" has another vocabulary than model.path; train one from that model')
    return judge


def check_keep_best(metric: str, held_out: Sequence[Page]) -> None:
    """Raises ValueError where no held-out page allows the metric that chooses the best step."""
    if metric == "pass_rate":
        allowed, lacks, other = any(page.tests for page in held_out), "a test", "cer"
    else:
        allowed, lacks, other = any(page.text is not None for page in held_out), "a text", "pass_rate"
    if metric not in ("", "reward") and not allowed:
        raise ValueError(f"train.keep_best is {metric}, but no held-out page has {lacks}; write {other} or reward")


def collect_pages(data: DataConfig, render: RenderConfig, folder: Path) -> list[Page]:
    """The recipe's dataset; without one, a collection rendered into `folder`, unless it is there already."""
    if data.path:
        return load_pages(data.path, where=data.where, prompt=data.prompt, columns=data.columns, split=data.split)
    if render.style not in STYLES:
        raise ValueError(f'render.style is "{render.style}"; write one of {", ".join(STYLES)}')
    lines, characters = render.lines, render.characters
    layout = Layout(render.layout, (lines[0], lines[1]), (characters[0], characters[1]))
    distributed.of_first(partial(_render, render, layout, folder))
    return load_pages(folder, prompt=data.prompt)


def _render(render: RenderConfig, layout: Layout, folder: Path) -> None:
    if not (folder / "metadata.jsonl").exists():
        unfinished = folder.with_name(folder.name + ".partial")
        shutil.rmtree(unfinished, ignore_errors=True)
        render_collection(
            unfinished,
            render.pages,
            seed=render.seed,
            layouts=[layout],
            style=STYLES[render.style],
            name=render.style,
            progress=partial(tqdm, desc="rendering", unit="page", leave=False),
        )
        os.replace(unfinished, folder)


def run(job: Job, folder: RunFolder, say: Callable[[str], None] = print, start: Start | None = None) -> None:
    """Evaluate, train, evaluate; the run folder holds everything afterwards. With `start`, the rest of that.

    Each of several processes calls this; all but the first with an `Onlooker`, and a `say` that is silent.

    Raises:
        TrainingStopped: a loss is not finite, or a file cannot be read or written (a full disk).
        ValueError: the run was started with other pages.
    """
    try:
        with closing(job.engine):
            _run(job, folder, say, start)
    except EngineFailed as error:
        raise TrainingStopped(str(error)) from None
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise TrainingStopped(
            f"{what}\nwhat was complete is kept; mend this, then: ocr-rl train --resume {folder.path}"
        ) from None


def _run(job: Job, folder: RunFolder, say: Callable[[str], None], start: Start | None) -> None:
    say(f"{len(job.train)} pages to train on, {len(job.held_out)} held out; {describe(job.policy)}")
    before = distributed.of_first(lambda: folder.read_eval("before"))
    if before is None:
        before = evaluate(job)
        folder.write_eval("before", before)
    elif [page["id"] for page in before["pages"]] != [page.id for page in job.held_out]:
        raise ValueError(
            f"the {len(job.held_out)} held-out pages are not those of {folder.path}/eval/before.json. "
            "Bring the old ones back, or start another run"
        )
    say(f"before: CER {_show(before['cer'])}, pass rate {_show(before['pass_rate'])}")
    if start is not None:
        _say_where(start, say)
    with make_scorer(job) as scorer:
        method = make_method(job, scorer)
        run_steps(
            method,
            job.policy,
            job.train,
            job.recipe,
            folder,
            lambda: curve_point(evaluate(job)),
            start,
        )
        measured = method.measure()
    try:
        after = evaluate(job)
    except FloatingPointError as error:
        raise TrainingStopped(
            f"step {len(folder.logged())}: {error}: its update broke the weights. Try a lower train.learning_rate"
        ) from None
    folder.write_eval("after", {**after, **measured})
    say(table({"before": before, "after": after}))
    if measured:
        say(
            "held-out pages: "
            + ", ".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in measured.items())
        )
    if (best := folder.best()) is not None:
        say(f"best step by {best['metric']}: {best['step']} ({best['value']:.3f}), {folder.checkpoint(best['step'])}")
    if distributed.first():
        close_with_report(folder, say, [*job.train, *job.held_out])
    say(f"run folder: {folder.path}")


def make_scorer(job: Job) -> Scorer:
    reward = job.recipe.reward
    if job.judge is None:
        return Scorer(job.rewarder, reward.processes)
    return JudgedScorer(job.judge, reward.model_weight, job.rewarder, reward.processes)


def make_method(job: Job, scorer: Scorer) -> Method:
    """What recipe.algorithm names."""
    policy, engine, recipe = job.policy, job.engine, job.recipe
    match recipe.algorithm:
        case "ppo":
            return ppo.Ppo(policy, engine, job.train, scorer, recipe)
        case "reward-model":
            return reward_model.BradleyTerry(policy, engine, job.train, job.held_out, scorer, recipe)
        case "sft":
            return sft.Sft(policy, engine, job.train, recipe)
        case "dpo" | "orpo" | "kto":
            learner = LEARNERS[recipe.algorithm](policy, recipe)
            if job.examples is not None:
                return Preference.stored(learner, engine, job.examples)
            return Preference.fresh(learner, engine, job.train, scorer)
    return grpo.Grpo(policy, engine, job.train, scorer, recipe)


def one_gradient(job: Job, scored: Sequence[ScoredGroup]) -> None:
    """The gradient of an update on these groups, for a dry run."""
    recipe = job.recipe
    apart = [replace(group, rewards=[float(i) for i in range(len(group.rewards))]) for group in scored]
    match recipe.algorithm:
        case "ppo":
            actor = ppo.Learner(job.policy, recipe)
            actor.accumulate(actor.experience(scored))
        case "reward-model":
            judge = reward_model.Learner(job.policy, recipe)
            judge.accumulate(judge.pairs(apart))
        case "sft":
            sft.Sft(job.policy, job.engine, job.train, recipe).accumulate([group.group.page for group in scored])
        case "dpo" | "orpo" | "kto":
            preferred = LEARNERS[recipe.algorithm](job.policy, recipe)
            pages = of_pages(preferred.choose(apart))
            preferred.begin(pages)
            preferred.accumulate(pages)
        case _:
            advantages, spread = grpo.advantages_of(scored, recipe.grpo)
            learner = grpo.Learner(job.policy, recipe)
            learner.accumulate(scored, learner.prepare(scored, advantages, torch.ones_like(spread)))


def _say_where(start: Start, say: Callable[[str], None]) -> None:
    for trouble in start.passed_over:
        say(f"passed over: {trouble}")
    if start.checkpoint is None:
        say("no checkpoint was saved: starting over")
        return
    say(f"resuming after step {start.step} of {start.recipe.train.steps}")
    changes = environment_changes(start.checkpoint)
    if changes:
        say(f"not the environment that it was saved in ({changes}): the last bits of the results may differ")


def evaluate(job: Job) -> dict[str, Any]:
    """Greedy transcriptions of the held-out pages, scored: the contents of eval/before.json and after.json.

    Each process transcribes its share; all score the whole.
    """
    own = distributed.mine(job.held_out)
    with tqdm(total=len(own), desc="evaluating", unit="page", leave=False, disable=not distributed.first()) as bar:
        completions = transcribe(job.engine, own, job.recipe.rollout.max_tokens, lambda done: bar.update(done - bar.n))
    return evaluation(score_pages(job.held_out, distributed.gather(completions), job.rewarder))


def curve_point(evaluated: Mapping[str, Any]) -> dict[str, Any]:
    """What a line of metrics.jsonl says of an evaluation: the totals, and `pass_rate/<kind>` of each kind of test."""
    totals = {name: value for name, value in evaluated.items() if not isinstance(value, dict) and name != "pages"}
    return totals | {f"pass_rate/{kind}": row["pass_rate"] for kind, row in evaluated["by_kind"].items()}


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def describe(policy: Policy) -> str:
    trained = sum(p.numel() for p in policy.trainable_parameters())
    total = sum(p.numel() for p in policy.model.parameters())
    dtype = str(policy.compute_dtype).removeprefix("torch.")
    return f"{total:,} parameters, {trained:,} trained, {dtype} on {policy.device}"


def dry_run(job: Job, say: Callable[[str], None] = print) -> None:
    """Do one page of one step for real and say what the whole run would take. Nothing is written or updated."""
    recipe, policy = job.recipe, job.policy
    rollout, steps = recipe.rollout, recipe.train.steps
    sample = job.train[:: max(1, len(job.train) // 32)][:32]
    prompts = [len(policy.prompt(page)) for page in sample]
    texts = [len(policy.processor.tokenizer(page.text)["input_ids"]) for page in sample if page.text]
    longest = sorted(zip(prompts, sample, strict=True), key=lambda pair: -pair[0])[0][1]
    sampling = Sampling(rollout.group_size, rollout.temperature, rollout.max_tokens)
    if policy.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.monotonic()
    with closing(job.engine):
        groups = job.engine.generate([longest], sampling, seed=0)
    one_gradient(job, job.rewarder.score_groups(groups))
    per_page = time.monotonic() - began
    policy.model.zero_grad(set_to_none=True)
    trained = sum(p.numel() for p in policy.trainable_parameters())
    peak = peak_memory(policy.device.type == "cuda") << 20
    say(
        "\n".join(
            [
                f"pages       {len(job.train)} to train on, {len(job.held_out)} held out",
                f"policy      {describe(policy)}",
                f"prompt      {_spread(prompts)} tokens, image included",
                f"reference   {_spread(texts)} tokens; rollout.max_tokens is {rollout.max_tokens}",
                f"step        {rollout.pages_per_step} pages x {rollout.group_size} completions",
                f"memory      {(peak + 8 * trained) / 2**30:.1f} GiB, optimiser state included",
                f"time        about {per_page * rollout.pages_per_step * steps / 60:.0f} minutes at most for {steps} "
                "steps, from the longest prompt of a sample",
                f"environment {json.dumps(environment())}",
            ]
        )
    )


def _spread(values: Sequence[int]) -> str:
    if not values:
        return "no"
    ordered = sorted(values)
    return f"{ordered[0]} to {ordered[-1]} (median {ordered[len(ordered) // 2]})"


def write_recipe(recipe: Recipe, out: Path, overwrite: bool) -> RunFolder:
    return RunFolder.create(out, to_toml(recipe), overwrite=overwrite)
