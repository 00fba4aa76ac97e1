"""A recipe, with everything that its run needs loaded and checked, and the trainer that it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers.utils.logging import disable_progress_bar

from ocr_rl import distributed
from ocr_rl.algorithms.grpo import GrpoTrainer
from ocr_rl.algorithms.ocd import OcdTrainer
from ocr_rl.algorithms.ppo import PpoTrainer
from ocr_rl.algorithms.preference.learner import PreferenceLearner
from ocr_rl.algorithms.preference.registry import LEARNERS
from ocr_rl.algorithms.preference.trainer import PreferenceTrainer
from ocr_rl.algorithms.reward_model import RewardModelTrainer
from ocr_rl.algorithms.sft import SftTrainer
from ocr_rl.config.presets import PromptFormat
from ocr_rl.config.schema import ModelConfig, Recipe
from ocr_rl.config.unused import without_effect
from ocr_rl.data.indexed import flags, joined, values_of, where
from ocr_rl.data.splits import amount_of, held_out_pages
from ocr_rl.models.checkpoints.adapters import without_adapter
from ocr_rl.models.checkpoints.options import check_bitsandbytes
from ocr_rl.models.checkpoints.vocabulary import unwritable
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt_format import writes
from ocr_rl.models.reward_model import RewardModel
from ocr_rl.models.sharding import mesh_of
from ocr_rl.pipeline.page_sizes import take_sizes
from ocr_rl.rewards.preferences import LabelledCompletion, Pair
from ocr_rl.rewards.probe import probed_pages
from ocr_rl.rewards.reward_function import RewardFunction, make_rubric, try_functions
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.reward_model_scorer import RewardModelScorer
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.selection import chosen_engine, make_engine
from ocr_rl.seeds import derive
from ocr_rl.training.base import Trainer
from ocr_rl.training.references import require_texts
from ocr_rl.types import Page
from ocr_verifiers import to_markdown
from ocr_verifiers.rewards.rubric import CONSENSUS

LOOKED_AT_ALL, LOOKED_AT = 50_000, 2_000
"""Up to so many pages all texts go through the tokenizer before training; of more pages, about so many."""


@dataclass
class Job:
    """Everything that a run needs, loaded and checked before anything is written."""

    recipe: Recipe
    train: Sequence[Page]
    held_out: Sequence[Page]
    chosen_on: Sequence[Page]
    """Held-out pages that are evaluated during training; others than `held_out` where a step is chosen by them, and
    `held_out` is to be reported."""
    policy: Policy
    engine: Engine
    reward_function: RewardFunction
    reward_model: RewardModel | None = None
    """The one that reward.model names."""
    examples: Sequence[Pair | LabelledCompletion] | None = None
    """Those in the file that pairs.path names."""


class Algorithm(NamedTuple):
    """What a recipe's `algorithm` names."""

    trainer: Callable[[Job, GroupScorer], Trainer]
    check_pages: Callable[[Sequence[Page]], None] | None = None
    """Raises ValueError if it cannot train on these pages."""
    read_examples: Callable[[Path, Sequence[Page], Sequence[Page]], Sequence[Any]] | None = None
    """Reads pairs.path, if it learns from preferences: the examples of the first pages; those of others are skipped."""
    samples: bool = True
    """Whether it samples completions to learn from."""


def _grpo(job: Job, scorer: GroupScorer) -> Trainer:
    return GrpoTrainer(job.policy, job.engine, job.train, scorer, job.recipe)


def _ppo(job: Job, scorer: GroupScorer) -> Trainer:
    return PpoTrainer(job.policy, job.engine, job.train, scorer, job.recipe)


def _sft(job: Job, _: GroupScorer) -> Trainer:
    return SftTrainer(job.policy, job.engine, job.train, job.recipe)


def _ocd(job: Job, scorer: GroupScorer) -> Trainer:
    return OcdTrainer(job.policy, job.engine, job.train, scorer, job.recipe)


def _reward_model(job: Job, scorer: GroupScorer) -> Trainer:
    return RewardModelTrainer(job.policy, job.engine, job.train, job.held_out, scorer, job.recipe)


def _preference(learner_type: type[PreferenceLearner[Any]], job: Job, scorer: GroupScorer) -> Trainer:
    learner = learner_type(job.policy, job.recipe)
    if job.examples is not None:
        return PreferenceTrainer.stored(learner, job.engine, job.examples)
    return PreferenceTrainer.fresh(learner, job.engine, job.train, scorer)


ALGORITHMS: dict[str, Algorithm] = {
    "grpo": Algorithm(_grpo),
    "ppo": Algorithm(_ppo),
    "sft": Algorithm(_sft, check_pages=require_texts, samples=False),
    "ocd": Algorithm(_ocd, check_pages=partial(require_texts, algorithm="ocd")),
    "reward-model": Algorithm(_reward_model),
    **{name: Algorithm(partial(_preference, kind), read_examples=kind.read) for name, kind in LEARNERS.items()},
}


