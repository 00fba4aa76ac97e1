"""Recipes from TOML files and `--set`: unknown keys name their nearest neighbour, values are checked by type."""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ocr_rl.config.schema import Recipe
from ocr_rl.config.validation import check

RECIPES = Path(__file__).parents[1] / "recipes"


def recipe_names() -> list[str]:
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(name: str, overrides: list[str] | None = None) -> Recipe:
    """Read a shipped recipe by name or a TOML file by path, then apply `section.key=value` overrides in order.

    A recipe may name another as its `base`, shipped or by a path from its own folder, and say only what differs. The
    result has no base.

    Raises:
        ValueError: no such recipe or base, bases in a circle, bad TOML, an unknown key or a value of the wrong type,
            saying where.
    """
    path = _find(name, Path())
    if path is None:
        raise ValueError(f'no recipe "{name}"; write one of {", ".join(recipe_names())}, or the path of a TOML file')
    recipe: Recipe = _build(Recipe, _read(path), str(path), "")
    for override in overrides or []:
        recipe = _override(recipe, override)
    return check(recipe)


def _find(name: str, folder: Path) -> Path | None:
    path = RECIPES / f"{name}.toml" if name in recipe_names() else folder / name
    return path if path.is_file() else None


def _read(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The file's values over those of its `base`, if it names one: section by section, and in a section key by key."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid TOML: {error}") from None
    name = table.pop("base", None)
    _build(Recipe, table, str(path), "")  # so that a mistake names the file that it is in
    if name is None:
        return table
    base = _find(name, path.parent) if isinstance(name, str) else None
    if base is None:
        names = ", ".join(recipe_names())
        raise ValueError(f"{path}: base is {name!r}; write one of {names}, or the path of a TOML file from this one's")
    if base.resolve() in (file.resolve() for file in (path, *above)):
        raise ValueError(f'{path}: base is "{name}", which is based on this file; leave base out in one of them')
    merged = _read(base, (path, *above))
    for key, value in table.items():
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    return merged


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """{"data.path": "scans/"} -> ['data.path="scans/"'], without what is None."""
    return [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items() if value is not None]


def _override(recipe: Recipe, override: str) -> Recipe:
    key, equals, text = override.partition("=")
    if not equals:
        raise ValueError(f"--set {override}: no '='; write --set section.key=value, e.g. --set train.steps=100")
    where = f"--set {override}"
    section, _, name = key.strip().partition(".")
    _check_key(Recipe, section, where, "section")
    kind = _types(Recipe)[section]
    if not name:
        if dataclasses.is_dataclass(kind):
            raise ValueError(f"{where}: {section} is a section; write --set {section}.key=value")
        return dataclasses.replace(recipe, **{section: _value(text, kind, where, section)})
    owner = getattr(recipe, section)
    name, _, entry = name.partition(".")
    _check_key(type(owner), name, where, f"key of [{section}]")
    kind = _types(type(owner))[name]
    if entry and get_origin(kind) is not dict:
        raise ValueError(f"{where}: {section}.{name} has no entries; write --set {section}.{name}=value")
    if entry:  # one entry of a table, e.g. reward.weights.exact=0.3
        value: Any = {**getattr(owner, name), entry: _value(text, get_args(kind)[1], where, key)}
    else:
        value = _value(text, kind, where, key)
    return dataclasses.replace(recipe, **{section: dataclasses.replace(owner, **{name: value})})


def _value(text: str, kind: Any, where: str, key: str) -> Any:
    """The text as TOML if it parses, as a bare string otherwise: data.path=scans needs no quotes."""
    try:
        value = tomllib.loads(f"x = {text.strip()}")["x"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    if kind is str and not isinstance(value, str):
        value = text.strip()
    return _checked(value, kind, where, key)


def _build(cls: type, table: dict[str, Any], where: str, prefix: str) -> Any:
    values = {}
    for key, value in table.items():
        _check_key(cls, key, where, f"key of [{prefix}]" if prefix else "section")
        kind = _types(cls)[key]
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, dict):
                raise ValueError(f"{where}: {key} is {value!r}; write a section [{key}]")
            assert isinstance(kind, type)
            values[key] = _build(kind, value, where, key)
        else:
            values[key] = _checked(value, kind, where, f"{prefix}.{key}".lstrip("."))
    return cls(**values)


def _types(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _check_key(cls: type, key: str, where: str, what: str) -> None:
    known = [f.name for f in dataclasses.fields(cls)]
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f'did you mean "{near[0]}"?' if near else f"write one of {', '.join(known)}"
    raise ValueError(f'{where}: "{key}" is no {what}; {hint}')


def _checked(value: Any, kind: Any, where: str, key: str) -> Any:
    origin = get_origin(kind)
    if origin is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{where}: {key} is {value!r}; write one of {', '.join(map(repr, get_args(kind)))}")
    elif origin is list:
        if not isinstance(value, list):
            raise ValueError(f"{where}: {key} is {value!r}; write a list, e.g. [1, 2]")
        return [_checked(item, get_args(kind)[0], where, key) for item in value]
    elif origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: {key} is {value!r}; write a table, e.g. {{ name = value }}")
        inner = get_args(kind)[1]
        if get_origin(inner) is list:
            value = {k: v if isinstance(v, list) else [v] for k, v in value.items()}
        return {k: _checked(v, inner, where, f"{key}.{k}") for k, v in value.items()}
    elif kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where}: {key} is {value!r}; write a value of type {_type_name(kind)}")
    return value


def _type_name(kind: Any) -> str:
    names = {str: "string", int: "integer", float: "number", bool: "true or false"}
    return names.get(kind, str(kind)) if not isinstance(kind, types.UnionType) else str(kind)


def check_model_path(path: str) -> None:
    """Raises ValueError for what is neither `tiny`, nor a folder, nor like a hub id, before the hub is asked."""
    if path != "tiny" and not Path(path).is_dir() and not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", path):
        raise ValueError(f'no folder "{path}"; a model is a folder, a hub id (owner/name), or "tiny"')


def to_toml(recipe: Recipe) -> str:
    """The whole recipe, every default spelled out."""
    import tomli_w

    return tomli_w.dumps(dataclasses.asdict(recipe))
