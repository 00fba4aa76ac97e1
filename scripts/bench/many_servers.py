"""The default run on two `vllm serve` and two processes; one server is killed in the middle and started again.

`PYTHONPATH=tests python scripts/bench/many_servers.py [STEPS [KILLED_AT]]`, on the CPU, with vLLM installed. It ends
with 1 unless the run completes, every row came once, each sync was followed by log probabilities within 1e-5 of the
trainer's (vllm.tolerance, on each server), and the killed server samples again afterwards.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.runs.folder import RunFolder

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
KILLED_AT = int(sys.argv[2]) if len(sys.argv) > 2 else STEPS // 3
BAR = 1e-5
WHOLE = ("--max-num-batched-tokens", "65536")
"""Prompts are read in one piece: vLLM 0.32 fails on a CPU if a seeded request's prompt is cut."""


def count(server: Any, name: str) -> float:
    """The sum of a metric of a vLLM server."""
    with urllib.request.urlopen(f"{server.url}/metrics") as answer:
        found = re.findall(rf"^vllm:{name}(?:{{[^}}]*}})? (\S+)$", answer.read().decode(), re.MULTILINE)
    return sum(map(float, found))


def start_run(folder: Path, servers: list[Any]) -> subprocess.Popen[str]:
    settings = [
        f"vllm.server={json.dumps([server.url for server in servers])}",
        "vllm.transfer=folder",
        f"vllm.transfer_folder={folder / 'weights'}",
        f"vllm.tolerance={BAR}",
    ]
    launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ocr_rl.cli", "train"]
    words = ["--out", str(folder / "run"), "--steps", str(STEPS), *(f"--set={setting}" for setting in settings)]
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, *words],
        stdout=(folder / "out").open("w"),
        stderr=(folder / "err").open("w"),
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
    )


def logged(folder: Path) -> list[dict[str, Any]]:
    file = folder / "run" / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wait_until(condition: Any, run: subprocess.Popen[str]) -> None:
    while not condition():
        if run.poll() is not None:
            raise SystemExit("the run has ended too early")
        time.sleep(0.05)


def main() -> None:
    from helpers.vllm_servers import KEY, Server
    from ocr_rl.rollouts.vllm.server_client import KEY_VARIABLE

    os.environ[KEY_VARIABLE] = KEY
    folder = Path(tempfile.mkdtemp())
    print(f"runs in {folder}, which stays if something is wrong", flush=True)
    servers = [
        Server(folder / f"server{i}", *WHOLE, model=EMBEDDED["tiny"], max_model_len=2048, rows=256) for i in range(2)
    ]
    run = None
    try:
        began = time.monotonic()
        for server in servers:
            server.launch()
        for server in servers:
            server.wait_until_ready()
        print(f"two servers after {time.monotonic() - began:.0f} s", flush=True)
        began = time.monotonic()
        run = start_run(folder, servers)
        wait_until(lambda: len(logged(folder)) >= KILLED_AT, run)
        wait_until(lambda: count(servers[1], "num_requests_running") >= 16, run)  # more than the check of a sync
        open_rows, done = count(servers[1], "num_requests_running"), count(servers[1], "request_success_total")
        servers[1].kill()
        print(f"step {KILLED_AT + 1}: killed a server with {open_rows:g} open requests after {done:g}", flush=True)
        servers[1].start()
        print(f"started again during step {len(logged(folder)) + 1}", flush=True)
        code = run.wait()
        again = count(servers[1], "request_success_total")
    finally:
        if run is not None and run.poll() is None:
            run.terminate()
            run.wait()
        for server in servers:
            server.kill()
    if code:
        raise SystemExit((folder / "err").read_text()[-3000:])
    report(folder, time.monotonic() - began, again)
    shutil.rmtree(folder)


def report(folder: Path, seconds: float, again: float) -> None:
    steps = logged(folder)
    run = RunFolder.open(folder / "run")
    odd = []
    for step in range(1, STEPS + 1):
        rows = Counter(row["page"] for row in run.read_rollouts(step))
        if sum(rows.values()) != 256 or any(number % 16 for number in rows.values()):
            odd.append(step)
    for line in (folder / "err").read_text().splitlines():
        if "answers again" in line:
            print(line)
    worst = [step["mismatch/max"] for step in steps]
    spread = max(step["mismatch/kl"] for step in steps)  # half the mean square of small differences
    print(
        f"{len(steps)} of {STEPS} steps in {seconds:.0f} s; steps with rows that are missing or came twice: {odd or 0}"
    )
    print(f"log probabilities of a step's tokens against the trainer's: root mean square {(2 * spread) ** 0.5:.1e} at")
    print(f"most, worst token {max(worst):.1e}")
    print(f"tokens compared: {sum(step['sampled_tokens'] for step in steps):,}")
    print(f"requests that the killed server has answered since: {again:g}")
    if len(steps) != STEPS or odd or not again:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
