"""Every number of a recipe has bounds, stated in the schema and held to in files, with --set and in Python."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import sampled_from

from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import Recipe, TrainConfig
from ocr_rl.config.wording import bounds, expected, recipe_schema, schema_of

SECTIONS = [field.name for field in dataclasses.fields(Recipe) if field.name != "algorithm"]


def numbers():
    """Each number of a recipe: (its key, where it stands in the value, its schema)."""
    for section in SECTIONS:
        for key, schema in schema_of([section])["properties"].items():
            if schema["type"] in ("integer", "number"):
                yield f"{section}.{key}", "{}", schema
            elif schema["type"] == "array" and "items" in schema:
                yield f"{section}.{key}", "[{0}, {0}]", schema["items"]
            elif schema["type"] == "object":
                yield f"{section}.{key}", "{{ exact = {} }}", schema["additionalProperties"]


NUMBERS = [(key, form, schema) for key, form, schema in numbers() if schema["type"] in ("integer", "number")]


def next_to(value, schema, direction):
    """The nearest value of the schema's type, in this direction."""
    return value + direction if schema["type"] == "integer" else math.nextafter(value, direction * math.inf)


def edges(schema):
    """(values on the bounds, the nearest values beyond them)."""
    inside, outside = [], []
    for name, direction in (("inimum", -1), ("aximum", 1)):
        if (bound := schema.get(f"m{name}")) is not None:
            inside.append(bound)
            outside.append(next_to(float(bound) if schema["type"] == "number" else bound, schema, direction))
        elif (bound := schema.get(f"exclusiveM{name}")) is not None:
            inside.append(next_to(float(bound), schema, -direction))
            outside.append(bound)
    return inside, outside


def mistake(key, text):
    """The message about a value; empty if it is taken, or if only a rule between settings is against it."""
    try:
        load_recipe("grpo", [f"{key}={text}"])
    except ValueError as error:
        (line,) = str(error).splitlines()
        return line if line.startswith(f"--set {key}=") else ""
    return ""


def test_there_are_numbers_in_lists_and_tables_too():
    assert {"train.steps", "train.betas", "render.lines", "reward.weights"} <= {key for key, _, _ in NUMBERS}


@pytest.mark.parametrize(("key", "form", "schema"), NUMBERS, ids=[key for key, _, _ in NUMBERS])
class TestEachNumber:
    def test_has_bounds(self, key, form, schema):
        assert edges(schema)[1]

    def test_is_taken_on_its_bounds(self, key, form, schema):
        for value in edges(schema)[0]:
            assert not mistake(key, form.format(value))

    def test_is_refused_just_outside_with_its_key_value_and_bounds(self, key, form, schema):
        for value in edges(schema)[1]:
            line = mistake(key, form.format(value))
            assert str(value) in line.partition(f": {key}")[2]
            assert line.endswith(bounds(schema))

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
    def test_is_finite(self, key, form, schema, value):
        line = mistake(key, form.format(value))
        assert line.endswith(bounds(schema))
        assert schema["type"] == "integer" or "finite number" in line

    def test_is_refused_outside_in_a_file_and_in_python(self, key, form, schema, tmp_path):
        section, name = key.split(".")
        for value in edges(schema)[1]:
            file = tmp_path / "my.toml"
            file.write_text(f"[{section}]\n{name} = {form.format(value)}\n", encoding="utf-8")
            with pytest.raises(ValueError, match=f"^{re.escape(f'{file}: {key}')}.*{re.escape(bounds(schema))}$"):
                load_recipe(str(file))
            filled = {"{}": value, "[{0}, {0}]": [value, value]}.get(form, {"exact": value})
            with pytest.raises(ValueError, match=name):
                dataclasses.replace(getattr(Recipe(), section), **{name: filled})


@given(sampled_from(NUMBERS), st.one_of(st.integers(-(10**12), 10**12), st.floats(width=32)))
def test_any_value_is_taken_or_refused_with_its_bounds(number, value):
    key, form, schema = number
    low = schema.get("minimum", -math.inf) <= value and schema.get("exclusiveMinimum", -math.inf) < value
    high = value <= schema.get("maximum", math.inf) and value < schema.get("exclusiveMaximum", math.inf)
    whole = schema["type"] == "number" or isinstance(value, int)
    line = mistake(key, form.format(value))
    if low and high and whole and math.isfinite(value):
        assert not line
    else:
        assert line.endswith(bounds(schema))


def test_whole_floats_are_no_integers_and_integers_are_numbers():
    assert "write an integer" in mistake("train.steps", "3.0")
    assert TrainConfig(learning_rate=1).learning_rate == 1.0


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1}, "an integer of at least 1"),
        ({"type": "integer", "minimum": 0, "maximum": 9}, "an integer from 0 to 9"),
        ({"type": "number", "exclusiveMinimum": 0}, "a number above 0"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "a number above 0 and at most 1"),
        ({"type": "number", "minimum": 0, "exclusiveMaximum": 0.5}, "a number of at least 0 and below 0.5"),
        ({"type": "string"}, "a string"),
        ({"type": "string", "enum": ["", "a"]}, "one of '', 'a'"),
        ({"type": "boolean"}, "true or false"),
        ({"type": "array", "maxItems": 2, "items": {"type": "string"}}, "a list of at most 2 values, each a string"),
        ({"type": "array", "items": {"type": "string"}}, "a list of values, each a string"),
        (
            {"type": "object", "additionalProperties": {"type": "string"}},
            "a table { name = value }, each value a string",
        ),
    ],
)
def test_what_to_write_in_words(schema, words):
    assert expected(schema) == words


def test_every_key_has_a_sentence():
    for section in SECTIONS:
        assert recipe_schema()["properties"][section]["description"].endswith(".")
        for key, schema in schema_of([section])["properties"].items():
            assert schema.get("description", "").strip(), f"{section}.{key}"
