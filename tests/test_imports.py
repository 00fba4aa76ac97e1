"""Who may import whom: the floors of the house, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ocr_rl
import ocr_verifiers

PACKAGES = [Path(package.__file__).parent for package in (ocr_rl, ocr_verifiers)]
MODULES = {
    ".".join(file.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for folder in PACKAGES
    for file in folder.rglob("*.py")
}
OURS = ("ocr_rl", "ocr_verifiers")


def imports(module, everywhere=True):
    """The modules that a module imports: inside functions and for types too, or only when it is imported itself."""
    found = set()

    def visit(node):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in MODULES else node.module for name in names)
        for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if everywhere or not (isinstance(node, ast.FunctionDef) or for_types):
            for child in ast.iter_child_nodes(node):
                visit(child)

    visit(ast.parse(MODULES[module].read_text(encoding="utf-8")))
    return found


def libraries(module, everywhere=True):
    """Packages that a module imports, without ours and the standard library's."""
    packages = {name.split(".")[0] for name in imports(module, everywhere)}
    return packages - set(sys.stdlib_module_names) - set(OURS)


def modules_of(package):
    return [name for name in MODULES if name == package or name.startswith(package + ".")]


@pytest.mark.parametrize("module", modules_of("ocr_verifiers"))
def test_the_verifiers_import_small_libraries_and_nothing_of_training(module):
    assert libraries(module) <= {"click", "numpy", "PIL", "py_mini_racer", "pypdfium2", "rapidfuzz", "regex", "yaml"}
    assert not any(name.startswith("ocr_rl") for name in imports(module))


@pytest.mark.parametrize("module", ["tensors", "advantages", "losses", "mismatch", "preference_losses", "value_losses"])
def test_the_maths_knows_torch_and_itself(module):
    assert libraries(f"ocr_rl.{module}") == {"torch"}
    ours = {name for name in imports(f"ocr_rl.{module}") if name.startswith(OURS)}
    assert ours <= {"ocr_rl.tensors", "ocr_rl.advantages", "ocr_rl.losses"}


def test_the_configuration_is_standard_library_and_writes_toml():
    assert libraries("ocr_rl.config") == {"tomli_w"}
    ours = {
        name for module in ("config", "recipe_rules") for name in imports(f"ocr_rl.{module}") if name.startswith(OURS)
    }
    assert {name.split(".")[1] for name in ours} == {"config", "recipe_rules"}


@pytest.mark.parametrize("module", ["ocr_rl.cli", *modules_of("ocr_rl.commands")])
def test_the_command_line_imports_click_and_nothing_heavy_at_its_top(module):
    assert libraries(module, everywhere=False) <= {"click"}
    ours = {name for name in imports(module, everywhere=False) if name.startswith(OURS)}
    assert all(name == "ocr_rl" or name.startswith("ocr_rl.commands") for name in ours)


PAGES = "types images problems splits pixels words typefaces render pages page_files page_rows page_walk data_check"
EVALUATION = (
    "preferences preference_files evaluate page_results evaluation_summary evaluation_table comparison best_step "
    "ranking budget cells cell_runs"
)
REPORTS = "outcome report_curves report_html report_run report_evaluation report_series report_comparison"


@pytest.mark.parametrize("module", f"{PAGES} {EVALUATION} {REPORTS} rewards resume run_folder".split())
def test_pages_and_rewards_work_without_torch(module):
    assert libraries(f"ocr_rl.{module}").isdisjoint({"torch", "transformers", "peft", "tqdm"})
    at_once = {name for name in imports(f"ocr_rl.{module}", everywhere=False) if name.startswith("ocr_rl.")}
    assert at_once.isdisjoint({"ocr_rl.policy", "ocr_rl.rollout", "ocr_rl.tensors", "ocr_rl.losses", "ocr_rl.train"})


def test_several_processes_cost_one_nothing():
    """What starts them is loaded where there are several."""
    assert libraries("ocr_rl.processes", everywhere=False) == set()
    assert libraries("ocr_rl.processes") == {"accelerate", "torch"}
    assert {name for name in imports("ocr_rl.processes") if name.startswith(OURS)} == {"ocr_rl.types"}
    users = {m for m in MODULES if "accelerate" in libraries(m)}
    assert users == {"ocr_rl.processes"}


SHARED = {f"ocr_rl.trainers.{name}" for name in ("ahead", "loop", "micro_batches", "preference_learners", "rollouts")}
"""What trainers are built from; each of the others is an algorithm."""


def test_a_trainer_uses_what_all_share_and_no_other_trainer():
    for module in modules_of("ocr_rl.trainers"):
        trainers = {name for name in imports(module) if name.startswith("ocr_rl.trainers.")}
        assert trainers <= SHARED, module


def test_the_loop_the_rollout_and_the_policy_know_no_trainer():
    for module in ("policy", "rollout", "rewards", "evaluate", *(name.removeprefix("ocr_rl.") for name in SHARED)):
        names = imports(f"ocr_rl.{module}")
        assert not any(name.startswith("ocr_rl.trainers.") and name not in SHARED for name in names)


def test_only_the_rewards_and_what_reads_records_import_the_verifiers():
    """A bridge for training (rewards), and readers and writers of records and scores beside it."""
    users = {m for m in modules_of("ocr_rl") if any(name.startswith("ocr_verifiers") for name in imports(m))}
    allowed = "commands.data commands.evaluate comparison data_check evaluate page_results problems ranking report_html"
    allowed += " rewards scoring_pool trainers.rollouts"
    assert {user.removeprefix("ocr_rl.") for user in users} <= {*allowed.split()}


@pytest.mark.parametrize("code", ["import ocr_verifiers, ocr_verifiers.cli", "import ocr_rl.cli"])
def test_importing_loads_no_torch(code):
    heavy = ("torch", "transformers", "datasets", "PIL", "matplotlib", "pandas")
    report = f"import sys\n{code}\nprint([name for name in {heavy!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