def prepare(recipe: Recipe, pages: Sequence[Page], say: Callable[[str], None] = print, log: Path | None = None) -> Job:
    """Load and check everything. What the engine prints goes to the file `log`, with a separate file per process.

    Raises ValueError for anything in the recipe or the pages that would stop the run later.
    """
    if distributed.count() > 1:
        check_processes(recipe)
    if not distributed.first():
        disable_progress_bar()
        log = log and log.with_stem(f"{log.stem}-{distributed.rank()}")
    if recipe.train.wandb and find_spec("wandb") is None:
        raise ValueError("train.wandb is true, but wandb is not installed: pip install wandb")
    check_bitsandbytes("train.optimizer", recipe.train.optimizer, needed=recipe.train.optimizer != "adamw")
    for line in without_effect(recipe):
        say(line)
    chosen_engine(recipe.rollout.engine, recipe.vllm.server)
    torch.manual_seed(derive(recipe.train.seed, "start"))
    train, held_out = divided(recipe, pages)
    rubric = make_rubric(recipe.reward)
    chosen_on = pages_to_choose_on(recipe, pages, held_out)
    check_keep_best(recipe, chosen_on)
    seen = joined(train, held_out)
    reward_function = RewardFunction(rubric, seen if chosen_on is held_out else joined(seen, chosen_on))
    try_functions(rubric, train)
    algorithm = ALGORITHMS[recipe.algorithm]
    if algorithm.check_pages is not None:
        algorithm.check_pages(train)
    examples = None
    if recipe.pairs.path and algorithm.read_examples is not None:
        examples = algorithm.read_examples(Path(recipe.pairs.path), train, pages)
    mesh = mesh_of(recipe.train.shard) if distributed.count() > 1 else None
    policy = Policy.load(recipe.model, mesh=mesh, offload=recipe.train.offload)
    if mesh is None and recipe.train.shard != "none":
        say(f'train.shard = "{recipe.train.shard}" has no effect: there is one process')
    if recipe.train.offload and (mesh is None or policy.device.type == "cpu"):
        say(f"train.offload = true has no effect: there is {'one process' if mesh is None else 'no GPU'}")
    if line := without_adapter(policy.model):
        say(line)
    if len(train) < (size := recipe.rollout.pages_per_step):
        say(f"rollout.pages_per_step = {size}: a step takes some of the {len(train)} training pages several times")
    check_output(recipe, policy.prompt_format)
    reward_function = reward_function.of_output(policy.prompt_format.output)
    for line in (*take_prompt(recipe, policy, pages), *take_sizes(policy, train)):
        say(line)
    tokenizer, limit = policy.processor.tokenizer, recipe.rollout.max_tokens
    looked_at = pages if len(pages) <= LOOKED_AT_ALL else pages[:: len(pages) // LOOKED_AT]
    for line in unwritable(tokenizer, looked_at, limit, "rollout.max_tokens", policy.refused_tokens):
        say(line if looked_at is pages else f"of {len(looked_at):,} pages looked at: {line}")
    for side in filter(None, (train, held_out, chosen_on)):
        check_prompts(policy, side)
    engine = make_engine(policy, recipe.rollout, recipe.vllm, say, log)
    reward_model = load_reward_model(recipe, policy)
    return Job(recipe, train, held_out, chosen_on, policy, engine, reward_function, reward_model, examples)


def divided(recipe: Recipe, pages: Sequence[Page]) -> tuple[Sequence[Page], Sequence[Page]]:
    """The pages to train on, and those that are held out. Raises ValueError if there are none of a sort."""
    train, held_out = held_out_pages(pages, recipe.data, recipe.train.eval_pages)
    if recipe.data.only:
        train = probed_pages(Path(recipe.data.only), train, pages)
    if recipe.data.train != "all":
        train = chosen_pages(train, recipe.data.train)
    return amount_of(train, recipe.data.amount), held_out


def pages_to_choose_on(recipe: Recipe, pages: Sequence[Page], held_out: Sequence[Page]) -> Sequence[Page]:
    """Those evaluated during training: the tuning half, if a step is chosen for a report by the test half."""
    if recipe.data.evaluate != "test" or not recipe.train.chooses:
        return held_out
    return held_out_pages(pages, replace(recipe.data, evaluate="tuning"), recipe.train.eval_pages)[1]


def chosen_pages(pages: Sequence[Page], which: Literal["labelled", "unlabelled"]) -> Sequence[Page]:
    """The pages with a text, or those without one. Raises ValueError if there are none."""
    chosen = where(pages, flags(pages, "has_text") == (which == "labelled"))
    if not chosen:
        lacks = "has a text" if which == "labelled" else "lacks a text"
        raise ValueError(f"data.train is {which}, but none of the {len(pages)} pages to train on {lacks}")
    return chosen


def take_prompt(recipe: Recipe, policy: Policy, pages: Sequence[Page]) -> Iterator[str]:
    """Keep the recipe's prompt with the policy, so that its checkpoints are asked alike; what to say of its prompts."""
    if policy.prompt_format.preset:
        yield str(policy.prompt_format)
    if recipe.data.prompt:
        policy.prompt_format = replace(policy.prompt_format, prompt=recipe.data.prompt)
    prompted = bool(policy.prompt_format.prompt) or any(values_of(pages, "prompt"))
    if recipe.model.prompt_order != "auto" and not prompted:
        yield f"model.prompt_order = {recipe.model.prompt_order!r} has no effect: there is no prompt"
    if prompted and not writes(policy.processor, "text"):
        yield "prompts have no effect: the model's chat template writes no text"


def check_output(recipe: Recipe, format: PromptFormat) -> None:
    """Raises ValueError if the algorithm teaches texts that are not in the model's output format."""
    texts = recipe.algorithm in ("sft", "ocd")
    teaches = {recipe.algorithm: texts, "grpo.reference_in_group": recipe.grpo.reference_in_group}
    for name in [name for name, used in teaches.items() if used and to_markdown("x", format.output).problem]:
        raise ValueError(
            f"the model's output is {format.output}, and {name} teaches the references, which are markdown; write "
            'model.output = "markdown", and in data.prompt how to ask for it'
        )


def check_processes(recipe: Recipe) -> None:
    """Raises ValueError for settings that several processes cannot have together."""
    if recipe.rollout.ahead and recipe.train.shard != "none" and recipe.reward.model:
        raise ValueError(
            "rollout.ahead is true, but reward.model rates what is sampled, and with train.shard all processes have to "
            'compute together; write false, or train.shard = "none"'
        )


def check_prompts(policy: Policy, pages: Sequence[Page]) -> None:
    """Raises ValueError if the policy refuses every page because of its prompt."""
    prompts = values_of(pages, "prompt")
    refused = {prompt: token for prompt in sorted(prompts) for token in policy.refused_tokens if token in prompt}
    if refused.keys() >= prompts:
        token = refused[min(prompts)]
        raise ValueError(
            f'the prompt of every page holds a special token of the model, such as "{token}"; leave it out of '
            "data.prompt and of the dataset's prompts"
        )


def load_reward_model(recipe: Recipe, policy: Policy) -> RewardModel | None:
    """The model that reward.model names. Raises ValueError if it is not a reward model or has another vocabulary."""
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
        None if policy.shards is None else policy.shards.mesh,
        offload=policy.shards is not None and policy.shards.offload,
    )
    if reward_model.policy.processor.tokenizer.get_vocab() != policy.processor.tokenizer.get_vocab():
        raise ValueError(f'reward.model "{name}" has another vocabulary than model.path; train one from that model')
    return reward_model


