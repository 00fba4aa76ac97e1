"""Two processes that train with two servers: what one process samples, whatever happens to a server."""

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest

from helpers.little_servers import LittleServer
from ocr_rl.config.schema import ModelConfig
from ocr_rl.models.policy import Policy
from ocr_rl.runs.folder import RunFolder

SMALL = "render.pages=12 rollout.pages_per_step=4 rollout.group_size=2 rollout.max_tokens=6 reward.processes=1"


def tiny():
    return Policy.load(ModelConfig(path="tiny"))


@pytest.fixture
def servers():
    running = [LittleServer(tiny, max_rows=8) for _ in range(2)]
    for server in running:
        server.settings["model_config"]["max_model_len"] = 100_000
    yield running
    for server in running:
        server.kill()


def train(servers, folder, *options, command=("--steps", "5")):
    """Two processes, by torchrun: (exit code, stdout, stderr)."""
    settings = [*SMALL.split(), "vllm.transfer=folder", f"vllm.transfer_folder={folder / 'weights'}", *options]
    urls = json.dumps([server.url for server in servers])
    words = [f"--set={setting}" for setting in (*settings, f"vllm.server={urls}")]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "ocr_rl.cli", "train"]
    process = subprocess.run(
        [sys.executable, *launcher, "grpo", "--model", "tiny", *command, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=500,
    )
    return process.returncode, process.stdout, process.stderr


def check_complete(folder, steps):
    """Two rows for each of the four pages of a step; a page may be drawn again where a new epoch begins."""
    for step in range(1, steps + 1):
        drawn = Counter(row["page"] for row in folder.read_rollouts(step))
        assert sum(drawn.values()) == 4 * 2
        assert all(count % 2 == 0 for count in drawn.values())


@pytest.mark.parametrize("options", [("rollout.ahead=true",), ("train.shard=full", "rollout.ahead=true")])
def test_a_run_of_two_processes_survives_a_server(servers, tmp_path, options):
    """The first process alone delivers, once per version; both sample; the second server dies in the middle."""
    servers[1].dies_after = 25
    code, out, err = train(servers, tmp_path, *options, command=("--steps", "5", "--out", str(tmp_path / "run")))
    assert code == 0, err
    assert "engine: vllm" in out
    folder = RunFolder.open(tmp_path / "run")
    assert len(folder.logged()) == 5
    check_complete(folder, 5)
    assert servers[1].url in err
    assert err.count("the other server samples its pages until it answers again at a weight sync") == 1, err
    loads = servers[0].loads
    assert len(loads) == len(set(loads)) >= 5
    assert servers[1].rows == 25
    assert not list((tmp_path / "weights").glob("*"))


@pytest.mark.slow
def test_a_disk_that_fails_in_the_first_process_ends_both(servers, tmp_path):
    """Both sample ahead at that time, and neither waits for the other."""
    run = tmp_path / "run"

    def fail_after_step_1():
        while not (run / "metrics.jsonl").exists() or not (run / "metrics.jsonl").read_text():
            time.sleep(0.02)
        (run / "rollouts").rename(run / "moved")
        (run / "rollouts").write_text("no folder")

    threading.Thread(target=fail_after_step_1, daemon=True).start()
    code, _, err = train(servers, tmp_path, "rollout.ahead=true", command=("--steps", "500", "--out", str(run)))
    assert code != 0
    assert err.count("\nError: ") == 1, err
    assert str(run / "rollouts") in err
    assert not list((tmp_path / "weights").glob("*"))


def test_a_dry_run_of_two_processes_plans_for_both_and_writes_nothing(servers, tmp_path):
    code, out, err = train(servers, tmp_path, "train.shard=full", command=("--dry-run",))
    assert code == 0, err
    assert "memory plan, each of 2 processes: " in out
    assert " GiB in each of 2 processes, optimiser state included" in out
    assert out.count("memory plan") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["weights"]
    assert all(server.rows for server in servers)
