"""Throughput of vLLM and the transformers engine: the same policy, pages, G and limits, in one run.

    OMP_NUM_THREADS=2 python scripts/bench/vllm_throughput.py --pages 16 --group-size 16

Pages are rendered; the policy is the embedded one unless --model names another. Each engine samples once to warm up and
then --repeats times, alternating; the best time counts. CPU seconds are those of the same call, worker included.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ocr_rl.config.schema import ModelConfig
from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.rollouts.vllm.engine import VllmEngine
from ocr_rl.rollouts.vllm.options import VllmOptions
from ocr_rl.types import Page


@dataclass(frozen=True)
class Run:
    seconds: float
    cpu_seconds: float
    tokens: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--pages", type=int, default=16)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--max-tokens", type=int, default=96)
    parser.add_argument("--rows", type=int, default=256, help="completions decoded at a time")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    policy = Policy.load(ModelConfig(path=options.model))
    sampling = Sampling(options.group_size, 1.0, options.max_tokens)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pages"
        render_collection(folder, options.pages, seed=0, layouts=[Layout()], style=STYLES["carbon"])
        pages = load_pages(folder)
        began = time.monotonic()
        vllm = VllmEngine(policy, VllmOptions(rows=options.rows))
        print(f"vLLM started in {time.monotonic() - began:.1f} s")
        worker = psutil.Process(vllm._supervisor.worker.process.pid)
        engines: dict[str, Engine] = {"transformers": TransformersEngine(policy, options.rows), "vllm": vllm}
        runs: dict[str, list[Run]] = {engine: [] for engine in engines}
        for repeat in range(1 + options.repeats):
            for kind, engine in engines.items():
                run = measure(engine, pages, sampling, repeat, worker)
                runs[kind] += [run] * (repeat > 0)
        peaks = {"transformers": peak_mib(os.getpid()), "vllm": peak_mib(worker.pid)}
        began = time.monotonic()
        vllm.sync(policy)
        sync = time.monotonic() - began
        vllm.close()
    print(
        f"{options.pages} pages x G={options.group_size}, at most {options.max_tokens} tokens, "
        f"{options.rows} rows at a time, {os.cpu_count()} cores, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS')}"
    )
    best = {kind: min(found, key=lambda run: run.seconds) for kind, found in runs.items()}
    for kind, run in best.items():
        print(
            f"{kind:13} {run.seconds:6.2f} s  {run.tokens / run.seconds:7.0f} tokens/s  {run.cpu_seconds:6.2f} CPU s  "
            f"peak {peaks[kind]:,.0f} MiB{' (worker)' if kind == 'vllm' else ''}"
        )
    rates = {kind: run.tokens / run.seconds for kind, run in best.items()}
    print(f"vllm / transformers {rates['vllm'] / rates['transformers']:.2f}; a sync with its check takes {sync:.2f} s")


def measure(engine: Engine, pages: Sequence[Page], sampling: Sampling, seed: int, worker: psutil.Process) -> Run:
    cpu, began = cpu_seconds(worker), time.monotonic()
    groups = engine.generate(pages, sampling, seed)
    seconds = time.monotonic() - began
    tokens = sum(len(c.token_ids) for group in groups for c in group.completions)
    return Run(seconds, cpu_seconds(worker) - cpu, tokens)


def cpu_seconds(worker: psutil.Process) -> float:
    """Of this process and the worker, which is nearly idle while the other engine samples."""
    own, theirs = resource.getrusage(resource.RUSAGE_SELF), worker.cpu_times()
    return own.ru_utime + own.ru_stime + theirs.user + theirs.system


def peak_mib(pid: int) -> float:
    """The peak memory of the process."""
    (line,) = (x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