def check_keep_best(recipe: Recipe, held_out: Sequence[Page]) -> None:
    """Raises ValueError if no held-out page allows the metric that chooses the best step, or ends training."""
    metric = recipe.train.keep_best
    rubric = make_rubric(recipe.reward)
    texts, tests = flags(held_out, "has_text").any(), flags(held_out, "has_tests").any()
    labelled = texts or tests
    judged = labelled or bool(rubric.functions)  # a single transcription, which has no consensus
    if recipe.train.patience and not judged:
        raise ValueError(
            f"train.patience is {recipe.train.patience}, but no held-out page has a text or a test, and a single "
            "transcription has no consensus; write 0"
        )
    others = any(weight for part, weight in rubric.weights.items() if part != CONSENSUS)
    if metric == "reward" and not (judged and others):
        raise ValueError(
            "train.keep_best is reward, but a single transcription of a held-out page has no consensus; write cer or "
            "pass_rate, or nothing"
        )
    if metric == "pass_rate":
        allowed, lacks, other = tests, "a test", "cer"
    else:
        allowed, lacks, other = texts, "a text", "pass_rate"
    if metric not in ("", "reward") and not allowed:
        raise ValueError(f"train.keep_best is {metric}, but no held-out page has {lacks}; write {other} or reward")


def make_scorer(job: Job) -> GroupScorer:
    reward = job.recipe.reward
    if job.reward_model is None:
        return GroupScorer(job.reward_function, reward.processes)
    return RewardModelScorer(job.reward_model, reward.model_weight, job.reward_function, reward.processes)


def make_trainer(job: Job, scorer: GroupScorer) -> Trainer:
    """The trainer of the recipe's algorithm."""
    return ALGORITHMS[job.recipe.algorithm].trainer(job, scorer)


def describe(job: Job) -> str:
    """Its policy: the name, the parameters, and where it computes."""
    policy = job.policy
    trained = sum(p.numel() for p in policy.trainable_parameters())
    total = sum(p.numel() for p in policy.model.parameters())
    dtype = str(policy.compute_dtype).removeprefix("torch.")
    return f"{job.recipe.model.path}: {total:,} parameters, {trained:,} trained, {dtype} on {policy.device}"
