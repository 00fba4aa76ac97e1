"""`ocr-rl serve-command`: the commands that start servers and trainers on a machine, or on several."""

from __future__ import annotations

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import set_option


@click.command("serve-command")
@click.argument("recipe", required=False)
@click.option("--gpus", type=click.IntRange(min=1), required=True, help="GPUs of each node.")
@click.option("--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Equal machines.")
@click.option("--servers", type=click.IntRange(min=1), help="vLLM servers, each on one GPU.  [default: half the GPUs]")
@click.option("--hosts", metavar="A,B", help="Names of the nodes.  [default: node0,node1,...]")
@set_option("Override a value of the recipe, for the servers and in the command that trains.")
@user_errors
def serve_command(
    recipe: str | None, gpus: int, nodes: int, servers: int | None, hosts: str | None, sets: tuple[str, ...]
) -> None:
    """Print the commands that train by RECIPE (default: grpo) with servers that sample on other GPUs.

    \b
    ocr-rl serve-command my.toml --gpus 8                      4 servers and 4 trainers on one machine
    ocr-rl serve-command my.toml --gpus 8 --servers 2          2 servers and 6 trainers
    ocr-rl serve-command my.toml --gpus 8 --nodes 2 --servers 8 --hosts gpu1,gpu2
    ocr-rl serve-command my.toml --gpus 8 --set vllm.transfer=folder --set vllm.transfer_folder=/shared/weights
    """
    from ocr_rl.config.chains import Chain, load_system
    from ocr_rl.pipeline.machine_plan import MachinePlan, default_servers, plan_commands

    names = hosts.split(",") if hosts else ["127.0.0.1"] if nodes == 1 else [f"node{i}" for i in range(nodes)]
    if len(names) != nodes or len(set(names)) != nodes or not all(names):
        raise ValueError(f"--hosts is {hosts}, and --nodes is {nodes}; write {nodes} different names")
    name = recipe or "grpo"
    loaded = load_system(name, list(sets))
    if isinstance(loaded, Chain):
        raise ValueError(f"{name} is a chain; give the recipe of one of its stages")
    plan = MachinePlan(gpus, names, servers or default_servers(gpus, nodes))
    click.echo("\n".join(plan_commands(name, loaded, sets, plan)))
