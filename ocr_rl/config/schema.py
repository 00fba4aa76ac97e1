"""The settings of a recipe: their types, bounds and defaults, in a section for each part of the project.

Pydantic checks types and bounds whenever one of these classes is made, from a file or in Python. Rules between several
settings are in `ocr_rl.config.validation`.
"""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict
from pydantic.dataclasses import dataclass

from ocr_rl.metric_names import BestBy
from ocr_verifiers.outputs.conversion import OutputFormat

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

Flag = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(ge=1)]
Seed = Annotated[int, Strict(), Field(ge=0, le=2**32 - 1)]
"""What every generator takes: NumPy's and vLLM's have 32 bits."""
Amount = Annotated[float, Strict(), Field(ge=0)]
AboveZero = Annotated[float, Strict(), Field(gt=0)]
Share = Annotated[float, Strict(), Field(ge=0, le=1)]
OpenShare = Annotated[float, Strict(), Field(gt=0, lt=1)]
"""A share of something that leaves some of it."""
Fraction = Annotated[float, Strict(), Field(gt=0, le=1)]
"""A share of something that takes some of it."""
Range = Annotated[list[Positive], Field(min_length=2, max_length=2)]
"""The lowest and the highest value."""
Pair = Annotated[list[str], Field(min_length=2, max_length=2)]
Code = Annotated[str, AfterValidator(lambda spec: str(Path(spec).absolute()))]
"""FILE.py:NAME, found from every folder afterwards."""
Values = Annotated[list[str], BeforeValidator(lambda value: value if isinstance(value, list) else [value])]
"""One string or several."""


def _addresses(value: object) -> object:
    return value if isinstance(value, list) else [value] if value != "" else []


Addresses = Annotated[list[str], BeforeValidator(_addresses)]
"""One, several, or none, which may be written ""."""


@dataclass(frozen=True, config=STRICT)
class ModelConfig:
    path: str = ""
    """A folder, a Hugging Face hub id, a LoRA adapter folder, or an embedded policy, `tiny` or `tiny-scans`; empty:
    `tiny-scans` for a dataset, `tiny` for rendered pages."""
    compute_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of the forward pass; `auto` is bfloat16 on CUDA and float32 elsewhere. Trained weights are float32."""
    lora_rank: Count = 0
    """Rank of a new LoRA adapter; 0 trains the weights themselves, or the adapter at `path`."""
    lora_alpha: Positive = 32
    """LoRA scaling: the adapter's output is multiplied by lora_alpha / lora_rank."""
    lora_targets: Values = field(default_factory=lambda: ["all-linear"])
    """Linear layers that get an adapter: "all-linear" (all but the head), "language" (those of the language model),
    "vision" (the others: vision tower and projector), or those whose names end so, e.g. ["q_proj", "v_proj"]."""
    freeze_vision: Flag = False
    """Do not train the vision tower; projector and language model are trained."""
    gradient_checkpointing: Flag = False
    """Recompute activations in the backward pass: less memory, and about twice the time."""
    attn_implementation: str = "auto"
    """Attention, by its name in transformers: `eager`, `sdpa`, `flash_attention_2`, ...; `auto` is its own choice."""
    quantize: Literal["", "nf4"] = ""
    """nf4: keep the frozen weights in 4 bits (QLoRA), by bitsandbytes; for LoRA, with the transformers engine."""
    max_pixels: Count = 0
    """Upper bound on the pixels of a fitted page; 0 keeps the model's own."""
    longest_side: Count = 0
    """Upper bound on the longer side of a fitted page, in pixels; 0 keeps the preset's, or none."""
    trust_remote_code: Flag = False
    """Run Python code that the model's repository ships."""
    preset: str = "auto"
    """How the model is asked and what it answers in: the prompt, prompt_order, longest_side and output of its makers.
    `auto` recognises checkpoints by config and name, `none` sends the image alone, or a name
    (docs/prompts-and-outputs.md). Keys of the recipe, data.prompt included, have priority."""
    prompt_order: Literal["auto", "image_first", "text_first"] = "auto"
    """Which comes first in the prompt; `auto`: the preset's order, otherwise the image."""
    chat_template: str = ""
    """A .jinja file that replaces the checkpoint's chat template."""
    output: Literal["auto", OutputFormat] = "auto"
    """What the model writes, converted to markdown before it is scored (docs/verifiers/outputs.md); `auto`: what the
    preset says, otherwise markdown."""


