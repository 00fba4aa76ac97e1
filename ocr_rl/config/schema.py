"""Recipes: TOML files read into frozen dataclasses, and overridden with `--set section.key=value`.

Each section belongs to the part of the project that it configures. An unknown key names its nearest neighbour. A file
with `base = "grpo"` says only what differs from that recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class ModelConfig:
    path: str = "tiny"
    """A folder, a Hugging Face hub id, a LoRA adapter folder, or `tiny`, the embedded policy."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; `auto` is bfloat16 on CUDA and float32 elsewhere. Trained weights are float32."""
    lora_rank: int = 0
    """Rank of a new LoRA adapter on every linear layer; 0 trains the weights themselves."""
    lora_alpha: int = 32
    """LoRA scaling: the adapter counts lora_alpha / lora_rank."""
    freeze_vision: bool = False
    """Leave the vision tower as it is; projector and language model train."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, but each prompt is computed once per completion."""
    max_pixels: int = 0
    """Upper bound on the pixels of a fitted page; 0 leaves the model's own."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository ships."""


@dataclass(frozen=True)
class DataConfig:
    path: str = ""
    """A folder, a file or a hub id, see `ocr-rl data check --help`; empty renders pages as [render] says."""
    where: dict[str, list[str]] = field(default_factory=dict)
    """Keep rows whose metadata have one of these values, e.g. { level = ["line"] }."""
    columns: dict[str, str] = field(default_factory=dict)
    """Names of a Hugging Face dataset's columns, e.g. { image = "page", text = "ground_truth" }."""
    split: str = "train"
    """Split of a Hugging Face dataset."""
    prompt: str = ""
    """Instruction for pages that bring none."""
    validation: float = 0.2
    """Share of the pages held out, whole documents at a time."""
    evaluate: Literal["all", "tuning", "test"] = "all"
    """Which of the held-out pages are evaluated: all, or one of two halves by document: to choose settings on, or to
    report."""


@dataclass(frozen=True)
class RenderConfig:
    style: str = "carbon"
    """One of `ocr-rl render --help`'s styles."""
    layout: Literal["lines", "columns", "table"] = "lines"
    """What is on a page."""
    pages: int = 1000
    """Pages of the collection, held-out pages included."""
    lines: list[int] = field(default_factory=lambda: [2, 4])
    """Least and most lines per page."""
    characters: list[int] = field(default_factory=lambda: [8, 20])
    """Least and most characters per line."""
    seed: int = 1
    """The collection's own seed: runs with different train.seed share the collection."""


@dataclass(frozen=True)
class RolloutConfig:
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What generates: `auto` takes vLLM where CUDA and vllm are present, transformers otherwise."""
    pages_per_step: int = 16
    """Pages of one batch, P."""
    group_size: int = 16
    """Completions per page, G."""
    temperature: float = 1.0
    """Sampling temperature; the trainer's logits are divided by it too."""
    max_tokens: int = 512
    """Tokens of a completion, end token included; longer ones are cut off and count as truncated."""
    rows: int = 256
    """Completions that the transformers engine decodes at a time."""
    correction: Literal["none", "token", "sequence_mask"] = "token"
    """Of the difference between the engine's log probabilities and the trainer's: token: importance weights, truncated
    at correction_cap; sequence_mask: completions whose mean ratio is outside [1 / cap, cap] are left out."""
    correction_cap: float = 2.0
    """Largest importance weight."""
    ahead: bool = False
    """Sample the next batch while learning from this one, with weights that are one update old. Needs vLLM."""


@dataclass(frozen=True)
class VllmConfig:
    """Of the vLLM engine; the others pass it over."""

    max_model_len: int = 8192
    """Tokens of a prompt and its completion; pages that need more are left out."""
    memory_share: float = 0.45
    """Of the GPU's memory that vLLM may take for weights, keys and values."""
    kv_cache_gib: float = 0.0
    """Memory for keys and values; 0: what memory_share leaves on a GPU, 2 GiB on a CPU."""
    sleep: bool = False
    """Give the GPU's memory back while the trainer learns."""
    stop_repetition: list[int] = field(default_factory=list)
    """[length, count]: stop a completion that ends in `count` times a pattern of at most `length` tokens; [] never."""
    timeout_s: float = 300.0
    """An engine that is silent for so long is started anew."""
    tolerance: float = 0.0
    """Mean difference between the engine's log probabilities and the trainer's that stops training; 0: by precision."""
    server: str = ""
    """Address of a `vllm serve` on other GPUs that samples instead, e.g. http://gpu2:8000; empty: a process here."""
    transfer: Literal["nccl", "folder"] = "nccl"
    """How weights get to that server: from GPU to GPU, or by files."""
    transfer_folder: str = ""
    """For transfer = folder: a folder that both machines see under this path."""


