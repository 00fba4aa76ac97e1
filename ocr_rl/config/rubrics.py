"""`[reward] rubric = ...`: a rubric as keys of a recipe. To this section it is what `base` is to the whole recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ocr_verifiers.rewards.gates import GATES
from ocr_verifiers.rewards.rubric import RUBRICS, Rubric, load_rubric

OPEN = 1.0
"""Factor of a gate that a rubric does not name."""


def with_rubric(table: Mapping[str, Any], folder: Path, where: str) -> dict[str, Any]:
    """The table with the keys of the rubric that its section `reward` names, under the keys beside it.

    The rubric is a shipped one, or a file by a path relative to `folder`, as are the files of reward.functions.
    """
    section = table.get("reward")
    if not isinstance(section, dict):
        return dict(table)
    own = {key: value for key, value in section.items() if key != "rubric"}
    functions = own.get("functions")
    if isinstance(functions, list):
        own["functions"] = [str(folder.absolute() / f) if isinstance(f, str) else f for f in functions]
    if "rubric" not in section:
        return {**table, "reward": own}
    name = section["rubric"]
    if not isinstance(name, str):
        raise ValueError(f"{where}: reward.rubric is {name!r}; write a rubric's name, or the path of a TOML file")
    try:
        rubric = load_rubric(name if (RUBRICS / f"{name}.toml").is_file() else folder / name)
    except ValueError as error:
        raise ValueError(f"{where}: reward.rubric: {error}") from None
    result = {**table, "reward": {**_reward_keys(rubric), **own}}
    if rubric.output != "markdown":
        result["model"] = {"output": rubric.output, **table.get("model", {})}
    return result


def _reward_keys(rubric: Rubric) -> dict[str, Any]:
    gates = {f"{gate}_gate": float(rubric.gates.get(gate, OPEN)) for gate in GATES}
    return {
        "weights": {name: float(weight) for name, weight in rubric.weights.items()},
        "functions": list(rubric.functions),
        **gates,
        "unsupported": float(rubric.unsupported),
        "agreement": rubric.agreement,
        "normalization": list(rubric.normalization),
        "equivalences": [list(pair) for pair in rubric.equivalences],
        "unit": rubric.unit,
        "compat": rubric.compat or "",
    }
