"""Which GPUs sample and which train, and the commands that are printed for them."""

import json
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.commands import refused, run
from ocr_rl.config.loader import load_recipe
from ocr_rl.pipeline.machine_plan import MachinePlan, default_servers


def gpus_of(plan, which):
    return [list(getattr(plan, which)(node)) for node in range(len(plan.hosts))]


@pytest.mark.parametrize(
    ("gpus", "nodes", "servers", "serving", "training"),
    [
        (8, 1, 2, [[6, 7]], [[0, 1, 2, 3, 4, 5]]),
        (4, 2, 2, [[3], [3]], [[0, 1, 2], [0, 1, 2]]),
        (4, 2, 4, [[], [0, 1, 2, 3]], [[0, 1, 2, 3], []]),
        (1, 2, 1, [[], [0]], [[0], []]),
        (2, 3, 4, [[], [0, 1], [0, 1]], [[0, 1], [], []]),
    ],
)
def test_servers_have_whole_nodes_or_the_last_gpus_of_each(gpus, nodes, servers, serving, training):
    plan = MachinePlan(gpus, [f"n{i}" for i in range(nodes)], servers)
    assert gpus_of(plan, "serving") == serving
    assert gpus_of(plan, "training") == training


@given(st.integers(1, 8), st.integers(1, 4), st.integers(1, 32))
def test_a_plan_uses_every_gpu_once_and_trains_with_equally_many_on_each_node(gpus, nodes, servers):
    try:
        plan = MachinePlan(gpus, [f"n{i}" for i in range(nodes)], servers)
    except ValueError:
        assert gpus * nodes == 1 or servers >= gpus * nodes or (servers % nodes and servers % gpus)
        return
    serving, training = gpus_of(plan, "serving"), gpus_of(plan, "training")
    assert [sorted(a + b) for a, b in zip(serving, training, strict=True)] == [list(range(gpus))] * nodes
    assert sum(map(len, serving)) == len(plan.urls) == len(set(plan.urls)) == servers
    assert len({len(own) for own in training if own}) == 1


@given(st.integers(1, 8), st.integers(1, 4))
def test_the_default_is_a_plan_that_works(gpus, nodes):
    if gpus * nodes > 1:
        MachinePlan(gpus, [f"n{i}" for i in range(nodes)], default_servers(gpus, nodes))


def test_the_commands_of_one_machine():
    out = run("serve-command", "dapo", "--gpus", "4", "--servers", "3", "--set", "rollout.rows=64").stdout.splitlines()
    assert [line for line in out if line.startswith("#")] == [
        "# 3 servers: start first",
        "# 1 process to train: start when all servers answer",
    ]
    served = [shlex.split(line) for line in out if "vllm serve" in line]
    assert [words[0] for words in served] == [f"CUDA_VISIBLE_DEVICES={gpu}" for gpu in (1, 2, 3)]
    assert [words[words.index("--port") + 1] for words in served] == ["8000", "8001", "8002"]
    assert all(words[-3:] == ["--host", "127.0.0.1", "&"] for words in served)
    assert all(words[words.index("--max-num-seqs") + 1] == "64" for words in served)
    train = shlex.split(out[-1])
    assert train[:4] == ["CUDA_VISIBLE_DEVICES=0", "ocr-rl", "train", "dapo"]
    recipe = load_recipe("dapo", [word.removeprefix("--set=") for word in train if word.startswith("--set=")])
    assert recipe.vllm.server == [f"http://127.0.0.1:{port}" for port in (8000, 8001, 8002)]
    assert recipe.rollout.rows == 64


def test_the_commands_of_several_machines():
    out = run("serve-command", "--gpus", "2", "--nodes", "3", "--servers", "2", "--hosts", "a,b,c").stdout.splitlines()
    assert [line for line in out if line.startswith("#")] == [
        "# 2 servers on c: start first",
        "# 4 processes to train: start when all servers answer",
        "# the same command on a, b, with one --out that all see",
    ]
    assert not any("127.0.0.1" in line for line in out)
    train = shlex.split(out[-1])
    assert " ".join(train[1:10]) == "torchrun --nnodes 2 --rdzv-backend c10d --rdzv-endpoint a:29500 --nproc-per-node 2"
    assert json.loads(train[-1].partition("vllm.server=")[2]) == ["http://c:8000", "http://c:8001"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpus", "1"], "one GPU cannot be shared with a server; leave vllm.server empty, and vLLM runs beside"),
        (["--gpus", "4", "--servers", "4"], "--servers is 4, and 4 GPUs have to train too; write 3 at most"),
        (
            ["--gpus", "4", "--nodes", "2", "--servers", "3"],
            "--servers is 3, which leaves 2 nodes with different numbers of GPUs to train; write 2, for instance",
        ),
        (["--gpus", "4", "--nodes", "2", "--hosts", "a"], "--hosts is a, and --nodes is 2; write 2 different names"),
        (["sft", "--gpus", "4"], "sft samples no completions here: servers would have nothing to do"),
        (
            ["--gpus", "4", "--set", "rollout.engine=transformers"],
            'rollout.engine is "transformers", which needs no server; write "vllm" or "auto"',
        ),
        (
            ["--gpus", "8", "--servers", "2", "--set", "rollout.pages_per_step=4"],
            "rollout.pages_per_step is 4, and 6 processes would share them; write 6 at least, or more --servers",
        ),
        (["nope", "--gpus", "4"], 'no recipe "nope"; write one of'),
        (["few", "--gpus", "4"], "few is a chain; give the recipe of one of its stages"),
    ],
)
def test_plans_that_cannot_work_are_refused(arguments, message):
    assert message in refused("serve-command", *arguments)
