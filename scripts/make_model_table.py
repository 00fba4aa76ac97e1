"""Checks families of document models and writes what was found into the table of docs/models.md.

    python scripts/make_model_table.py                      # all families; minutes
    python scripts/make_model_table.py qwen2_5_vl gemma3    # these rows; the others stay
    python scripts/make_model_table.py --vllm               # the column of vLLM, in the CPU build, and nothing else

The models have random weights and their real config and processor classes (tests/helpers/families); the checks are
those of tests/models/test_families.py. A family that is not run keeps its row. What cannot be loaded gives the reason.
With --vllm each family has a process of its own, and no cell is written that was not run. With torchvision, the models
that need it are loaded too, and their rows say so.
"""

from __future__ import annotations

import argparse
import re
import subprocess
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
CELL = "vLLM cell:"
TIMEOUT_S = 1200
START, END = "<!-- table: scripts/make_model_table.py -->\n", "<!-- end of table -->\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), help="default: all")
    parser.add_argument("--vllm", action="store_true", help="sample with vLLM, and do nothing else")
    parser.add_argument("--vllm-cell", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.vllm_cell:
        with tempfile.TemporaryDirectory() as folder:
            print(CELL, vllm_cell(options.families[0], Path(folder)))
        return 0
    for name in options.families:
        with tempfile.TemporaryDirectory() as folder:
            cells = {"vLLM": in_a_process(name)} if options.vllm else found(name, Path(folder))
        rows = rows_of(DOCUMENT.read_text(encoding="utf-8"))
        rows[name] = {**rows.get(name, dict.fromkeys(COLUMNS, "")), **cells, "family": name}
        print(rows[name], flush=True)
        write(rows)
    return 0


def in_a_process(name: str) -> str:
    """The cell of vLLM, which changes classes of transformers in its process, and may end it."""
    command = [sys.executable, __file__, "--vllm-cell", name]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no: no answer in {TIMEOUT_S // 60} minutes"
    cells = [line.removeprefix(CELL).strip() for line in done.stdout.splitlines() if line.startswith(CELL)]
    return cells[0] if cells else f"no: its process ended with code {done.returncode}"


def vllm_cell(name: str, folder: Path) -> str:
    try:
        policy = load(save(name, folder / "model"))
    except (ValueError, ImportError, AttributeError):
        return ""
    return with_vllm(policy, folder)


def found(name: str, folder: Path) -> dict[str, str]:
    try:
        model = save(name, folder / "model")
        policy = load(model)
    except (ValueError, ImportError, AttributeError) as error:
        return {"page size": f"not loaded: {reason(error)}"}
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
    from ocr_rl.rollouts.vllm import supervisor
    from ocr_rl.rollouts.vllm.engine import VllmEngine
    from ocr_rl.rollouts.vllm.options import VllmOptions

    supervisor.RESTARTS = 0  # a process that ends is the result
    options = VllmOptions(rows=8, max_model_len=2048, kv_cache_gib=0.05, timeout_s=600, log=folder / "vllm.log")
    try:
        engine = VllmEngine(policy, options)
        try:
            groups = engine.generate([page(), page(200, 90)], Sampling(2, temperature=1.0, max_tokens=8), seed=5)
        finally:
            engine.close()
    except (EngineError, ValueError) as error:
        if found := re.search(r"differ from the trainer's by ([\d.]+) on average", str(error)):
            return f"no: differs by {found[1]} on average, which stops the run"
        log = options.log.read_text(encoding="utf-8", errors="replace") if options.log.is_file() else ""
        if "No module named 'torchvision'" in log:
            return "vLLM needs torchvision"
        raised = re.findall(r"^[\w.]*(?:Error|Exception)\b.*", log, re.MULTILINE)
        return f"no: {reason(ValueError(raised[-1].partition(': ')[2] or raised[-1]) if raised else error)}"
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
