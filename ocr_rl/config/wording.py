"""What a key of a recipe may hold, in words: for error messages and for docs/recipe-reference.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from ocr_rl.config.schema import Recipe

Schema = Mapping[str, Any]


@cache
def recipe_schema() -> Schema:
    """The JSON Schema of a recipe."""
    return TypeAdapter(Recipe).json_schema()


def schema_of(path: Sequence[str]) -> Schema:
    """The JSON Schema of a section, a key, or an entry of a key: ("reward", "weights", "exact")."""
    schema = recipe_schema()
    for name in path:
        schema = schema["properties"][name] if "properties" in schema else schema["additionalProperties"]
        if "$ref" in schema:
            schema = recipe_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def expected(schema: Schema) -> str:
    """What to write for a value: "an integer of at least 1"."""
    if "enum" in schema:
        return "one of " + ", ".join(map(repr, schema["enum"]))
    match schema["type"]:
        case "string":
            return "a string"
        case "boolean":
            return "true or false"
        case "array":
            low, high = schema.get("minItems"), schema.get("maxItems")
            size = "" if high is None else f"{high} " if low == high else f"at most {high} "
            return f"a list of {size}values, each {expected(schema['items'])}"
        case "object":
            return f"a table {{ name = value }}, each value {expected(schema['additionalProperties'])}"
    noun = "an integer" if schema["type"] == "integer" else "a number"
    return f"{noun} {bounds(schema)}"


def bounds(schema: Schema) -> str:
    """ "from 0 to 1" or "above 0 and below 1"."""
    if "minimum" in schema and "maximum" in schema:
        return f"from {schema['minimum']} to {schema['maximum']}"
    words = {
        "minimum": "of at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    return " and ".join(f"{word} {schema[key]}" for key, word in words.items() if key in schema)