@dataclass(frozen=True)
class RewardConfig:
    weights: dict[str, float] = field(default_factory=lambda: {"similarity": 0.7, "pass_rate": 0.3})
    """Quality parts and their weights in the mean: similarity, pass_rate, exact, numbers, ... (verifiers/README.md)."""
    unsupported: float = 0.35
    """What tests pay at most on a page unlike its reference, or incoherent without one; 1: always in full."""
    end_gate: float = 0.5
    """Factor for a completion without an end token."""
    repetition_gate: float = 0.5
    """Factor for a completion that loops."""
    processes: int = 1
    """Processes that score completions while others are generated; 0: the trainer's own, in between."""
    model: str = ""
    """A checkpoint of `ocr-rl train reward-model` whose score is part of the reward; empty: the rules alone."""
    model_weight: float = 1.0
    """Its share of the reward, above 0; 1: it alone."""
    permute: bool = False
    """Control experiment: shuffle the rewards within each group, so that they say nothing about the completions."""


@dataclass(frozen=True)
class GrpoConfig:
    """GRPO and its family: DAPO, Dr. GRPO, GSPO, CISPO, GDPO, RLOO, REINFORCE."""

    updates_per_batch: int = 1
    """Optimiser steps into which a rollout batch is cut; above 1, old_logprobs are frozen first."""
    inner_epochs: int = 1
    """Passes over a rollout batch, mu."""
    advantage: Literal["group", "leave_one_out", "batch", "decoupled"] = "group"
    """What a reward is compared with: group: mean and deviation of its group; leave_one_out: mean of its siblings
    (RLOO); batch: mean of its group, deviation over the batch (REINFORCE++); decoupled: each part of the reward within
    its group, then their weighted sum over the batch (GDPO)."""
    divide_by_std: bool = True
    """False: Dr. GRPO; with advantage = group only."""
    min_group_std: float = 0.01
    """A group whose rewards' standard deviation is less has advantage 0 and is dropped; group and decoupled only."""
    refill: int = 0
    """Further batches that a step may sample to replace groups without spread; DAPO's dynamic sampling."""
    surrogate: Literal["clip", "cispo", "reinforce"] = "clip"
    """clip: PPO's; cispo: the ratio is a clipped weight, and every token has a gradient; reinforce: no ratio."""
    clip_low: float = 0.2
    """The ratio is clipped below 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above 1 + clip_high; DAPO: 0.28."""
    normalizer: Literal["token", "sequence", "constant"] = "token"
    """token: DAPO; sequence: DeepSeekMath; constant: Dr. GRPO."""
    ratio: Literal["token", "sequence", "product"] = "token"
    """sequence: GSPO; product: the completion as one action, RLOO."""
    beta: float = 0.0
    """Weight of the KL term to the starting policy."""
    kl: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of that KL."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Where the KL counts."""
    reference_every: int = 0
    """Steps after which the policy becomes the reference of the KL; 0: the starting policy stays."""
    mask_truncated: bool = False
    """Leave completions without an end token out of the loss; their rewards still count in the group."""


@dataclass(frozen=True)
class PpoConfig:
    inner_epochs: int = 2
    """Passes over a rollout batch."""
    updates_per_batch: int = 1
    """Optimiser steps into which a pass is cut, whole pages each."""
    clip: float = 0.2
    """The ratio is clipped to [1 - clip, 1 + clip]."""
    value_clip: float = 0.2
    """The critic moves at most so far from what it said before the first update; 0: no clip."""
    value_coefficient: float = 0.1
    """Weight of the critic's loss."""
    gamma: float = 1.0
    """Discount per token."""
    lam: float = 0.95
    """Of generalised advantage estimation; 1: the critic is a baseline only, 0: it is trusted after one token."""
    whiten: bool = True
    """Advantages of a rollout batch get mean 0 and variance 1."""
    critic: Literal["shared", "detached", "separate"] = "shared"
    """shared: a head on the policy's trunk, which learns from both losses; detached: the critic's loss trains the head
    alone; separate: a copy of the policy with a head."""
    critic_width: int = 0
    """Width of the head's hidden layer; 0: it is linear."""
    critic_rate: float = 1.0
    """The critic's own weights learn at train.learning_rate times this."""
    critic_warmup: int = 0
    """Steps at the start in which the critic alone learns."""
    beta: float = 0.0
    """Weight of the KL to the starting policy."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where the KL counts."""
    kl: Literal["k1", "k2", "k3"] = "k1"
    """Estimator of that KL; in the loss k2 or k3."""
    kl_target: float = 0.0
    """KL per completion, in nats, that beta is adapted to from step to step; 0: beta stays."""
    missing_end_penalty: float = 0.0
    """Taken from the reward of a completion without an end token, beside reward.end_gate."""


@dataclass(frozen=True)
class RewardModelConfig:
    margin: float = 0.1
    """Least difference between the rewards of a pair's two completions."""
    pairs_per_page: int = 1
    """1: the best against the worst; above, every two that are a margin apart, at most so many."""
    centring: float = 0.01
    """Weight of (R_w + R_l)^2, which keeps scores around 0."""
    width: int = 0
    """Width of the head's hidden layer; 0: it is linear."""
    rate: float = 1.0
    """The head learns at train.learning_rate times this."""