@dataclass(frozen=True, config=STRICT)
class DataConfig:
    path: str = ""
    """A folder, a file or a hub id, see `ocr-rl data check --help`; empty renders pages as [render] says."""
    where: dict[str, Values] = field(default_factory=dict)
    """Keep rows whose metadata have one of these values, e.g. { level = ["line"] }."""
    columns: dict[str, str] = field(default_factory=dict)
    """Names of a Hugging Face dataset's columns, e.g. { image = "page", text = "ground_truth" }."""
    on_error: Literal["stop", "skip"] = "stop"
    """What a page with a problem does (an empty text, the same page twice, an image that cannot be read): stop before
    training, or be left out and listed in skipped.jsonl."""
    split: str = ""
    """Pages of this split only; empty takes all, and `train` of a Hugging Face dataset."""
    level: Literal["page", "region", "line"] = "page"
    """What becomes a page to transcribe, of PAGE-XML, ALTO and hOCR: their pages, text regions or lines."""
    mask: Flag = True
    """What is outside of the polygon of a region or line is white; otherwise the box around it shows the page."""
    deskew: Flag = False
    """Lines are turned until the ends of their baseline are level."""
    padding: Annotated[int, Strict(), Field(ge=0, le=1000)] = 0
    """Pixels on each side of a region or line: white with mask, else the page's own."""
    prompt: str = ""
    """Instruction for pages that have none; empty: the one of model.preset."""
    train: Literal["all", "labelled", "unlabelled"] = "all"
    """Which pages are trained on, of those that are not held out: all, those with a text, or those without one. For the
    latter two, pages without a label may be in the dataset, and those with one are evaluated, if any is held out."""
    only: str = ""
    """A file of `ocr-rl probe`, or other rows with an id: of the pages to train on, these alone; empty: all."""
    amount: Annotated[int, Strict(), Field(ge=0)] = 0
    """Train on so many of these pages, drawn once: those of a smaller amount are among those of a larger; 0: all."""
    validation: OpenShare = 0.2
    """Share of the pages held out, whole documents at a time."""
    evaluate: Literal["all", "tuning", "test"] = "all"
    """Which held-out pages are evaluated: all, or one of two halves by document: one to choose settings on, one to
    report. With test, train.patience and train.keep_best look at the other half during training. With either, the best
    step, if train.keep_best keeps it, is the one that is evaluated after training."""


@dataclass(frozen=True, config=STRICT)
class RenderConfig:
    style: str = "carbon"
    """One of the styles that `ocr-rl render --help` lists."""
    layout: Literal["lines", "columns", "table", "html-table", "formulas"] = "lines"
    """What is on a page: lines of one or two columns; a table, whose text is Markdown or HTML; equations in LaTeX."""
    pages: Annotated[int, Strict(), Field(ge=2)] = 1000
    """Pages of the collection, held-out pages included: at least one to train on and one held out."""
    lines: Range = field(default_factory=lambda: [2, 4])
    """Lowest and highest number of lines per page."""
    characters: Range = field(default_factory=lambda: [8, 20])
    """Lowest and highest number of characters per line."""
    seed: Seed = 1
    """Seed of the collection: runs with different train.seed share the collection."""


