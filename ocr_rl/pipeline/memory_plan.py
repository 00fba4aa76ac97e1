"""The memory that a recipe needs on each GPU, or in each process on a CPU, and what to change if that is not there."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from ocr_rl.config.schema import ModelConfig, Recipe
from ocr_rl.models.footprint import Footprint, Weights, bare_policy, measure
from ocr_rl.pipeline.job import check_prompts
from ocr_rl.rollouts.transformers_engine import PAGES_AT_ONCE
from ocr_rl.training.resources import resident_memory
from ocr_rl.types import ImageError, Page

SAMPLED_PAGES = 8
"""How many pages are looked at for the longest prompt."""
CUDA_CONTEXT = 600 << 20
"""Bytes that CUDA and its libraries take of a GPU."""
STATE = {"adamw": 8.0, "adamw_8bit": 2.0, "paged_adamw_8bit": 0.0}
"""Bytes of the optimiser for a trained weight; a paged state moves to the CPU where the GPU has no room."""


class Machine(NamedTuple):
    """What the plan is for."""

    processes: int
    memory: int | None
    """Bytes of each GPU; None: nobody has said, or there is none."""
    gpu: bool
    base: int | None
    """Bytes that a process takes without a model; None: what this one takes, once it has computed something."""
    of_several: int | None = None
    """Processes on each machine, if there are several; None: all are on one."""


class Built(NamedTuple):
    """What is known of a recipe's models."""

    weights: Weights
    found: Footprint
    reward_model: int
    """Bytes of the weights of reward.model."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes in one process, or on one GPU."""

    base: int
    weights: int
    gradients: int
    optimizer: int
    reference: int
    """A copy of the trained weights, for a KL term or a preference loss."""
    reward_model: int
    """The weights of reward.model."""
    gathered: int
    """Divided weights that are whole at a time while it learns, and their gradients."""
    activations: int
    logits: int
    cache: int
    """Keys and values, and logits, while the transformers engine samples; divided weights, which are whole then."""
    vllm: int
    vllm_sleeps: bool
    about: str
    """What activations are of."""
    offloaded: int = 0
    """Bytes that train.offload keeps in the machine's memory instead, for this process."""

    @property
    def learning(self) -> int:
        """While a page is learned from."""
        return self._always + self.gradients + self.gathered + self.activations + self.logits

    @property
    def sampling(self) -> int:
        return self._always + self.cache

    @property
    def total(self) -> int:
        """The most at any time."""
        if self.vllm_sleeps:
            return max(self.learning, self._always + self.vllm)
        return max(self.learning, self.sampling) + self.vllm

    @property
    def _always(self) -> int:
        return self.base + self.weights + self.optimizer + self.reference + self.reward_model

    def lines(self) -> Iterator[str]:
        rows = {
            "process": self.base,
            "weights": self.weights,
            "gradients": self.gradients,
            "optimiser": self.optimizer,
            "reference": self.reference,
            "reward model": self.reward_model,
            "gathered": self.gathered,
            "activations": self.activations,
            "logits": self.logits,
            "sampling": self.cache,
            "vLLM": self.vllm,
        }
        notes = {"activations": self.about, "sampling": "keys and values; not while it learns"}
        if self.vllm_sleeps:
            notes["vLLM"] = "not while it learns"
        for name, size in rows.items():
            if size:
                note = f"  {notes[name]}" if name in notes else ""
                yield f"  {name:<13}{gib(size):>9}{note}"
        if self.offloaded:
            what = "weights, gradients, optimiser state"
            yield f"  and {gib(self.offloaded)} of the machine's memory for each: {what}"


def planned_machine(
    gpus: int | None = None, gpu_memory: float | None = None, processes: int = 1, on_this_machine: int = 1
) -> Machine:
    """A machine with so many GPUs of so many GB; what is not given is as here, where so many processes run."""
    here = torch.cuda.is_available()
    if gpu_memory is not None:
        memory: int | None = int(gpu_memory * 1e9)
    else:
        memory = torch.cuda.get_device_properties(0).total_memory if here else None
    gpu = here or gpus is not None or gpu_memory is not None
    of_several = on_this_machine if gpus is None and on_this_machine < processes else None
    return Machine(gpus or processes, memory, gpu, CUDA_CONTEXT if gpu else None, of_several)


def gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def plan_memory(recipe: Recipe, pages: Sequence[Page], machine: Machine) -> MemoryPlan:
    """See `Planner.plan`."""
    return Planner(pages, machine).plan(recipe)


class Planner:
    """Plans recipes, and builds a model once for all of them that have it."""

    def __init__(self, pages: Sequence[Page], machine: Machine) -> None:
        self.pages, self.machine = pages, machine
        self._built: list[tuple[tuple[ModelConfig, int, str], Built]] = []

    def plan(self, recipe: Recipe) -> MemoryPlan:
        """From the model's config, a real page and a few layers; no weights are loaded.

        Raises:
            ValueError: the model cannot be trained here, or none of the first pages can be read.
        """
        same = replace(recipe.model, gradient_checkpointing=False)
        key = same, recipe.rollout.max_tokens, recipe.reward.model
        built = next((own for known, own in self._built if known == key), None)
        if built is None:
            built = build(recipe, self.pages, self.machine.gpu)
            self._built.append((key, built))
        if self.machine.base is None:  # libraries and their work space are in memory by now
            gc.collect()
            self.machine = self.machine._replace(base=resident_memory())
        return memory_plan(recipe, built.weights, built.found, self.machine, built.reward_model)


def build(recipe: Recipe, pages: Sequence[Page], gpu: bool) -> Built:
    """Measure the recipe's models on few layers."""
    auto = torch.bfloat16 if gpu else torch.float32
    named = {"auto": auto, "float32": torch.float32, "bfloat16": torch.bfloat16}
    dtype = named[recipe.model.compute_dtype]
    policy, weights, layers = bare_policy(recipe.model, dtype)
    check_prompts(policy, pages)
    prompts = [prompt for page in pages[:: max(1, len(pages) // SAMPLED_PAGES)] if (prompt := _prompt(policy, page))]
    if not prompts:
        raise ValueError(f"none of {SAMPLED_PAGES} pages that were looked at can be read")
    found = measure(policy, layers, max(prompts, key=len), recipe.rollout.max_tokens)
    reward_model = 0
    if recipe.reward.model:
        own = ModelConfig(path=recipe.reward.model, trust_remote_code=recipe.model.trust_remote_code)
        reward_model = bare_policy(own, dtype)[1].weights
    return Built(weights, found, reward_model)


def _prompt(policy: Any, page: Page) -> Any:
    try:
        return policy.prompt(page)
    except ImageError:
        return None


def memory_plan(
    recipe: Recipe, weights: Weights, found: Footprint, machine: Machine, reward_model: int = 0
) -> MemoryPlan:
    """The arithmetic. With train.shard, processes divide weights, gradients and optimiser state.

    They are all processes with "full", and those of a machine with "hybrid". With train.offload a GPU holds none of it.

    Args:
        reward_model: bytes of the weights of reward.model.
    """
    assert machine.base is not None
    rollout, vllm = recipe.rollout, recipe.vllm
    rows, tokens = micro_batch(recipe), rollout.max_tokens
    ours = rollout.engine == "transformers" or (rollout.engine == "auto" and not (machine.gpu or vllm.server))
    of_vllm = cache = 0
    if ours:
        together = min(PAGES_AT_ONCE, max(1, rollout.rows // rollout.group_size))
        share = -(-rollout.pages_per_step // machine.processes)
        sampled = max(min(together, share) * rollout.group_size, min(PAGES_AT_ONCE, rollout.rows))
        cache = found.cache(sampled, tokens) + found.sampling(sampled)
    elif not vllm.server and machine.gpu:
        own = 2 * weights.parameters + int(vllm.kv_cache_gib * 2**30)
        of_vllm = own if vllm.kv_cache_gib else int(vllm.memory_share * (machine.memory or 0))
    parts = {"none": 1, "full": machine.processes, "hybrid": machine.of_several or machine.processes}[
        recipe.train.shard
    ]
    models = 2 if recipe.algorithm == "ppo" and recipe.ppo.critic == "separate" else 1
    trained = models * weights.trained // parts
    if parts > 1 and ours:
        cache += weights.whole
    plan = MemoryPlan(
        base=machine.base,
        weights=models * weights.weights // parts,
        gradients=4 * trained,
        optimizer=int(STATE[recipe.train.optimizer] * trained),
        reference=4 * weights.trained // parts if _has_reference(recipe) else 0,
        reward_model=reward_model // parts,
        gathered=weights.gathered if parts > 1 else 0,
        activations=found.activations(rows, tokens, recipe.model.gradient_checkpointing),
        logits=found.logits(rows, tokens),
        cache=cache,
        vllm=of_vllm,
        vllm_sleeps=vllm.sleep and of_vllm > 0,
        about=f"a page of {found.prompt_tokens:,} tokens and {rows} texts of {tokens:,}",
    )
    return _offloaded(plan) if recipe.train.offload and parts > 1 and machine.gpu else plan


def _offloaded(plan: MemoryPlan) -> MemoryPlan:
    moved = plan.weights + plan.gradients + plan.optimizer + plan.reference + plan.reward_model
    return replace(plan, weights=0, gradients=0, optimizer=0, reference=0, reward_model=0, offloaded=moved)


def micro_batch(recipe: Recipe) -> int:
    """The texts of a page that are learned together, at full length."""
    if recipe.algorithm == "sft":
        return 1
    stored = 2 if recipe.pairs.path else recipe.rollout.group_size + recipe.grpo.reference_in_group
    return max(1, min(stored, recipe.train.micro_batch_tokens // recipe.rollout.max_tokens))


def _has_reference(recipe: Recipe) -> bool:
    weighed = {"grpo": recipe.grpo.beta, "ppo": recipe.ppo.beta, "kto": 1, "dpo": recipe.dpo.reference == "live"}
    return bool(weighed.get(recipe.algorithm, 0))


def say_plan(recipe: Recipe, pages: Sequence[Page], machine: Machine, say: Callable[[str], None]) -> bool:
    """Say what is needed where, and what would make it fit; whether it fits, as far as anyone knows."""
    planner = Planner(pages, machine)
    plan = planner.plan(recipe)
    each = "GPU" if machine.gpu else "process"
    where = f"each of {machine.processes} {'GPUs' if machine.gpu else 'processes'}" if machine.processes > 1 else each
    of = "" if machine.memory is None else f" of {gib(machine.memory)}"
    fits = machine.memory is None or plan.total <= machine.memory
    say(f"memory plan, {where}: {gib(plan.total)}{of}{'' if fits else ', which does not fit'}")
    for line in plan.lines():
        say(line)
    if not fits:
        say("\n".join(advice(recipe, planner, plan.total)))
    return fits


CHANGES: tuple[tuple[str, str, Any], ...] = (
    ("model", "gradient_checkpointing", True),
    ("train", "micro_batch_tokens", 1),
    ("train", "shard", "full"),
    ("vllm", "sleep", True),
    ("vllm", "memory_share", 0.3),
    ("train", "optimizer", "adamw_8bit"),
    ("rollout", "rows", 32),
    ("train", "offload", True),
    ("model", "lora_rank", 16),
    ("model", "quantize", "nf4"),
)
"""What makes a run smaller, the cheapest first; micro-batches cost time alone, LoRA changes what is trained."""


def advice(recipe: Recipe, planner: Planner, total: int) -> Iterator[str]:
    """The changes, one after another until it fits, with what each leaves; those that save nothing are left out."""
    memory = planner.machine.memory
    assert memory is not None
    for section, key, value in CHANGES:
        own = getattr(recipe, section)
        if getattr(own, key) == value or (key == "lora_rank" and own.lora_rank):
            continue
        if key == "micro_batch_tokens":
            value = recipe.rollout.max_tokens
        try:
            changed = replace(recipe, **{section: replace(own, **{key: value})})
            smaller = planner.plan(changed).total
        except ValueError:  # settings that exclude each other
            continue
        if smaller < total:
            shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
            yield f"  --set {section}.{key}={shown} leaves {gib(smaller)}"
            recipe, total = changed, smaller
        if total <= memory:
            return
    yield "  it still does not fit; take a smaller model, fewer model.max_pixels or a lower rollout.max_tokens"
