"""Which GPUs of a machine, or of several equal ones, sample and which train; and the commands that start all of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from ocr_rl.config.schema import Recipe
from ocr_rl.config.validation import samples
from ocr_rl.models.footprint import bare_policy
from ocr_rl.rollouts.vllm.prompts import model_length
from ocr_rl.rollouts.vllm.server_setup import ServerRequirements, model_name, serve_command

FIRST_PORT = 8000
RENDEZVOUS_PORT = 29500


@dataclass(frozen=True)
class MachinePlan:
    """Each server has one GPU: all of the last nodes if that comes out even, or the last of each. The others train.

    Raises:
        ValueError: no GPU is left to train, or the nodes that train would have different numbers of GPUs for it.
    """

    gpus: int
    """Of each node."""
    hosts: Sequence[str]
    """Names by which the nodes reach each other."""
    servers: int

    def __post_init__(self) -> None:
        total, nodes = self.gpus * len(self.hosts), len(self.hosts)
        if total == 1:
            raise ValueError(
                "one GPU cannot be shared with a server; leave vllm.server empty, and vLLM runs beside the trainer"
            )
        if self.servers >= total:
            raise ValueError(
                f"--servers is {self.servers}, and {_gpus(total)} have to train too; write {total - 1} at most"
            )
        if self.servers % nodes and self.servers % self.gpus:
            fair = [n for n in range(1, total) if n % nodes == 0 or n % self.gpus == 0]
            near = min(fair, key=lambda n: abs(n - self.servers))
            raise ValueError(
                f"--servers is {self.servers}, which leaves {nodes} nodes with different numbers of GPUs to train; "
                f"write {near}, for instance"
            )

    def serving(self, node: int) -> range:
        """The GPUs of a node that sample."""
        nodes = len(self.hosts)
        if self.servers % self.gpus == 0:
            own = self.gpus if node >= nodes - self.servers // self.gpus else 0
        else:
            own = self.servers // nodes
        return range(self.gpus - own, self.gpus)

    def training(self, node: int) -> range:
        """The GPUs of a node that train."""
        return range(self.serving(node).start)

    @property
    def urls(self) -> list[str]:
        return [
            f"http://{host}:{FIRST_PORT + place}"
            for node, host in enumerate(self.hosts)
            for place in range(len(self.serving(node)))
        ]


def plan_commands(name: str, recipe: Recipe, overrides: Sequence[str], plan: MachinePlan) -> Iterator[str]:
    """Lines to copy into a shell of each node.

    Args:
        name: the recipe as the user names it.
        overrides: what else the training is started with, as `--set` takes it.

    Raises:
        ValueError: the recipe samples without vLLM, or not at all; or its model cannot be used.
    """
    if recipe.rollout.engine == "transformers":
        raise ValueError('rollout.engine is "transformers", which needs no server; write "vllm" or "auto"')
    if not samples(recipe):
        raise ValueError(f"{recipe.algorithm} samples no completions here: servers would have nothing to do")
    processes = sum(len(plan.training(node)) for node in range(len(plan.hosts)))
    if recipe.rollout.pages_per_step < processes:
        raise ValueError(
            f"rollout.pages_per_step is {recipe.rollout.pages_per_step}, and {processes} processes would share them; "
            f"write {processes} at least, or more --servers"
        )
    for node, host in enumerate(plan.hosts):
        if own := len(plan.serving(node)):
            where = "" if len(plan.hosts) == 1 else f" on {host}"
            yield f"# {own} server{'s' * (own > 1)}{where}: start first"
            yield from _serve_lines(recipe, plan, node)
    yield f"# {processes} process{'es' * (processes > 1)} to train: start when all servers answer"
    yield from _train_lines(name, overrides, plan)


def _serve_lines(recipe: Recipe, plan: MachinePlan, node: int) -> Iterator[str]:
    closed = " --host 127.0.0.1" if len(plan.hosts) == 1 else ""
    dtype = torch.float32 if recipe.model.compute_dtype == "float32" else torch.bfloat16
    policy, _, _ = bare_policy(recipe.model, dtype)
    length = model_length(policy, recipe.vllm.max_model_len)
    required = ServerRequirements(dtype, length, recipe.vllm.transfer, tied=False)
    for place, gpu in enumerate(plan.serving(node)):
        command = serve_command(model_name(policy), required, recipe.rollout.rows, FIRST_PORT + place)
        yield f"CUDA_VISIBLE_DEVICES={gpu} {command}{closed} &"


def _train_lines(name: str, overrides: Sequence[str], plan: MachinePlan) -> Iterator[str]:
    settings = [f"--set={text}" for text in (*overrides, f"vllm.server={json.dumps(plan.urls)}")]
    nodes = [node for node in range(len(plan.hosts)) if plan.training(node)]
    gpus = plan.training(nodes[0])
    words = ["torchrun"]
    if len(nodes) > 1:
        endpoint = f"{plan.hosts[nodes[0]]}:{RENDEZVOUS_PORT}"
        words += ["--nnodes", str(len(nodes)), "--rdzv-backend", "c10d", "--rdzv-endpoint", endpoint]
        yield f"# the same command on {', '.join(plan.hosts[node] for node in nodes)}, with one --out that all see"
    words += ["--nproc-per-node", str(len(gpus)), "-m", "ocr_rl.cli"]
    launcher = words if len(gpus) * len(nodes) > 1 else ["ocr-rl"]
    visible = ",".join(map(str, gpus))
    yield f"CUDA_VISIBLE_DEVICES={visible} {shlex.join([*launcher, 'train', name, '--out', 'runs/served', *settings])}"


def default_servers(gpus: int, nodes: int) -> int:
    """Half of the GPUs, as many on each node."""
    return nodes * max(1, gpus // 2) if gpus > 1 else nodes // 2


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' * (count != 1)}"
