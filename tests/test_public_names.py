"""`import ocr_rl`: the public names, each loaded when it is first used."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ocr_rl

NAMES = [name for name in ocr_rl.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_that_of_its_module(name):
    value = getattr(ocr_rl, name)
    assert value is getattr(import_module(value.__module__), name)
    assert value.__doc__


def test_the_lists_of_public_names_agree():
    """Those that are loaded, those that a type checker sees, and those that `from ocr_rl import *` imports."""
    tree = ast.parse(Path(ocr_rl.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body for alias in node.names}
    assert seen == {name: f"ocr_rl.{module}" for name, module in ocr_rl._MODULES.items()}
    assert sorted([*seen, "__version__"]) == sorted(ocr_rl.__all__)
    assert set(ocr_rl.__all__) <= set(dir(ocr_rl))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'ocr_rl' has no attribute 'trian'"):
        ocr_rl.trian  # noqa: B018


def test_importing_the_package_is_quick_and_loads_no_library():
    """CPU seconds, of which a busy machine takes no more."""
    code = (
        "import sys, time\nbegan = time.process_time()\nimport ocr_rl\nused = time.process_time() - began\n"
        "print([name for name in ('torch', 'numpy', 'PIL', 'click', 'transformers') if name in sys.modules], used)"
    )
    loaded, used = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.rsplit(" ", 1)
    assert loaded == "[]"
    assert float(used) < 0.5