@dataclass(frozen=True, config=STRICT)
class RolloutConfig:
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """What generates: `auto` takes vLLM where CUDA and vllm are present, transformers otherwise."""
    pages_per_step: Positive = 16
    """Pages of a batch, P."""
    group_size: Positive = 16
    """Completions per page, G; at least 2, but for PPO: a group of one has no advantage."""
    temperature: Annotated[float, Strict(), Field(ge=0.01, le=100)] = 1.0
    """Sampling temperature; the trainer's logits are divided by it too. Greedy groups have no spread, and vLLM raises
    anything below 0.01 to 0.01."""
    max_tokens: Positive = 512
    """Tokens of a completion, end token included; longer ones are cut off and count as truncated."""
    rows: Positive = 256
    """Completions that an engine decodes at a time."""
    readers: Annotated[int, Strict(), Field(ge=0, le=64)] = 2
    """Threads that read pages ahead of the transformers engine and the learner; 0: read when needed."""
    correction: Literal["none", "token", "token_mask", "sequence_mask"] = "token"
    """How the difference between the engine's log probabilities and the trainer's is corrected. token: importance
    weights, truncated at correction_cap; token_mask: the same, and tokens whose ratio is outside [1 / cap, cap] are
    left out (IcePop); sequence_mask: completions whose mean ratio is outside [1 / cap, cap] are left out."""
    correction_cap: Annotated[float, Strict(), Field(ge=1)] = 2.0
    """Largest importance weight."""
    ahead: Flag = False
    """Sample the next batch while learning from this one, with weights that are one update old. Needs vLLM."""


@dataclass(frozen=True, config=STRICT)
class VllmConfig:
    max_model_len: Positive = 8192
    """Tokens of a prompt and its completion; pages that need more are left out."""
    memory_share: OpenShare = 0.45
    """Share of the GPU's memory that vLLM may take for weights, keys and values."""
    kv_cache_gib: Amount = 0.0
    """Memory for keys and values; 0: what memory_share leaves on a GPU, 2 GiB on a CPU."""
    sleep: Flag = False
    """Give the GPU's memory back while the trainer learns."""
    stop_repetition: Annotated[list[Positive], Field(max_length=2)] = field(default_factory=list)
    """[length, count]: stop a completion that ends in `count` times a pattern of at most `length` tokens; [] never."""
    timeout_s: Annotated[float, Strict(), Field(gt=0, le=1_000_000)] = 300.0
    """An engine that is silent for this long is restarted."""
    tolerance: Amount = 0.0
    """Mean difference between the engine's log probabilities and the trainer's that stops training; 0: by precision."""
    server: Addresses = field(default_factory=list)
    """Address of a `vllm serve` on other GPUs that samples instead, e.g. http://gpu2:8000, or a list of several, which
    share the pages; empty: a process here."""
    transfer: Literal["nccl", "folder"] = "nccl"
    """How weights get to these servers: from GPU to GPU, or by files."""
    transfer_folder: str = ""
    """For transfer = folder: a folder that all machines see under this path."""


@dataclass(frozen=True, config=STRICT)
class RewardConfig:
    weights: dict[str, Amount] = field(default_factory=lambda: {"similarity": 0.7, "pass_rate": 0.3})
    """Parts of the reward and their weights: similarity, pass_rate, exact, ... (docs/verifiers/rewards.md), and those
    of `functions` by name, which weigh 1 if they are not there."""
    functions: list[Code] = field(default_factory=list)
    """Further parts in Python, e.g. ["my_rewards.py:score"]; in a recipe's file relative to its folder."""
    agreement: Literal["siblings", "medoid"] = "siblings"
    """What the part `consensus` compares a completion with: siblings: all others of its group; medoid: the one that
    agrees most with the others."""
    unsupported: Share = 0.35
    """What tests, and parts that look at one side of a page, pay at most on a page unlike its reference, or incoherent
    without one; 1: always in full."""
    end_gate: Share = 0.5
    """Factor for a completion without an end token."""
    repetition_gate: Share = 0.5
    """Factor for a completion that loops."""
    compression_gate: Fraction = 1.0
    """Factor for a completion that loops with variations, by how well it compresses; 1: no gate."""
    wrong_numbers_gate: Fraction = 1.0
    """Factor for a completion none of whose numbers is right; one wrong number costs a tenth at least. 1: no gate, so
    that a digit counts like any other character."""
    normalization: list[str] = field(default_factory=lambda: ["nfc", "whitespace"])
    """Named normalisations before edits are counted, those of CER too: long_s, ligatures, dehyphenate, ..."""
    equivalences: list[Pair] = field(default_factory=list)
    """Pairs of texts that count as equal after that, e.g. [["&c.", "etc."]]."""
    unit: Literal["codepoint", "grapheme"] = "codepoint"
    """What a character is."""
    compat: Literal["", "olmocr"] = ""
    """olmocr: tests pass by olmOCR-bench's own verdicts, holes included."""
    processes: Count = 1
    """Processes that score completions while others are generated; 0: the trainer's own, in between."""
    model: str = ""
    """A checkpoint of `ocr-rl train reward-model` whose score is part of the reward; empty: the rules alone."""
    model_weight: Fraction = 1.0
    """The reward model's share of the reward; 1: the reward model alone."""
    permute: Flag = False
    """Control experiment: shuffle the rewards within each group, so that they say nothing about the completions."""


