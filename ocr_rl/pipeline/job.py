"""A recipe with everything loaded and checked that its run needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers.utils.logging import disable_progress_bar

from ocr_rl import distributed
from ocr_rl.algorithms import grpo, ppo, reward_model, sft
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.trainer import PreferenceTrainer
from ocr_rl.config.schema import ModelConfig, Recipe
from ocr_rl.data.splits import SPLIT_SEED, split_pages, tuning_and_test
from ocr_rl.models.policy import Policy
from ocr_rl.models.reward_model import RewardModel
from ocr_rl.rewards.preference_files import read_labels, read_pairs
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.reward_model_scorer import RewardModelScorer
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.selection import chosen_engine, make_engine
from ocr_rl.training.base import Trainer
from ocr_rl.types import Page


@dataclass
class Job:
    """Everything that a run needs, loaded and checked before anything is written."""

    recipe: Recipe
    train: Sequence[Page]
    held_out: Sequence[Page]
    policy: Policy
    engine: Engine
    reward_function: RewardFunction
    reward_model: RewardModel | None = None
    """reward.model, where there is one."""
    examples: Sequence[Pair | LabelledCompletion] | None = None
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
    reward_function = RewardFunction(rubric, [*train, *held_out])
    examples = stored_examples(recipe, train, pages)
    if recipe.algorithm == "sft":
        sft.require_texts(train)
    policy = Policy.load(recipe.model)
    engine = make_engine(policy, recipe.rollout, recipe.vllm, say, log)
    return Job(recipe, train, held_out, policy, engine, reward_function, load_reward_model(recipe, policy), examples)


def check_processes(recipe: Recipe) -> None:
    """Raises ValueError for what is made for one process."""
    for key, value, want in (
        ("rollout.ahead", recipe.rollout.ahead, "false"),
        ("vllm.server", recipe.vllm.server, 'nothing (""): each process has an engine of its own'),
    ):
        if value:
            raise ValueError(f"{key} is {value}, and {distributed.count()} processes train together; write {want}")


def stored_examples(
    recipe: Recipe, train: Sequence[Page], pages: Sequence[Page]
) -> Sequence[Pair | LabelledCompletion] | None:
    """Those of the file that the recipe names for its algorithm. Raises ValueError for a file that is none."""
    if not recipe.pairs.path or recipe.algorithm not in LEARNERS:
        return None
    read = read_labels if recipe.algorithm == "kto" else read_pairs
    return read(Path(recipe.pairs.path), train, pages)


def load_reward_model(recipe: Recipe, policy: Policy) -> RewardModel | None:
    """The reward model that the recipe names. Raises ValueError if it is none, or reads other tokens."""
    name = recipe.reward.model
    if not name:
        return None
    model = recipe.model
    reward_model = RewardModel.load(
        ModelConfig(
            path=name,
            compute_dtype=model.compute_dtype,
            max_pixels=model.max_pixels,
            trust_remote_code=model.trust_remote_code,
        ),
        policy.device,
    )
    if reward_model.policy.processor.tokenizer.get_vocab() != policy.processor.tokenizer.get_vocab():
        raise ValueError(f'reward.model "{name}" has another vocabulary than model.path; train one from that model')
    return reward_model


def check_keep_best(metric: str, held_out: Sequence[Page]) -> None:
    """Raises ValueError where no held-out page allows the metric that chooses the best step."""
    if metric == "pass_rate":
        allowed, lacks, other = any(page.tests for page in held_out), "a test", "cer"
    else:
        allowed, lacks, other = any(page.text is not None for page in held_out), "a text", "pass_rate"
    if metric not in ("", "reward") and not allowed:
        raise ValueError(f"train.keep_best is {metric}, but no held-out page has {lacks}; write {other} or reward")


def make_scorer(job: Job) -> GroupScorer:
    reward = job.recipe.reward
    if job.reward_model is None:
        return GroupScorer(job.reward_function, reward.processes)
    return RewardModelScorer(job.reward_model, reward.model_weight, job.reward_function, reward.processes)


def make_trainer(job: Job, scorer: GroupScorer) -> Trainer:
    """What recipe.algorithm names."""
    policy, engine, recipe = job.policy, job.engine, job.recipe
    match recipe.algorithm:
        case "ppo":
            return ppo.PpoTrainer(policy, engine, job.train, scorer, recipe)
        case "reward-model":
            return reward_model.RewardModelTrainer(policy, engine, job.train, job.held_out, scorer, recipe)
        case "sft":
            return sft.SftTrainer(policy, engine, job.train, recipe)
        case "dpo" | "orpo" | "kto":
            learner = LEARNERS[recipe.algorithm](policy, recipe)
            if job.examples is not None:
                return PreferenceTrainer.stored(learner, engine, job.examples)
            return PreferenceTrainer.fresh(learner, engine, job.train, scorer)
    return grpo.GrpoTrainer(policy, engine, job.train, scorer, recipe)


def describe(policy: Policy) -> str:
    trained = sum(p.numel() for p in policy.trainable_parameters())
    total = sum(p.numel() for p in policy.model.parameters())
    dtype = str(policy.compute_dtype).removeprefix("torch.")
    return f"{total:,} parameters, {trained:,} trained, {dtype} on {policy.device}"
