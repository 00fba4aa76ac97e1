"""Checks families of document models and writes what was found into the table of docs/models.md.

    python scripts/make_model_table.py                      # all families; minutes
    python scripts/make_model_table.py qwen2_5_vl gemma3    # these rows; the others stay
    python scripts/make_model_table.py --vllm qwen2_5_vl    # also sample with vLLM, in the CPU build

The models have random weights and their real config and processor classes (tests/helpers/families); the checks are
those of tests/models/test_families.py. A family that is not run keeps its row. What cannot be loaded gives the reason.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # random models of families are made for the tests

from helpers.families import ANY_SIZE, FAMILIES, save
from helpers.families.checks import (
    fits,
    load,
    page,
    reloaded_adapter,
    sampled_as_generate,
    sampled_as_scored,
    trained_as_plain,
)
from ocr_rl.rollouts.engine import Sampling

DOCUMENT = Path(__file__).parents[1] / "docs" / "models.md"
COLUMNS = ["family", "page size", "shared prompt", "checkpointing", "engine", "LoRA", "vLLM"]
START, END = "<!-- table: scripts/make_model_table.py -->\n", "<!-- end of table -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), help="default: all")
    parser.add_argument("--vllm", action="store_true", help="sample with vLLM, and do nothing else")
    options = parser.parse_args()
    for name in options.families:
        rows = rows_of(DOCUMENT.read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            old = rows.get(name, dict.fromkeys(COLUMNS, ""))
            rows[name] = {**old, **found(name, Path(folder), vllm=options.vllm), "family": name}
        print(rows[name], flush=True)
        write(rows)
    return 0


def found(name: str, folder: Path, *, vllm: bool) -> dict[str, str]:
    try:
        model = save(name, folder / "model")
        policy = load(model)
    except (ValueError, ImportError, AttributeError) as error:
        return {"page size": f"not loaded: {reason(error)}"}
    if vllm:
        return {"vLLM": with_vllm(policy, folder)}
    any_size = name in ANY_SIZE
    if any_size:
        fits(policy, name, pages=300)
    trained = {column: f"{shown(x)}, {shown(g)}" for column, (x, g) in trained_as_plain(model).items()}
    return {
        "page size": f"whole tokens of {policy.budget.multiple} px" if any_size else "scaled by its processor",
        **trained,
        "engine": shown(sampled_as_generate(policy)),
        "LoRA": shown(reloaded_adapter(model, folder / "adapter")),
    }


def with_vllm(policy: Any, folder: Path) -> str:
    from ocr_rl.errors import EngineError
    from ocr_rl.rollouts.vllm.engine import VllmEngine
    from ocr_rl.rollouts.vllm.options import VllmOptions

    options = VllmOptions(rows=8, max_model_len=2048, kv_cache_gib=0.05, timeout_s=600, log=folder / "vllm.log")
    try:
        engine = VllmEngine(policy, options)
        try:
            groups = engine.generate([page(), page(200, 90)], Sampling(2, temperature=1.0, max_tokens=8), seed=5)
        finally:
            engine.close()
    except (EngineError, ValueError) as error:
        log = options.log.read_text(encoding="utf-8", errors="replace") if options.log.is_file() else ""
        if "No module named 'torchvision'" in log:
            return "vLLM needs torchvision"
        last = re.findall(r"^\w*(?:Error|Exception): (.*)", log, re.MULTILINE)[-1:]
        return f"no: {reason(ValueError(*last) if last else error)}"
    return shown(sampled_as_scored(policy, groups))


def shown(difference: float) -> str:
    return f"{difference:.0e}" if difference else "0"


def reason(error: Exception) -> str:
    """In one line that fits into a table."""
    text = " ".join(str(error).split()).replace("|", "/")
    if "torchvision" in text.lower() or "slice_mode" in text or "Could not import module" in text:
        return "its processor needs torchvision"
    text = text.partition('": ')[2] or text
    return text[:120]


def rows_of(document: str) -> dict[str, dict[str, str]]:
    lines = document.partition(START)[2].partition(END)[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in cells}


def write(rows: dict[str, dict[str, str]]) -> None:
    before, start, rest = DOCUMENT.read_text(encoding="utf-8").partition(START)
    lines = [COLUMNS, ["---"] * len(COLUMNS)]
    lines += [[rows[name][column] for column in COLUMNS] for name in FAMILIES if name in rows]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    DOCUMENT.write_text(f"{before}{start}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
