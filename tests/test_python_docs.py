"""docs/python.md: its examples run in order, and they show every public name."""

import ast
import re
from pathlib import Path

import ocr_rl

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_examples_run_in_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").symlink_to(ROOT / "data")
    names = {}
    for number, block in enumerate(BLOCKS, 1):
        exec(compile(block, f"docs/python.md, example {number}", "exec"), names)
    assert [step.metrics["step"] for step in names["run"].logged()] == [1, 2, 3]
    assert names["compared"]["cer"] == 0
    assert len(names["groups"]) == 2


def test_every_public_name_is_shown():
    imported = {
        alias.name
        for block in BLOCKS
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "ocr_rl"
        for alias in node.names
    }
    mentioned = set(re.findall(r"`(\w+)`", PAGE))
    assert imported <= set(ocr_rl.__all__)
    assert set(ocr_rl.__all__) - imported - mentioned == {"__version__"}
