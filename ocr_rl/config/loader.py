"""Recipes from TOML files and `--set`. A mistake says where it is, what was found and what to write instead."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ocr_rl.config.embedded import EMBEDDED, NAMES, embedded_for
from ocr_rl.config.rubrics import with_rubric
from ocr_rl.config.schema import ALIASES, Recipe
from ocr_rl.config.validation import check
from ocr_rl.config.wording import expected, schema_of
from ocr_rl.hub import check_hub_model

RECIPES = Path(__file__).parents[1] / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str, overrides: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name or a TOML file by path, then apply `section.key=value` overrides in order.

    A recipe may name another as its `base`, shipped or by a path relative to itself, and hold only what differs; and in
    the same way a rubric as `reward.rubric`. The result has neither: it holds their values.

    Raises:
        ValueError: no such recipe or base, bases in a circle, bad TOML, an unknown key, a value of the wrong type or
            out of bounds, or settings that do not go together.
    """
    path = _find(name, Path())
    if path is None:
        raise ValueError(f'no recipe "{name}"; write one of {", ".join(recipe_names())}, or the path of a TOML file')
    return apply_overrides(parse_recipe(_read(path), str(path)), overrides or [])


def apply_overrides(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """The recipe with each `section.key=value`, in order. Raises ValueError if settings do not go together."""
    for override in overrides:
        recipe = override_recipe(recipe, override)
    return check(with_model(recipe))


def with_model(recipe: Recipe) -> Recipe:
    """The recipe with the embedded policy for its pages, where it names no model."""
    if recipe.model.path:
        return recipe
    return dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, path=embedded_for(recipe.data.path)))


def read_recipe_file(name: object, folder: Path, where: str) -> dict[str, Any]:
    """The values of the recipe that `where` is based on: a shipped one, or a file by a path relative to `folder`."""
    path = _find(name, folder) if isinstance(name, str) else None
    if path is None:
        names = ", ".join(recipe_names())
        raise ValueError(
            f"{where}: base is {name!r}; write one of {names}, or the path of a TOML file, relative to this one"
        )
    return _read(path)


def merged(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """`others` over `values`, key by key of each section."""
    result = dict(values)
    for key, value in others.items():
        result[key] = {**result.get(key, {}), **value} if isinstance(value, dict) else value
    return result


def _find(name: str, folder: Path) -> Path | None:
    path = RECIPES / f"{name}.toml" if name in recipe_names() else folder / name
    return path if path.is_file() else None


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's values, merged key by key over those of its `base` if it has one."""
    try:
        table = _without_aliases(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    name = table.pop("base", None)
    table = with_rubric(table, path.parent, str(path))
    parse_recipe(table, str(path))  # so that a mistake names the file that it is in
    if name is None:
        return table
    base = _find(name, path.parent) if isinstance(name, str) else None
    if base is None:
        names = ", ".join(recipe_names())
        raise ValueError(
            f"{path}: base is {name!r}; write one of {names}, or the path of a TOML file, relative to this one"
        )
    if base.resolve() in (file.resolve() for file in (path, *above)):
        raise ValueError(f'{path}: base is "{name}", which is based on this file; leave base out in one of them')
    return merged(_read(base, (path, *above)), table)


def _without_aliases(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Keys by their names in the schema. Raises ValueError if one is there under both names."""
    for alias, key in ALIASES.items():
        section, _, name = key.partition(".")
        values, other = table.get(section), alias.removeprefix(f"{section}.")
        if isinstance(values, dict) and other in values:
            if name in values:
                raise ValueError(f"{where}: {alias} is another name of {key}; write one of them")
            values[name] = values.pop(other)
    return table


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """{"data.path": "scans/"} -> ['data.path="scans/"']; a value of None is left out."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None]


def override_recipe(recipe: Recipe, override: str) -> Recipe:
    """The recipe, unchecked, with `section.key=value`, or `section.key.entry=value` of a table: reward.weights."""
    where = f"--set {override}"
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals:
        raise ValueError(f"{where}: no '='; write --set section.key=value, e.g. --set train.steps=100")
    *path, last = ALIASES.get(key, key).split(".", 2)
    table = owner = dataclasses.asdict(recipe)
    for depth, name in enumerate(path, 1):
        owner = owner.setdefault(name, {})
        if not isinstance(owner, dict):
            above = ".".join(path[:depth])
            raise ValueError(f"{where}: {above} has no entries; write --set {above}=value")
    owner[last] = value = _value(text, isinstance(owner.get(last), str))
    if key == "reward.rubric":
        del owner[last]
        table = merged(table, with_rubric({"reward": {last: value}}, Path(), where))
    return parse_recipe(table, where)


def _value(text: str, string: bool) -> Any:
    """The text as TOML if it parses, as a bare string otherwise, or where a string is wanted: data.path=scans."""
    try:
        value = tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        return text
    return text if string and not isinstance(value, str) else value


def parse_recipe(table: Mapping[str, Any], where: str) -> Recipe:
    """Raises ValueError for the first unknown key, wrong type or value out of bounds, beginning with `where`."""
    try:
        return Recipe(**table)
    except ValidationError as error:
        raise ValueError(f"{where}: {_mistake(error.errors()[0], table)}") from None


def _mistake(error: ErrorDetails, table: Mapping[str, Any]) -> str:
    *section, name = path = [part for part in error["loc"] if isinstance(part, str)]  # a list is shown whole
    if error["type"] == "unexpected_keyword_argument":
        known = list(schema_of(section)["properties"])
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"write one of {', '.join(known)}"
        return f'"{name}" is not a {f"key of [{section[0]}]" if section else "section"}; {hint}'
    if error["type"] == "dataclass_type":
        return f"{name} is a section; write its keys in [{name}], or --set {name}.key=value"
    want = expected(schema_of(path))
    if error["type"] == "finite_number":
        want = want.replace("a number", "a finite number")
    return f"{'.'.join(path)} is {reduce(getitem, path, table)!r}; write {want}"


def check_model_path(path: str) -> None:
    """Raises ValueError unless it is an embedded policy, a folder of a model, or a hub id that can be asked for."""
    run = Path(path)
    if (run / "resolved.toml").is_file() and not (run / "config.json").is_file():
        checkpoints = sorted((run / "checkpoints").glob("step_*[0-9]"))
        advice = f"give its newest checkpoint, {checkpoints[-1]}" if checkpoints else "it has no checkpoint yet"
        raise ValueError(f'"{path}" is a run, not a model; {advice}')
    if path in EMBEDDED or Path(path).is_dir():
        return
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", path):
        raise ValueError(f'no folder "{path}"; a model is a folder, a hub id (owner/name), {NAMES}')
    check_hub_model(path)


def to_toml(recipe: Recipe) -> str:
    """The whole recipe with every default."""
    import tomli_w

    return tomli_w.dumps(dataclasses.asdict(recipe))
