"""TRL 1.16's trainers as oracles: their arithmetic on our tensors, with model and engine stubbed.

A trainer is a namespace of the fields that the called method reads. Tests import TRL through this module alone.
"""

import warnings
from collections import defaultdict
from types import SimpleNamespace

import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RewardTrainer, RLOOTrainer
    from trl.experimental.orpo import ORPOTrainer

ACCELERATOR = SimpleNamespace(
    num_processes=1,
    process_index=0,
    device=torch.device("cpu"),
    reduce=lambda tensor, reduction: tensor,
    gather=lambda tensor: tensor,
    gather_for_metrics=lambda tensor: tensor,
)


def of_a_batch(b):
    """The inputs of a loss that follow from the mask."""
    ids = torch.zeros(b.mask.shape, dtype=torch.long)
    return {
        "prompt_ids": ids[:, :1],
        "prompt_mask": torch.ones_like(ids[:, :1]),
        "completion_ids": ids,
        "completion_mask": b.mask.long(),
        "advantages": b.advantages,
    }


def grpo_loss(b, loss_type, *, level="token", clip_low=0.2, clip_high=0.2, beta=0.0, max_tokens=10, weights=None):
    """`GRPOTrainer._compute_loss` -> loss, gradient by logprobs, metrics."""
    logprobs = b.logprobs.clone().requires_grad_()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        accelerator=ACCELERATOR,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        aux_loss_enabled=False,
        beta=beta,
        current_gradient_accumulation_steps=1,
        epsilon_low=clip_low,
        epsilon_high=clip_high,
        importance_sampling_level=level,
        loss_type=loss_type,
        max_completion_length=max_tokens,
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=weights is not None,
        vllm_importance_sampling_correction=weights is not None,
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
    )
    inputs = of_a_batch(b) | {
        "old_per_token_logps": b.old,
        "ref_per_token_logps": b.ref,
        "num_items_in_batch": b.mask.sum(),
        "importance_sampling_ratio": weights,
    }
    loss = GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.detach(), logprobs.grad, trainer._metrics["train"]


def rloo_loss(b, *, clip_low=0.2, clip_high=0.2):
    """`RLOOTrainer._compute_loss` -> loss, gradient by logprobs."""
    logprobs = b.logprobs.clone().requires_grad_()
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kwargs: (logprobs, torch.zeros_like(logprobs), None),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        epsilon_low=clip_low,
        epsilon_high=clip_high,
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
    )
    inputs = of_a_batch(b) | {"old_logps": (b.old * b.mask).sum(1)}
    loss = RLOOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return loss.detach(), logprobs.grad


def of_scored_tokens(logprobs, mask):
    """A model's outputs for the preference trainers: log probabilities, 0 outside the completion; one prompt token."""
    known = torch.where(mask, logprobs, 0.0)
    zeros = torch.zeros_like(known)
    outputs = SimpleNamespace(log_probs=known, entropy=zeros, mean_logits=zeros, is_top1=mask)
    wide = torch.nn.functional.pad(mask, (1, 0)).long()
    inputs = {"input_ids": torch.ones_like(wide), "attention_mask": torch.ones_like(wide), "completion_mask": wide}
    return lambda **kwargs: outputs, inputs


PREFERENCES = {
    "accelerator": ACCELERATOR,
    "aux_loss_enabled": False,
    "model": SimpleNamespace(training=True),
    "precompute_ref_logps": True,
    "_total_train_tokens": 0,
    "_tp_size": 1,
}


def dpo_loss(chosen, rejected, ref_chosen, ref_rejected, mask, loss_type, *, beta, label_smoothing=0.0):
    """`DPOTrainer._compute_loss`. chosen, rejected: (B, T) with gradient; references (B,); mask (2B, T)."""
    trainer = SimpleNamespace(
        **PREFERENCES,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_types=[loss_type],
        loss_weights=[1.0],
        beta=beta,
        label_smoothing=label_smoothing,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
    )
    model, inputs = of_scored_tokens(torch.cat([chosen, rejected]), mask)
    inputs |= {"ref_chosen_logps": ref_chosen, "ref_rejected_logps": ref_rejected}
    return DPOTrainer._compute_loss(trainer, model, inputs, False), trainer._metrics["train"]


