"""Write docs/recipe-reference.md: every section and key of a recipe, from ocr_rl/config/schema.py.

python scripts/make_recipe_reference.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ocr_rl.config.schema import ALIASES, OWN_SECTIONS, Recipe
from ocr_rl.config.wording import expected, recipe_schema, schema_of

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "recipe-reference.md"
INTRODUCTION = """# Recipe reference

Every key of a recipe. A recipe is a TOML file with these sections; what it leaves out has its default, or the value of
its `base`. On the command line, `--set section.key=value` overrides a key, and `--set section.key.entry=value` an entry
of a table. `reward.rubric` stands for the keys of a [rubric](training.md#rewards). A value of the wrong type or out of
bounds is refused before anything is loaded. Numbers are finite.

Written by `scripts/make_recipe_reference.py` from `ocr_rl/config/schema.py`.
"""


def reference() -> str:
    defaults = vars(Recipe())
    parts = [
        INTRODUCTION,
        "## Top level\n",
        _table({"algorithm": recipe_schema()["properties"]["algorithm"]}, defaults),
    ]
    for section, value in defaults.items():
        if section == "algorithm":
            continue
        users = [algorithm for algorithm, own in OWN_SECTIONS.items() if section in own]
        parts += [
            f"\n## [{section}]\n",
            f"{recipe_schema()['properties'][section]['description']} Algorithms: {', '.join(users) or 'all'}.\n",
            _table(schema_of([section])["properties"], vars(value), f"{section}."),
        ]
    return "\n".join(parts) + "\n"


def _table(keys: dict[str, Any], defaults: dict[str, Any], prefix: str = "") -> str:
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, schema in keys.items():
        meaning = " ".join(schema["description"].split())
        for alias in (alias for alias, own in ALIASES.items() if own == prefix + key):
            meaning += f" Other name: `{alias.removeprefix(prefix)}`."
        row = (f"`{key}`", expected(schema), f"`{_toml(defaults[key])}`", meaning)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join(rows)


def _toml(value: Any) -> str:
    """A value as it stands in a TOML file, on one line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(entry)}" for name, entry in value.items()) + " }" if value else "{}"
    return json.dumps(value)


if __name__ == "__main__":
    REFERENCE.write_text(reference(), encoding="utf-8")
