"""Write the presets in docs/prompts-and-outputs.md from ocr_rl/config/presets.py.

python scripts/make_presets_table.py
"""

from __future__ import annotations

from pathlib import Path

from ocr_rl.config.presets import PRESETS, Preset

PAGE = Path(__file__).resolve().parents[1] / "docs" / "prompts-and-outputs.md"
HEADING = "## The presets\n"
INTRODUCTION = """
Written by `scripts/make_presets_table.py` from `ocr_rl/config/presets.py`. `auto` takes a preset for checkpoints of
these types whose name, in `model.path` or `_name_or_path` of their config, holds these words; presets without a type
have to be named.
"""
LONG = 60
"""Characters of a prompt that has a block of its own."""


def page(text: str) -> str:
    """The page with the presets of now at its end."""
    return text.partition(HEADING)[0] + HEADING + presets()


def presets() -> str:
    rows = ["| preset | taken by `auto` for | prompt | first | longest side | output |", "|---|---|---|---|---|---|"]
    rows += ["| " + " | ".join(_cells(preset)) + " |" for preset in PRESETS]
    sources = [f"- `{preset.format.preset}`: {preset.source}" for preset in PRESETS]
    return "\n".join([INTRODUCTION, *rows, "", *_long_prompts(), "Where these are documented:", "", *sources, ""])


def _cells(preset: Preset) -> list[str]:
    format = preset.format
    prompt = "below" if len(format.prompt) > LONG else f"`{format.prompt}`".replace("|", "\\|") if format.prompt else ""
    types = ", ".join(f"`{name}`" for name in preset.model_types)
    names = ", ".join(f"`{name}`" for name in preset.names)
    return [
        f"`{format.preset}`",
        f"{types} with {names}" if names else types,
        prompt + (", after an empty system message" if format.system == "" else ""),
        format.prompt_order.removesuffix("_first") if prompt else "",
        f"{format.longest_side} px" if format.longest_side else "",
        f"`{format.output}`",
    ]


def _long_prompts() -> list[str]:
    lines = []
    for format in (preset.format for preset in PRESETS):
        if len(format.prompt) > LONG:
            lines += [f"The prompt of `{format.preset}`:", "", "```text", format.prompt, "```", ""]
    return lines


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
