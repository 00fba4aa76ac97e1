"""Who may import whom: the floors of the house, read from the source, imports inside functions included."""

import ast
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ocr_rl
import ocr_verifiers

ROOMS = {
    "ocr_rl": {
        "cli": "pipeline publishing reporting comparison evaluation rollouts rewards data models runs config "
        "distributed types errors threads",
        "pipeline": "reporting algorithms comparison training evaluation rollouts rewards data models runs config "
        "distributed metric_names types errors seeds threads",
        "publishing": "evaluation rollouts rewards data models runs config metric_names types",
        "reporting": "comparison data runs config metric_names types",
        "algorithms": "training rollouts rewards data models objectives config distributed types errors seeds",
        "comparison": "evaluation rewards data models runs config metric_names types threads",
        "training": "rollouts rewards data models runs objectives config distributed types errors seeds threads",
        "evaluation": "rollouts rewards data models runs objectives config metric_names types",
        "rollouts": "rewards data models runs config distributed types errors seeds",
        "rewards": "data config runs types",
        "data": "config types hub",
        "models": "config distributed types hub",
        "runs": "config metric_names",
        "objectives": "",
        "config": "metric_names hub",
        "distributed": "errors",
        "types": "",
        "errors": "",
        "seeds": "",
        "hub": "",
        "threads": "",
        "metric_names": "",
    },
    "ocr_verifiers": {
        "cli": "bench cheats authoring rewards outputs unit_tests metrics files markup text resampling",
        "bench": "rewards outputs unit_tests metrics files text resampling",
        "cheats": "authoring rewards outputs unit_tests metrics markup text",
        "adapters": "rewards unit_tests files",
        "authoring": "unit_tests files markup text",
        "rewards": "outputs unit_tests metrics files markup text",
        "unit_tests": "files markup text",
        "metrics": "markup text",
        "files": "outputs text",
        "outputs": "markup text",
        "markup": "text",
        "text": "",
        "resampling": "",
    },
}
"""A room is a folder or a file at the top of a package; beside it, the rooms of the same package that it may import."""

USES_VERIFIERS = "cli pipeline reporting evaluation comparison rollouts rewards data training config"
"""The rooms of ocr_rl that import ocr_verifiers."""

NO_TORCH = "cli reporting comparison rewards data runs config distributed types errors metric_names seeds threads hub"
"""The rooms of ocr_rl that load neither torch nor transformers when they are imported."""

MODULES = {
    ".".join(file.relative_to(folder.parent).with_suffix("").parts).removesuffix(".__init__"): file
    for folder in (Path(package.__file__).parent for package in (ocr_rl, ocr_verifiers))
    for file in folder.rglob("*.py")
}


@cache
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


def ours(module, everywhere=True):
    return {name for name in imports(module, everywhere) if name in MODULES}


def libraries(module, everywhere=True):
    """Packages that a module imports, without ours and the standard library's."""
    packages = {name.split(".")[0] for name in imports(module, everywhere)}
    return packages - set(sys.stdlib_module_names) - set(ROOMS)


def room(module):
    """("ocr_rl", "data") of "ocr_rl.data.synthetic.render"; the package itself is the room ""."""
    package, _, rest = module.partition(".")
    return package, rest.partition(".")[0]


def in_rooms(package, rooms):
    return [module for module in MODULES if room(module)[0] == package and room(module)[1] in rooms.split()]


def test_every_room_is_in_the_table():
    assert {room(module) for module in MODULES} == {(p, name) for p, rooms in ROOMS.items() for name in ["", *rooms]}


@pytest.mark.parametrize(("package", "name"), [(p, name) for p, rooms in ROOMS.items() for name in rooms])
def test_a_room_imports_what_the_table_allows(package, name):
    allowed = {name, *ROOMS[package][name].split()}
    for module in in_rooms(package, name):
        for other in ours(module):
            there, which = room(other)
            if there != package:
                assert (package, there) == ("ocr_rl", "ocr_verifiers"), f"{module} imports {other}"
                assert name in USES_VERIFIERS.split(), f"{module} imports {other}"
            elif which:
                assert which in allowed, f"{module} imports {other}"
            else:
                assert_only_the_version(module, package)


