"""Chains of recipes: each stage continues with the policy of the one before."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ocr_rl.config.loader import RECIPES, apply_overrides, merged, parse_recipe, read_recipe_file
from ocr_rl.config.rubrics import with_rubric
from ocr_rl.config.schema import Recipe
from ocr_rl.config.validation import trains_policy

CHAINS = RECIPES / "chains"


class Stage(NamedTuple):
    """One recipe of a chain."""

    name: str
    """Its number from 1 and the recipe that it is based on: `1-sft`."""
    recipe: Recipe


def chain_names() -> list[str]:
    """The shipped chains."""
    return sorted(path.stem for path in CHAINS.glob("*.toml"))


def find_chain(name: str) -> Path | None:
    """The file of a chain, by the name of a shipped one or by its path; None if it is something else."""
    if name in chain_names():
        return CHAINS / f"{name}.toml"
    path = Path(name)
    return path if path.is_file() and "stages" in _parsed(path) else None


def load_chain(path: Path, overrides: Sequence[str] = ()) -> list[Stage]:
    """The stages of a chain, in order.

    Each of `[[stages]]` is a recipe: a `base` and what differs. Sections beside the stages are for all of them. An
    override `stages.N.section.key=value` is for stage N, from 1; model.path is for the first, since the others
    continue with what it has trained; any other override is for all.

    Raises:
        ValueError: the file or a recipe is not valid, or an override names no stage.
    """
    table = _parsed(path)
    given = table.pop("stages", None)
    if not isinstance(given, list) or not given or not all(isinstance(stage, dict) for stage in given):
        raise ValueError(
            f'{path}: stages is {given!r}; write [[stages]] once for each stage, each with base = "RECIPE"'
        )
    own: list[list[str]] = [[] for _ in given]
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key.startswith("stages."):
            number, _, rest = override.removeprefix("stages.").partition(".")
            if not (number.isdecimal() and 1 <= int(number) <= len(given) and rest):
                raise ValueError(
                    f"--set {override}: the stages are 1 to {len(given)}; write --set stages.1.section.key=value"
                )
            if int(number) > 1 and rest.partition("=")[0].strip() == "model.path":
                raise ValueError(f"--set {override}: a stage continues with the policy of the one before; leave it out")
            own[int(number) - 1].append(rest)
        else:
            for chosen in own[:1] if key == "model.path" else own:
                chosen.append(override)
    stages = []
    for i, (stage, settings) in enumerate(zip(given, own, strict=True), 1):
        where = f"{path}, stage {i}"
        base = stage.get("base")
        start = read_recipe_file(base, path.parent, where) if base is not None else {}
        differs = {key: value for key, value in stage.items() if key not in ("base", "name")}
        shared, differs = (with_rubric(each, path.parent, where) for each in (table, differs))
        recipe = parse_recipe(merged(merged(start, shared), differs), where)
        name = stage.get("name", f"{i}-{recipe.algorithm if base is None else Path(base).stem}")
        if i > 1 and ("path" in stage.get("model", {}) and "name" not in stage):
            raise ValueError(f"{where}: leave out model.path: a stage continues with the policy of the one before")
        if i < len(given) and not trains_policy(recipe):
            raise ValueError(f"{where}: {recipe.algorithm} leaves no policy for the next stage; write it last")
        stages.append(Stage(str(name), apply_overrides(recipe, settings)))
    names = [stage.name for stage in stages]
    if len({*names}) < len(names) or not all(re.fullmatch(r"\w[\w.-]*", name) for name in names):
        raise ValueError(f"{path}: the stages are named {', '.join(names)}; leave out name, or write different ones")
    return stages


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None


def chain_to_toml(stages: Sequence[Stage]) -> str:
    """The chain with every default."""
    import tomli_w

    return tomli_w.dumps({"stages": [{"name": stage.name, **asdict(stage.recipe)} for stage in stages]})
