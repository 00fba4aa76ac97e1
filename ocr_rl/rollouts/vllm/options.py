"""Options of the two vLLM engines: one starts a process (`engine`), the other uses servers (`server_engine`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class VllmOptions:
    """How vLLM runs, how long to wait for it, and what is checked."""

    rows: int = 256
    """Completions decoded at a time."""
    max_model_len: int = 8192
    """Tokens of a prompt and its completion; pages that need more are refused."""
    stop_repetition: tuple[int, int] | None = None
    """(length, count): a row ends when its last tokens repeat a pattern of at most `length` tokens `count` times."""
    tolerance: float | None = None
    """Mean absolute difference of log probabilities that the check after a sync accepts; None: by dtype, see
    `logprob_check.DEFAULT_TOLERANCES`."""
    timeout_s: float = 300.0
    """A process that is silent for this long is replaced, and a server leaves if others are left. One step of the model
    must fit."""
    load_timeout_s: float = 1200.0
    """The same while a process starts, or while weights are loaded."""

    # For a process
    kv_cache_gib: float = 0.0
    """Memory for keys and values; 0: 2 GiB on a CPU, what `memory_share` leaves on a GPU."""
    memory_share: float = 0.45
    """Share of the GPU's memory that vLLM may use for weights, keys and values."""
    eager: bool | None = None
    """True: no CUDA graphs, hence a faster start; None: on a CPU only."""
    sleep: bool = False
    """Give the GPU's memory back between calls of `stream`; needs CUDA."""
    log: Path | None = None
    """File for vLLM's output; None: a temporary one."""

    # For servers
    transfer: Literal["nccl", "folder"] = "nccl"
    """How weights get to the servers: from GPU to GPU (not yet run on a GPU), or as files."""
    transfer_folder: Path | None = None
    """For "folder": trainer and servers must see it under this path. It holds one copy of the weights until `close`."""
    patience_s: float = 300.0
    """How long all servers may be unreachable."""
