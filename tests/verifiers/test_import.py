"""`import ocr_verifiers` is light."""

import subprocess
import sys
from pathlib import Path

import ocr_verifiers

HEAVY = ("torch", "transformers", "datasets", "PIL", "pandas", "scipy", "ocr_rl", "py_mini_racer", "sacrebleu")


def test_importing_the_verifiers_and_their_cli_loads_no_torch():
    code = f"""
import sys
sys.path.insert(0, {str(Path(ocr_verifiers.__file__).parents[1])!r})
import ocr_verifiers.cli
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def test_every_public_name_exists():
    assert all(hasattr(ocr_verifiers, name) for name in ocr_verifiers.__all__)
