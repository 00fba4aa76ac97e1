"""The command that starts a `vllm serve` for a trainer, and the check that it runs with the right settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.vllm.server_client import KEY_VARIABLE, ServerError, VllmServer

VERSION = "0.32"
"""The version of vLLM whose routes are used."""


SIZES = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "vocab_size",
)
"""Keys of a model's config that decide the shapes of its weights."""


class ServerRequirements(NamedTuple):
    """What a trainer needs from a server."""

    dtype: torch.dtype
    max_model_len: int
    """The minimum."""
    transfer: str
    """nccl or folder."""
    tied: bool
    """The output head shares the embedding's weights."""


def serve_command(model: str, required: ServerRequirements, rows: int, port: int) -> str:
    """The shell command that starts a server; the policy's weights replace its own before the first completion."""
    words = [
        *("vllm", "serve", model, "--port", str(port), "--dtype", _name(required.dtype)),
        *("--max-model-len", str(required.max_model_len), "--max-num-seqs", str(rows)),
        *("--max-num-batched-tokens", str(max(4096, required.max_model_len))),
        *("--logprobs-mode", "processed_logprobs"),
        *("--generation-config", "vllm"),  # nothing from the checkpoint
        *("--limit-mm-per-prompt", '{"image": 1, "video": 0}', "--mm-processor-cache-gb", "0"),
        "--enable-scale-out",  # the route that takes and returns token ids
        "--disable-uvicorn-access-log",
    ]
    if required.transfer == "nccl":
        words += ["--weight-transfer-config", '{"backend": "nccl"}']
    return f"VLLM_SERVER_DEV_MODE=1 VLLM_USE_V2_MODEL_RUNNER=0 VLLM_NO_USAGE_STATS=1 {shlex.join(words)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def model_name(policy: Policy) -> str:
    """The checkpoint to serve: the one that the policy, or its adapter's base model, was loaded from."""
    return getattr(policy.base.config, "_name_or_path", "") or policy.source or "MODEL_FOLDER"


def check_server(server: VllmServer, required: ServerRequirements, policy: Policy) -> dict[str, Any]:
    """The server's configuration, if a trainer of this policy can use it.

    Raises:
        ServerUnreachableError: no server answers.
        ValueError: it is not a vLLM server, serves another model, or has other settings; one message names them all.
    """
    try:
        version = str(server.get("/version")["version"])
        if not version.startswith(f"{VERSION}."):
            raise ValueError(f"{server.url} runs vLLM {version}; this version of ocr-rl works with {VERSION}")
        server.get("/v1/models")
        server.get("/weight_info")
        _check_route(server)
        info: dict[str, Any] = server.get("/server_info?config_format=json")["vllm_config"]
        wrong = _wrong_settings(info, required)
        other = list(_other_sizes(Path(info["model_config"]["model"]), policy))
    except (ServerError, KeyError) as error:
        raise ValueError(_wrong_start(server, error)) from None
    if other:
        raise ValueError(
            f"the server at {server.url} serves {info['model_config']['model']}, another model than the trainer's "
            f"{model_name(policy)}: {', '.join(other)}"
        )
    if wrong:
        raise ValueError(f"the server at {server.url} runs with {', '.join(wrong)}")
    return info


def _wrong_settings(info: Mapping[str, Any], required: ServerRequirements) -> list[str]:
    model, load = info["model_config"], info["load_config"]
    backend = (info["weight_transfer_config"] or {}).get("backend")
    parallel = info["parallel_config"]
    rules = [
        (model["dtype"] == str(required.dtype), f"--dtype {model['dtype'].removeprefix('torch.')}"),
        (model["max_model_len"] >= required.max_model_len, f"--max-model-len {model['max_model_len']}"),
        (model["logprobs_mode"] == "processed_logprobs", f"--logprobs-mode {model['logprobs_mode']}"),
        (model["generation_config"] == "vllm", f"--generation-config {model['generation_config']}"),
        (not model["override_generation_config"], "--override-generation-config"),
        (model["quantization"] is None, f"--quantization {model['quantization']}"),
        (info["speculative_config"] is None, "--speculative-config"),
        (
            not (parallel["data_parallel_external_lb"] or parallel["data_parallel_hybrid_lb"]),
            "data-parallel engines that one address does not reach",
        ),
        (required.transfer != "nccl" or backend == "nccl", f"weight transfer backend {backend}"),
        (
            required.transfer == "nccl" or load["load_format"] in ("auto", "safetensors"),
            f"--load-format {load['load_format']}",
        ),
        (
            not required.tied or info["device_config"]["device"] != "cpu",
            "an output head tied to the embedding on a CPU, where vLLM keeps the old head",
        ),
    ]
    return [found for ok, found in rules if not ok]


def _other_sizes(served: Path, policy: Policy) -> Iterator[str]:
    """What differs between the served checkpoint and the policy, if the checkpoint can be read here.

    vLLM cannot be used any more once it has begun to load weights of other shapes.
    """
    try:
        theirs = json.loads((served / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # on the server's machine, or on the hub
        return
    ours = policy.base.config.to_dict()
    for part in ("", "text_config", "vision_config"):
        one, other = (theirs, ours) if not part else (theirs.get(part, {}), ours.get(part, {}))
        for key in SIZES:
            if key in one and key in other and one[key] != other[key]:
                yield f"{part}{part and '.'}{key} is {one[key]}, not {other[key]}"


def _check_route(server: VllmServer) -> None:
    """An empty request is a bad request (400) if completions can be requested."""
    try:
        server.post("/inference/v1/generate", {})
    except ServerError as error:
        if error.status not in (400, 422):
            raise


def _wrong_start(server: VllmServer, error: Exception) -> str:
    if isinstance(error, ServerError) and error.status == 401:
        return f"the server at {server.url} requires a key; set the variable {KEY_VARIABLE} to its --api-key"
    if isinstance(error, ServerError) and error.status == 403:
        return f"the server at {server.url} was started without --enable-scale-out"
    if isinstance(error, ServerError) and error.status == 404:
        return f"the server at {server.url} is not a vLLM server, or was started without VLLM_SERVER_DEV_MODE=1"
    return f"the server at {server.url} does not answer as vLLM {VERSION} does: {error}"