@dataclass(frozen=True, config=STRICT)
class GrpoConfig:
    updates_per_batch: Positive = 1
    """Optimiser steps into which a rollout batch is cut; above 1, old_logprobs are frozen first. At most
    rollout.pages_per_step."""
    inner_epochs: Positive = 1
    """Passes over a rollout batch, mu."""
    advantage: Literal["group", "leave_one_out", "batch", "decoupled"] = "group"
    """What a reward is compared with. group: mean and deviation of its group; leave_one_out: mean of its siblings
    (RLOO); batch: mean of its group, deviation over the batch (REINFORCE++); decoupled: each part of the reward within
    its group, then their weighted sum over the batch (GDPO)."""
    divide_by_std: Flag = True
    """False: Dr. GRPO; with advantage = group only."""
    min_group_std: Amount = 0.01
    """A group whose rewards' standard deviation is less has advantage 0 and is dropped; group and decoupled only."""
    refill: Count = 0
    """Further batches that a step may sample to replace groups without spread; DAPO's dynamic sampling."""
    surrogate: Literal["clip", "cispo", "reinforce"] = "clip"
    """clip: PPO's; cispo: the ratio is a clipped weight, and every token has a gradient; reinforce: no ratio."""
    clip_low: Share = 0.2
    """The ratio is clipped below 1 - clip_low; 1: not at all."""
    clip_high: Amount = 0.2
    """The ratio is clipped above 1 + clip_high; DAPO: 0.28."""
    normalizer: Literal["token", "sequence", "constant"] = "token"
    """token: DAPO; sequence: DeepSeekMath; constant: Dr. GRPO."""
    ratio: Literal["token", "sequence", "product"] = "token"
    """sequence: GSPO; product: the completion as one action, RLOO."""
    beta: Amount = 0.0
    """Weight of the KL term to the starting policy."""
    kl: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of that KL."""
    kl_in: Literal["loss", "reward"] = "loss"
    """Where the KL counts."""
    returns: Literal["total", "reward_to_go"] = "total"
    """Which rewards count for a token: total: all of its completion; reward_to_go: without the KL penalties of the
    tokens before it, for kl_in = reward and advantages that are not divided by a deviation."""
    credit: Literal["sequence", "alignment"] = "sequence"
    """sequence: every token has its completion's advantage; alignment: the similarity to the reference, and consensus,
    are divided over tokens by the edits that each of them made unavoidable; the rest of the reward stays as it is."""
    credit_lambda: Share = 0.5
    """For credit = alignment: 0: a token answers for its own edits; 1: for all edits after it too."""
    credit_cap: Amount = 2.0
    """For credit = alignment: edits that one token answers for at most, e.g. an end token that leaves out a page; 0: no
    limit."""
    credit_baseline: Literal["batch", "group", "position"] = "batch"
    """For credit = alignment: a token is compared with all tokens of the batch, with those of its page, or with those
    at the same position of the reference."""
    credit_tests: Flag = False
    """For credit = alignment: present and absent tests are paid to the tokens of the passage that they look at, found
    or misread; other tests, and texts that nothing on the page is like, stay with the completion."""
    reference_in_group: Flag = False
    """The known text of a page is one more completion of its group, with the reward that it has."""
    reference_every: Count = 0
    """Steps after which the policy becomes the reference of the KL; 0: the starting policy stays."""
    mask_truncated: Flag = False
    """Leave completions without an end token out of the loss; their rewards still count in the group."""
    mask_common_prefix: Flag = False
    """Leave the tokens with which all completions of a page begin out of the loss: they tell none from another."""


@dataclass(frozen=True, config=STRICT)
class PpoConfig:
    inner_epochs: Positive = 2
    """Passes over a rollout batch."""
    updates_per_batch: Positive = 1
    """Optimiser steps into which a pass is cut, whole pages each; at most rollout.pages_per_step."""
    clip: OpenShare = 0.2
    """The ratio is clipped to [1 - clip, 1 + clip]."""
    value_clip: Amount = 0.2
    """How far the critic may move from its values before the first update; 0: no clip."""
    value_coefficient: Amount = 0.1
    """Weight of the critic's loss."""
    gamma: Share = 1.0
    """Discount per token."""
    estimator: Literal["gae", "n_step", "monte_carlo", "td"] = "gae"
    """How a token's return is estimated: gae: generalised advantage estimation; n_step: rewards of n_step tokens, then
    the critic's value; td: the same after one token; monte_carlo: all later rewards, the critic is a baseline only."""
    lam: Share = 0.95
    """Lambda of estimator = gae; 1: the critic is a baseline only, 0: it is trusted after one token. The other
    estimators ignore it."""
    n_step: Count = 0
    """Tokens whose rewards count before the critic's value; for estimator = n_step, else 0."""
    credit: Literal["sequence", "alignment"] = "sequence"
    """sequence: the reward comes with the last token; alignment: the edits of each token are taken from the reward at
    that token, as in grpo.credit. The sum over a completion is the same."""
    whiten: Flag = True
    """Advantages of a rollout batch get mean 0 and variance 1."""
    critic: Literal["shared", "detached", "separate"] = "shared"
    """shared: a head on the policy's trunk, which learns from both losses; detached: the critic's loss trains the head
    alone; separate: a copy of the policy with a head."""
    critic_width: Count = 0
    """Width of the head's hidden layer; 0: it is linear."""
    critic_rate: AboveZero = 1.0
    """Factor of train.learning_rate for the critic's own weights."""
    critic_warmup: Count = 0
    """Steps at the start in which the critic alone learns."""
    beta: Amount = 0.0
    """Weight of the KL to the starting policy."""
    kl_in: Literal["reward", "loss"] = "reward"
    """Where the KL counts."""
    kl: Literal["k1", "k2", "k3"] = "k1"
    """Estimator of that KL; in the loss k2 or k3."""
    kl_target: Amount = 0.0
    """KL per completion, in nats, that beta is adapted to from step to step; 0: beta stays."""
    missing_end_penalty: Amount = 0.0
    """Subtracted from the reward of a completion without an end token, in addition to reward.end_gate."""


