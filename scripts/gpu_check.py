"""Is training right and fast on this GPU? It begins nothing after eight minutes; without a GPU it runs on the CPU.

    python scripts/gpu_check.py --json found.json

It builds a Qwen2.5-VL of random weights, so that it needs torch, transformers and this checkout alone: no vLLM, no
network. Each check prints one line: ok, failed or skipped, its name, what was found, and the bar. The exit code is 1 if
a check failed.

    accuracy         a GRPO step in float32 against the same on the CPU; in bfloat16 against float32
    kernels          which attention kernel ran: in the tower, for the prompt, where completions continue it
    steps            tokens/s, the parts of a step, recomputed activations, peak memory against the dry run's claim
    kernels-float32  the same in float32
    trl              the time of TRL's step, where TRL is installed
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
sys.path += [str(CHECKOUT / part) for part in ("scripts", "scripts/bench", "tests")]
if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # one card; TRL would take all
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import torch  # noqa: E402
from gpu_checks.accuracy import parity  # noqa: E402
from gpu_checks.bench import SHAPES, Bench, Result, skipped  # noqa: E402
from gpu_checks.kernels import attention_kernels  # noqa: E402
from gpu_checks.steps import steps  # noqa: E402
from gpu_checks.trl_step import against_trl  # noqa: E402
from transformers.utils.logging import disable_progress_bar  # noqa: E402

CHECKS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "accuracy": parity,
    "kernels": lambda bench: attention_kernels(bench, "bfloat16"),
    "steps": lambda bench: steps(bench, compute(bench)),
    "kernels-float32": lambda bench: attention_kernels(bench, "float32"),
    "trl": lambda bench: against_trl(bench, compute(bench)),
}
"""The most important first."""
STATES = {True: "ok", False: "failed", None: "skipped"}


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    device = torch.device(options.device)
    disable_progress_bar()
    warnings.filterwarnings("ignore", module="trl")
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 is to be float32
    size = options.size or ("200m" if device.type == "cuda" else "tiny")
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(size, device, Path(folder))
        about = describe(bench, size)
        print(*(f"{name}: {value}" for name, value in about.items()), sep="\n", flush=True)
        for name in options.only or CHECKS:
            bench.free()
            for result in within(name, CHECKS[name](bench), began + 60 * options.minutes):
                results.append(result)
                print(line(result), flush=True)
    failed = sum(result.passed is False for result in results)
    print(f"{failed} of {len(results)} checks failed, {time.monotonic() - began:.0f} s")
    if options.json:
        rows = [{**vars(result), "state": STATES[result.passed]} for result in results]
        options.json.write_text(json.dumps({"about": about, "checks": rows}, indent=1) + "\n")
    return int(failed > 0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--size", choices=list(SHAPES), help="parameters; by default 200m on a GPU and tiny on the CPU")
    parser.add_argument("--minutes", type=float, default=8.0, help="no check begins after this")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write what was found to this file too")
    parser.add_argument("--only", nargs="+", choices=list(CHECKS), help="these checks alone")
    options = parser.parse_args(arguments)
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device is cuda, but PyTorch sees no GPU; write --device cpu")
    if options.json and not options.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    return options


def compute(bench: Bench) -> str:
    """The precision that `auto` is."""
    return "bfloat16" if bench.gpu else "float32"


def within(name: str, check: Iterator[Result], end: float) -> Iterator[Result]:
    """The results of a check until the time is over."""
    while time.monotonic() < end:
        if (result := next(check, None)) is None:
            return
        yield result
    yield skipped(f"{name}, or the rest of it", "--minutes are over")


def describe(bench: Bench, size: str) -> dict[str, str]:
    policy, shape = bench.policy(bench.recipe()), bench.shape
    prompt = len(policy.prompt(bench.pages()[0]))
    weights = f"{policy.model.num_parameters():,} weights"
    machine = torch.cuda.get_device_name() if bench.gpu else f"CPU, {torch.get_num_threads()} threads"
    return {
        "device": f"{machine}; Python {platform.python_version()}, torch {torch.__version__}",
        "policy": f"Qwen2.5-VL, {size}: {weights}",
        "step": f"{shape.pages} pages of {prompt:,} tokens x {shape.group_size} completions of {shape.tokens}",
    }


def line(result: Result) -> str:
    return f"{STATES[result.passed]:<8}{result.name:<46}{result.figure:<52}  {result.bar}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