def kto_loss(logprobs, ref, desirable, mismatched, ref_mismatched, mask, *, beta, weights):
    """`KTOTrainer._compute_loss`. logprobs: (B, T) with gradient; the others (B,)."""
    trainer = SimpleNamespace(
        **PREFERENCES,
        _compute_kl_logps=lambda model, batch: mismatched,
        calculate_KL=True,
        loss_type="kto",
        beta=beta,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
        _metrics={"train": defaultdict(list)},
    )
    model, inputs = of_scored_tokens(logprobs, mask)
    inputs |= {"label": desirable, "ref_logps": ref, "ref_KL_logps": ref_mismatched}
    return KTOTrainer._compute_loss(trainer, model, inputs, False)


def orpo_log_odds_loss(chosen, rejected, *, beta):
    """`ORPOTrainer.odds_ratio_loss`: (B,) terms subtracted from the likelihood loss, in float32."""
    return ORPOTrainer.odds_ratio_loss(SimpleNamespace(beta=beta, accelerator=ACCELERATOR), chosen, rejected)[0]


def reward_model_loss(chosen, rejected, *, margin, centring):
    """`RewardTrainer.compute_loss` of scores (B,)."""
    trainer = SimpleNamespace(
        accelerator=ACCELERATOR,
        args=SimpleNamespace(center_rewards_coefficient=centring),
        model=SimpleNamespace(training=True),
        _total_train_tokens=0,
        _tp_size=1,
        _metrics={"train": defaultdict(list)},
    )
    outputs = SimpleNamespace(logits=torch.cat([chosen, rejected])[:, None])
    inputs = {"attention_mask": torch.ones(1)} | ({} if margin is None else {"margin": margin})
    return RewardTrainer.compute_loss(trainer, lambda **kwargs: outputs, inputs), trainer._metrics["train"]


def rollout(trainer_class, rewards, *, lengths=None, logprobs=None, ref=None, sampling=None, **options):
    """`_generate_and_score_completions` of P x G completions: TRL's advantages and importance ratios.

    rewards: (P, G) or, with K reward functions, (P, G, K). logprobs, ref and sampling are (B, T), lengths of B.
    """
    pages, group_size, *functions = rewards.shape
    count = pages * group_size
    lengths = lengths or [1] * count
    logprobs = torch.zeros(count, max(lengths)) if logprobs is None else logprobs
    per_function = rewards.reshape(count, *functions or [1])
    prompts, completions = [[1]] * count, [[1] * length for length in lengths]
    sampled = None if sampling is None else [row[:n].tolist() for row, n in zip(sampling, lengths, strict=True)]
    generated = {
        GRPOTrainer: (prompts, completions, None, [""] * count, sampled, {}, None, None),
        RLOOTrainer: (prompts, completions, [""] * count),
    }[trainer_class]
    scores = {
        "_generate": lambda prompts: generated,
        "_calculate_rewards": lambda *args: per_function,
        "_get_per_token_logps_and_entropies": lambda model, *args, **kwargs: (
            ref if model == "reference" else logprobs,
            None,
            None,
        ),
    }
    fixed = {
        "accelerator": ACCELERATOR,
        "args": SimpleNamespace(
            per_device_train_batch_size=count,
            gradient_checkpointing_kwargs=None,
            steps_per_generation=1,
            gradient_accumulation_steps=1,
            report_to=[],
        ),
        "_tokenizer": SimpleNamespace(pad_token_id=0),
        "pad_to_multiple_of": None,
        "mask_truncated_completions": False,
        "environments": None,
        "environment_factories": None,
        "tools": [],
        "model": SimpleNamespace(training=True, is_gradient_checkpointing=False),
        "ref_model": "reference",
        "num_generations": group_size,
        "num_iterations": 1,
        "beta": 0.0,
        "use_vllm": sampling is not None,
        "vllm_importance_sampling_correction": sampling is not None,
        "vllm_importance_sampling_clip_min": None,
        "reward_funcs": [None] * per_function.shape[1],
        "reward_func_names": [f"reward {i}" for i in range(per_function.shape[1])],
        "reward_weights": torch.ones(per_function.shape[1], dtype=rewards.dtype),
        "reward_clip_range": None,
        "multi_objective_aggregation": "sum_then_normalize",
        "scale_rewards": "group",
        "normalize_advantages": False,
        "log_multimodal": False,
        "_metrics": {"train": defaultdict(list)},
        "_logs": {name: [] for name in ("prompt", "completion", "advantages", "images")}
        | {"rewards": defaultdict(list), "extra": defaultdict(list)},
        "_pending_extra_logs": {},
        "_pending_metrics": {},
    }
    trainer = SimpleNamespace(**scores | fixed | options)
    return trainer_class._generate_and_score_completions(trainer, [{"prompt": "p"} for _ in range(count)])