@dataclass(frozen=True, config=STRICT)
class OcdConfig:
    learn: Literal["each", "rest"] = "each"
    """What is learned of a sampled completion. each: the optimal next token after each of its tokens (OCD); rest: the
    rest of the reference after a part of it, cut at random (scheduled sampling)."""
    choice: Literal["likeliest", "uniform", "nearest", "furthest"] = "likeliest"
    """For learn = each, where several tokens are optimal. likeliest: their total probability, so that the policy
    chooses; uniform: all alike, as in the paper; nearest: that of the first position of the reference, so that no text
    is skipped; furthest: of the last."""
    cap: Amount = 4.0
    """Cross-entropy in nats above which a token is not learned; 0: no cap."""
    sft_share: Share = 0.25
    """Share of the loss that is plain SFT on the page's text."""


@dataclass(frozen=True, config=STRICT)
class RewardModelConfig:
    margin: Fraction = 0.1
    """Smallest difference between the rewards of a pair's two completions; equal rewards make no pair."""
    pairs_per_page: Positive = 1
    """1: the best against the worst; above 1: every two that are a margin apart, up to this many."""
    centring: Amount = 0.01
    """Weight of (R_w + R_l)^2, which keeps scores around 0."""
    width: Count = 0
    """Width of the head's hidden layer; 0: it is linear."""
    rate: AboveZero = 1.0
    """Factor of train.learning_rate for the head."""


