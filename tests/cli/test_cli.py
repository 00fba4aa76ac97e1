"""The command line as a whole: what it loads, its help, and what it says if an extra is missing."""

import subprocess
import sys

import pytest

from helpers.commands import predictions_of, run
from ocr_rl import __version__


def test_help_and_version_load_no_torch_and_no_numpy():
    code = """
import sys
from ocr_rl.cli.main import main
try:
    main(["--help"])
except SystemExit:
    print([m for m in ("torch", "numpy", "PIL", "rapidfuzz", "transformers", "datasets") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert done.startswith("Usage: ")
    assert done.endswith("[]\n")


def test_scoring_predictions_checking_data_and_rendering_load_no_torch(pages):
    predictions_of(pages)
    commands = [
        ["eval", "--predictions", "predictions.jsonl", "--data", str(pages), "--against", "predictions.jsonl"],
        ["data", "check", str(pages)],
        ["render", "more", "--pages", "1"],
    ]
    code = f"""
import sys
from ocr_rl.cli.main import main
for command in {commands!r}:
    main(command, standalone_mode=False)
print([m for m in ("torch", "transformers") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("command", ["train", "eval", "rollout", "transcribe", "render", "data check"])
def test_every_command_explains_itself_with_examples(command):
    result = run(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"ocr-rl {command} " in result.stdout.partition("Options:")[0].partition("\n\n")[2]


def test_the_version_is_that_of_the_package():
    assert run("--version").stdout == f"ocr-rl, version {__version__}\n"


@pytest.mark.parametrize(
    ("module", "command", "extra"),
    [("torch", ["train"], "train"), ("PIL", ["render", "pages"], "data"), ("matplotlib", ["render", "pages"], "data")],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, command, extra):
    """None in sys.modules makes the import fail as if the module were not installed; matplotlib is looked up."""
    code = f"""
import importlib.util, sys
sys.modules[{module!r}] = None
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == {module!r} else find_spec(name, package)
from ocr_rl.cli.main import main
main({command!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == f"Error: this command needs {module}: pip install 'ocr-rl[{extra}]'\n"