@dataclass(frozen=True)
class PairsConfig:
    """Preferences that dpo, orpo and kto learn from."""

    path: str = ""
    """A file of `ocr-rl pairs` (kto: with --labels) on pages of the dataset; empty samples fresh groups each step."""
    choose: Literal["best-worst", "margin", "best-of-n"] = "best-worst"
    """Of a group: the best completion against the worst; every two that are a margin apart; the best against all that
    are a margin worse."""
    margin: float = 0.1
    """Least difference between the rewards of a pair."""
    most: int = 8
    """Pairs of a page at most, where choose = margin."""
    label: Literal["mean", "threshold"] = "mean"
    """kto: a completion is good if its reward is above its group's mean, or reaches the threshold."""
    threshold: float = 0.5
    """Reward of a good completion, where label = threshold."""
    dead_zone: float = 0.05
    """Completions that are this close to the mean or the threshold are neither good nor bad."""


@dataclass(frozen=True)
class DpoConfig:
    loss: Literal["sigmoid", "ipo", "hinge", "robust"] = "sigmoid"
    """sigmoid: DPO; robust: DPO for wrongly labelled pairs; hinge: SLiC's; ipo: IPO."""
    beta: float = 0.1
    """How closely the policy is held to its start: higher is closer. IPO's tau."""
    label_smoothing: float = 0.0
    """Share of pairs taken to be labelled wrongly; sigmoid and robust only."""
    reference: Literal["live", "precomputed"] = "live"
    """live: a copy of the weights as they were; precomputed: what they say of all of pairs.path is kept in its place,
    and no step has a forward pass for it."""
    length_average: bool = False
    """Margins of mean log probabilities per token instead of sums: IPO as TRL has it."""


@dataclass(frozen=True)
class KtoConfig:
    beta: float = 0.1
    """How closely the policy is held to its start: higher is closer."""
    desirable_weight: float = 1.0
    """Weight of a good completion's loss."""
    undesirable_weight: float = 1.0
    """Weight of a bad completion's loss."""
    balance: bool = False
    """Weigh both kinds further, so that they count as if there were as many of each in the step."""


@dataclass(frozen=True)
class OrpoConfig:
    beta: float = 0.1
    """Weight of the odds ratio beside the likelihood; the paper's lambda."""


@dataclass(frozen=True)
class TrainConfig:
    steps: int = 60
    """Optimiser steps, a batch each, at most; 0: none, or, where [budget] limits the run, as many as it allows."""
    seed: int = 0
    """Fixes page order, sampling on the transformers engine, and results on one machine."""
    learning_rate: float = 1e-6
    """Peak rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up; linear and cosine fall towards 0 after the last step."""
    warmup_steps: int = 0
    """Steps over which the rate rises from 0."""
    weight_decay: float = 0.0
    """AdamW's."""
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    """AdamW's."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    micro_batch_tokens: int = 16384
    """Completion tokens, padding included, that one backward pass may hold. Does not change the result."""
    eval_every: int = 0
    """Steps between evaluations on held-out pages; 0: before and after training only."""
    eval_pages: int = 200
    """Held-out pages to evaluate on at most; 0: all."""
    checkpoint_every: int = 0
    """Steps between checkpoints; 0: the last step only."""
    keep_checkpoints: int = 2
    """Older checkpoints are deleted."""
    keep_best: Literal["", "cer", "cer_capped", "wer", "exact", "similarity", "pass_rate", "reward"] = ""
    """Save the step whose evaluation is the best by this metric, and never delete it; checkpoints/best.json names it.
    Needs eval_every; empty keeps the newest only."""
    tensorboard: bool = True
    """Write TensorBoard events, if tensorboard is installed."""
    wandb: bool = False
    """Log to Weights & Biases, which must be installed and logged in."""


@dataclass(frozen=True)
class BudgetConfig:
    """What ends a run before train.steps: the step that uses it up is the last one. 0: no limit."""

    pages: int = 0
    """Pages read, each as often as it is drawn."""
    completions: int = 0
    """Completions sampled, those that nothing is learned from included."""
    seconds: float = 0.0
    """Seconds of computing in steps: of all processes' CPU time; on a GPU, of the clock."""
    evaluations: int = 0
    """Evaluations on held-out pages on the way, evenly spaced over the run, beside those of train.eval_every."""


@dataclass(frozen=True)
class Recipe:
    algorithm: Literal["grpo", "sft", "dpo", "kto", "orpo", "ppo", "reward-model"] = "grpo"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    render: RenderConfig = field(default_factory=RenderConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    vllm: VllmConfig = field(default_factory=VllmConfig)
    reward: RewardConfig = field(default_factory=RewardConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    ppo: PpoConfig = field(default_factory=PpoConfig)
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    dpo: DpoConfig = field(default_factory=DpoConfig)
    kto: KtoConfig = field(default_factory=KtoConfig)
    orpo: OrpoConfig = field(default_factory=OrpoConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
