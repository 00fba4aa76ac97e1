"""docs/recipe-reference.md says what the schema says."""

import dataclasses
import runpy
from pathlib import Path

from ocr_rl.config.schema import OWN_SECTIONS, Recipe

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(CHECKOUT / "scripts" / "make_recipe_reference.py"))
SECTIONS = {name: value for name, value in vars(Recipe()).items() if name != "algorithm"}


def test_the_reference_is_current():
    assert (CHECKOUT / "docs" / "recipe-reference.md").read_text(encoding="utf-8") == SCRIPT["reference"](), (
        "run: python scripts/make_recipe_reference.py"
    )


def test_it_has_every_key_of_every_section():
    text = SCRIPT["reference"]()
    for name, section in SECTIONS.items():
        part = text.partition(f"\n## [{name}]\n")[2].partition("\n## ")[0]
        for field in dataclasses.fields(section):
            assert f"\n| `{field.name}` | " in part, f"{name}.{field.name}"


def test_a_row_has_key_value_bounds_default_and_meaning():
    text = SCRIPT["reference"]()
    assert (
        "| `label_smoothing` | a number of at least 0 and below 0.5 | `0.0` | Share of pairs assumed to be labelled "
        "wrongly; sigmoid and robust only. |" in text
    )
    weights = "| `weights` | a table { name = value }, each value a number of at least 0 | "
    assert weights + "`{ similarity = 0.7, pass_rate = 0.3 }` | " in text


def test_sections_of_an_algorithm_name_it():
    text = SCRIPT["reference"]()
    assert "Preferences that dpo, orpo and kto learn from. Algorithms: dpo, kto, orpo.\n" in text
    assert {name for own in OWN_SECTIONS.values() for name in own} <= SECTIONS.keys()
