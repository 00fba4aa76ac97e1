"""What the size of a chunk of logits costs: CPU seconds and memory of scoring completions and of the backward pass.

    python scripts/bench/logit_chunks.py [VOCABULARY] [WIDTH] [TOKENS]

The states before TOKENS tokens (512), of WIDTH (256), go through a head of random weights to logits of VOCABULARY
tokens (150,000), and back. The memory is what that takes at its peak; weights and their gradients are there before.
Linux only.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch

from ocr_rl.config.schema import ModelConfig
from ocr_rl.models import policy as policy_module
from ocr_rl.models.policy import Policy

SIZES = (2**22, 2**24, 2**26)


def memory(name: str) -> int:
    """KiB: VmRSS, or its peak VmHWM."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def main() -> None:
    vocabulary, width, tokens = [*map(int, sys.argv[1:]), *(150_000, 256, 512)[len(sys.argv) - 1 :]]
    torch.manual_seed(0)
    policy = Policy.load(ModelConfig(path="tiny"))
    policy.head = torch.nn.Linear(width, vocabulary, bias=False)
    states = torch.randn(1, tokens, width).requires_grad_()
    for trained in (policy.head.weight, states):
        trained.grad = torch.zeros_like(trained)
    ids, mask = torch.randint(vocabulary, (1, tokens)), torch.ones(1, tokens, dtype=torch.bool)
    policy.score_hidden(states, ids, mask & (torch.arange(tokens) < 16), 1.0).logprobs.sum().backward()  # warms up
    print("| logits in a chunk | tokens | CPU s | MiB |\n|---|---|---|---|")
    for size in SIZES:
        policy_module.LOGITS_PER_CHUNK = size
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, began = memory("VmRSS"), time.process_time()
        policy.score_hidden(states, ids, mask, 1.0).logprobs.sum().backward()
        seconds, peak = time.process_time() - began, memory("VmHWM")
        line = f"| 2^{size.bit_length() - 1} | {max(1, size // vocabulary)} | {seconds:.1f} | {(peak - before) >> 10} |"
        print(line, flush=True)


if __name__ == "__main__":
    main()