@dataclass(frozen=True, config=STRICT)
class PairsConfig:
    path: str = ""
    """A file of `ocr-rl pairs` (kto: with --labels) on pages of the dataset; empty samples fresh groups each step."""
    choose: Literal["best-worst", "margin", "best-of-n"] = "best-worst"
    """Which completions of a group make pairs: the best against the worst; every two that are a margin apart; the best
    against all that are a margin worse."""
    margin: Fraction = 0.1
    """Smallest difference between the rewards of a pair; equal rewards make no pair."""
    most: Positive = 8
    """Upper bound on the pairs of a page, where choose = margin."""
    label: Literal["mean", "threshold"] = "mean"
    """kto: a completion is good if its reward is above its group's mean, or reaches the threshold."""
    threshold: Share = 0.5
    """Reward of a good completion, where label = threshold."""
    dead_zone: Share = 0.05
    """Completions that are this close to the mean or the threshold are neither good nor bad."""


@dataclass(frozen=True, config=STRICT)
class DpoConfig:
    loss: Literal["sigmoid", "ipo", "hinge", "robust"] = "sigmoid"
    """sigmoid: DPO; robust: DPO for wrongly labelled pairs; hinge: SLiC's; ipo: IPO."""
    beta: AboveZero = 0.1
    """How closely the policy is held to its start: higher is closer. IPO's tau."""
    label_smoothing: Annotated[float, Strict(), Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs assumed to be labelled wrongly; sigmoid and robust only."""
    reference: Literal["live", "precomputed"] = "live"
    """live: a copy of the starting weights; precomputed: their log probabilities of all of pairs.path are kept instead,
    and no step has a forward pass of the reference."""
    length_average: Flag = False
    """Margins of mean log probabilities per token instead of sums: IPO as in TRL."""


@dataclass(frozen=True, config=STRICT)
class KtoConfig:
    beta: AboveZero = 0.1
    """How closely the policy is held to its start: higher is closer."""
    desirable_weight: Amount = 1.0
    """Weight of a good completion's loss."""
    undesirable_weight: Amount = 1.0
    """Weight of a bad completion's loss."""
    balance: Flag = False
    """Also weight both kinds as if the step had equally many of each."""


@dataclass(frozen=True, config=STRICT)
class OrpoConfig:
    beta: Amount = 0.1
    """Weight of the odds ratio beside the likelihood; the paper's lambda."""


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    steps: Count = 60
    """Largest number of optimiser steps, a batch each; 0: none, or, where [budget] limits the run, as many as it
    allows."""
    seed: Seed = 0
    """Fixes page order, sampling on the transformers engine, and results on one machine."""
    optimizer: Literal["adamw", "adamw_8bit", "paged_adamw_8bit"] = "adamw"
    """AdamW with float32 state, or with state in 8 bits by bitsandbytes; paged: moved to the CPU when a GPU is full."""
    shard: Literal["none", "full", "hybrid"] = "none"
    """With several processes, whether each keeps all weights, gradients and optimiser state, or a part (FSDP2). full:
    divided over all processes; hybrid: over those of a machine, each machine with a whole copy."""
    offload: Flag = False
    """With train.shard, keep the parts, their gradients and the optimiser state in the machine's memory: a layer comes
    to the GPU to compute."""
    learning_rate: Amount = 1e-6
    """Peak rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up; linear and cosine fall towards 0 after the last step."""
    warmup_steps: Count = 0
    """Steps over which the rate rises from 0."""
    weight_decay: Amount = 0.0
    """Weight decay of AdamW."""
    betas: Annotated[list[Annotated[float, Strict(), Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)] = field(
        default_factory=lambda: [0.9, 0.999]
    )
    """Decay rates of AdamW's two moments."""
    max_grad_norm: Amount = 1.0
    """Gradients are scaled down to this norm; 0: no clipping."""
    micro_batch_tokens: Positive = 16384
    """Completion tokens, padding included, that one backward pass may hold. Does not change the result."""
    eval_every: Count = 0
    """Steps between evaluations on held-out pages; 0: before and after training only."""
    eval_pages: Count = 200
    """Upper bound on the held-out pages to evaluate; 0: all."""
    checkpoint_every: Count = 0
    """Steps between checkpoints; 0: the last step only."""
    keep_checkpoints: Positive = 2
    """Older checkpoints are deleted."""
    keep_best: Literal["", BestBy] = ""
    """Save the step whose evaluation is the best by this metric, and never delete it; checkpoints/best.json names it.
    The start counts as step 0. Needs eval_every; empty keeps the newest only."""
    patience: Count = 0
    """End training after this many evaluations in a row that are not better than the best before them or the start, by
    train.keep_best, or else by the first of cer, pass_rate and reward that held-out pages have; 0: never."""
    watch: Flag = True
    """Compare each evaluation with the best one so far, and say so when CER, length, or the difference between pages
    gets worse: a reward may rise meanwhile."""
    stop_on_alarm: Flag = False
    """End training after an evaluation that train.watch finds worse; the last checkpoint is that of this step. Needs
    eval_every."""
    tensorboard: Flag = True
    """Write TensorBoard events, if tensorboard is installed."""
    wandb: Flag = False
    """Log to Weights & Biases, which must be installed and logged in."""

    @property
    def chooses(self) -> bool:
        """Whether evaluations during training decide which step is its result."""
        return bool(self.patience or self.keep_best)


@dataclass(frozen=True, config=STRICT)
class BudgetConfig:
    pages: Count = 0
    """Pages read, counted each time they are drawn."""
    completions: Count = 0
    """Completions sampled, including those that nothing is learned from."""
    seconds: Amount = 0.0
    """Seconds of computing in steps: CPU time of all processes; on a GPU, wall-clock time."""
    evaluations: Count = 0
    """Evaluations on held-out pages, evenly spaced over the run, in addition to those of train.eval_every."""


ALIASES = {
    "rollout.max_num_seqs": "rollout.rows",
    "rollout.one_step_off_policy": "rollout.ahead",
    "reward.test_pay_cap": "reward.unsupported",
    "grpo.dynamic_sampling_batches": "grpo.refill",
    "pairs.max_pairs": "pairs.most",
}
"""Other names of keys, in terms that are usual elsewhere."""

Algorithm = Literal["grpo", "sft", "ocd", "dpo", "kto", "orpo", "ppo", "reward-model"]

OWN_SECTIONS: dict[Algorithm, tuple[str, ...]] = {
    "grpo": ("grpo",),
    "sft": (),
    "ocd": ("ocd",),
    "dpo": ("pairs", "dpo"),
    "kto": ("pairs", "kto"),
    "orpo": ("pairs", "orpo"),
    "ppo": ("ppo",),
    "reward-model": ("reward_model",),
}
"""The sections of one algorithm or a few; the other sections are for all."""


@dataclass(frozen=True, config=STRICT)
class Recipe:
    """What `ocr-rl train` does: an algorithm, and a section for each part of the run."""

    algorithm: Algorithm = "grpo"
    """What trains the policy, see docs/algorithms."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The policy."""
    data: DataConfig = field(default_factory=DataConfig)
    """The pages, and which of them are held out."""
    render: RenderConfig = field(default_factory=RenderConfig)
    """The rendered collection that is used where data.path is empty."""
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    """Batches, and sampling of completions."""
    vllm: VllmConfig = field(default_factory=VllmConfig)
    """The vLLM engine; other engines ignore this section."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """How completions are scored."""
    grpo: GrpoConfig = field(default_factory=GrpoConfig)
    """GRPO and its family: DAPO, Dr. GRPO, GSPO, CISPO, GDPO, RLOO, REINFORCE."""
    ppo: PpoConfig = field(default_factory=PpoConfig)
    """PPO with a critic."""
    ocd: OcdConfig = field(default_factory=OcdConfig)
    """Optimal completion distillation, and SFT on own prefixes."""
    reward_model: RewardModelConfig = field(default_factory=RewardModelConfig)
    """A reward model trained on pairs of completions."""
    pairs: PairsConfig = field(default_factory=PairsConfig)
    """Preferences that dpo, orpo and kto learn from."""
    dpo: DpoConfig = field(default_factory=DpoConfig)
    """DPO and its variants."""
    kto: KtoConfig = field(default_factory=KtoConfig)
    """KTO."""
    orpo: OrpoConfig = field(default_factory=OrpoConfig)
    """ORPO."""
    train: TrainConfig = field(default_factory=TrainConfig)
    """Steps, optimiser, evaluations, checkpoints and logs."""
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    """What ends a run before train.steps: the step that uses it up is the last one. 0: no limit."""