def assert_only_the_version(module, package):
    """The public names of a package are for its users."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            names = {alias.name for alias in node.names if f"{package}.{alias.name}" not in MODULES}
            assert names <= {"__version__"}, f"{module} imports {names} from {package}"


def test_no_file_imports_itself_by_way_of_others():
    graph = {module: ours(module) - {module, "ocr_rl", "ocr_verifiers"} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_an_algorithm_knows_no_other_algorithm():
    for module in in_rooms("ocr_rl", "algorithms"):
        own = module.split(".")[2:3]
        others = {name.split(".")[2] for name in ours(module) if room(name) == ("ocr_rl", "algorithms")}
        assert others <= set(own), module


@pytest.mark.parametrize("module", in_rooms("ocr_verifiers", " ".join(ROOMS["ocr_verifiers"])))
def test_the_verifiers_import_small_libraries_and_nothing_of_training(module):
    assert libraries(module) <= {"click", "numpy", "PIL", "py_mini_racer", "pypdfium2", "rapidfuzz", "regex", "yaml"}


@pytest.mark.parametrize("module", in_rooms("ocr_verifiers", "unit_tests"))
def test_a_check_knows_no_reward(module):
    assert not any(room(name) == ("ocr_verifiers", "rewards") for name in ours(module))


@pytest.mark.parametrize("module", in_rooms("ocr_rl", "objectives"))
def test_the_mathematics_knows_torch_alone(module):
    assert libraries(module) <= {"torch"}


def test_the_configuration_is_checked_by_pydantic_and_writes_toml():
    assert set().union(*map(libraries, in_rooms("ocr_rl", "config"))) == {"pydantic", "pydantic_core", "tomli_w"}


@pytest.mark.parametrize("module", in_rooms("ocr_rl", "cli"))
def test_the_command_line_imports_click_and_nothing_heavy_at_its_top(module):
    assert libraries(module, everywhere=False) <= {"click"}
    assert {room(name)[1] for name in ours(module, everywhere=False)} <= {"", "cli"}


def heavy(module):
    """Whether importing a module loads torch or transformers, by way of our own modules too."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        if libraries(name, everywhere=False) & {"torch", "transformers", "peft", "accelerate"}:
            return name
        todo += ours(name, everywhere=False)
    return None


TORCH_FREE_ROLLOUTS = [
    f"ocr_rl.rollouts.{name}"
    for name in ("console", "engine", "group_output", "loading", "ordered", "resumable", "scoring")
]


@pytest.mark.parametrize("module", [*in_rooms("ocr_rl", NO_TORCH), *TORCH_FREE_ROLLOUTS])
def test_what_reads_pages_and_scores_works_without_torch(module):
    assert heavy(module) is None


def test_drift_alone_needs_torch_of_the_evaluation():
    assert [module for module in in_rooms("ocr_rl", "evaluation") if heavy(module)] == ["ocr_rl.evaluation.drift"]


def test_vllm_and_accelerate_are_imported_where_they_are_wrapped():
    users = {name: {m for m in MODULES if name in libraries(m)} for name in ("vllm", "accelerate")}
    assert users["vllm"] == {"ocr_rl.rollouts.vllm.worker", "ocr_rl.rollouts.vllm.server_weights"}
    assert users["accelerate"] == {"ocr_rl.distributed"}


@pytest.mark.parametrize("code", ["import ocr_verifiers, ocr_verifiers.cli.main", "import ocr_rl, ocr_rl.cli.main"])
def test_importing_loads_no_torch(code):
    libraries = ("torch", "transformers", "datasets", "PIL", "matplotlib", "pandas", "pydantic")
    report = f"import sys\n{code}\nprint([name for name in {libraries!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
