"""Engines from command-line options."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ocr_rl.rollouts.engine import Engine


engine_option = click.option(
    "--engine",
    type=click.Choice(["auto", "transformers", "vllm"]),
    default="auto",
    show_default=True,
    help="What generates; auto takes vLLM where CUDA and vllm are present.",
)


def load_engine(model: str, max_pixels: int, trust_remote_code: bool, engine: str = "auto") -> Engine:
    """An engine for this model; close it."""
    from ocr_rl.config.loader import check_model_path
    from ocr_rl.config.schema import ModelConfig, RolloutConfig

    check_model_path(model)

    from ocr_rl.models.policy import Policy
    from ocr_rl.rollouts.selection import chosen_engine, make_engine

    chosen_engine(engine)
    policy = Policy.load(ModelConfig(path=model, max_pixels=max_pixels, trust_remote_code=trust_remote_code))
    rollout = RolloutConfig(engine=engine)  # type: ignore[arg-type]
    return make_engine(policy, rollout, say=functools.partial(click.echo, err=True))
