"""The documentation holds: links lead somewhere, and every command and example does what the page says.

Each page is run from top to bottom in an empty folder that holds what the page shows and what it takes for granted (the
sample, a folder of scans, a finished run). Comments above blocks say what they are, see CONTRIBUTING.md.
"""

import ast
import contextlib
import doctest
import json
import re
import shlex
import shutil
import tomllib
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from helpers.markdown import CHECKOUT, PAGES, anchors, blocks, inline_code, links, page_name
from ocr_rl.cli.main import main as ocr_rl_main
from ocr_rl.config.chains import find_chain, load_chain
from ocr_rl.config.loader import load_recipe, recipe_names
from ocr_verifiers.cli.main import main as ocr_verify_main

COMMANDS = {"ocr-rl": ocr_rl_main, "ocr-verify": ocr_verify_main}
ELSEWHERE = {"docs/python.md"}
"""Pages whose examples another test runs."""
EXAMPLES = [
    page
    for page in PAGES
    if page_name(page) not in ELSEWHERE and any(b.language in {"sh", "python", "pycon"} for b in blocks(page))
]
VALUES = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
"""Types of options whose values are checked without running a command."""
LONG = [page for page in EXAMPLES if page_name(page) == "README.md" or any(b.directive == "slow" for b in blocks(page))]
"""What `make test-slow` runs as it stands."""

SHORT = "rollout.pages_per_step=2 rollout.group_size=2 rollout.max_tokens=8 train.eval_pages=2 render.pages=12".split()
"""Settings of a run of a few seconds."""
SHORTENED = ["--steps", "2", *(word for setting in SHORT for word in ("--set", setting))]


def named(pages):
    return [pytest.param(page, id=page_name(page)) for page in pages]


def commands(text):
    """The commands of a block, as lists of words, without comments and without variables set in front of them."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words:
            yield words


def click_command(words):
    """(the command that the words name, the words that follow)."""
    command, rest = COMMANDS[words[0]], words[1:]
    while isinstance(command, click.Group):
        assert rest, f"{' '.join(words)}: which command?"
        assert rest[0] in command.commands, f"{' '.join(words)}: no command {rest[0]}"
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def parse(words):
    """Checks that a command and its options exist and take their values, and that a recipe has the settings."""
    command, rest = click_command(words)
    context = click.Context(command)
    given, _, _ = command.make_parser(context).parse_args(list(rest))
    for parameter in command.params:
        if parameter.name in given and isinstance(parameter.type, VALUES):
            parameter.type_cast_value(context, given[parameter.name])
    settings = [value for option, value in pairwise(words) if option == "--set"]
    if settings and find_chain(rest[0]):
        load_chain(find_chain(rest[0]), settings)
    elif settings:
        load_recipe(rest[0] if rest[0] in recipe_names() else "grpo", settings)


def check(words, page):
    """Checks a command of any sort without running it."""
    tool, rest = words[0], words[1:]
    if tool in COMMANDS:
        parse(words)
    elif tool in ("torchrun", "accelerate"):
        at = rest.index("ocr_rl.cli")
        assert rest[at - 1] == "-m"
        parse(["ocr-rl", *rest[at + 1 :]])
    elif tool == "make":
        targets = re.findall(r"^([\w-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert {word for word in rest if "=" not in word} <= set(targets), page
    elif tool == "pip":
        check_pip(rest)
    elif tool == "vllm":
        assert rest[0] == "serve", page  # which tests/publishing/test_serving.py runs
    elif tool == "python":
        script = (CHECKOUT / rest[0]).read_text(encoding="utf-8")
        assert {word for word in rest if word.startswith("--")} <= set(re.findall(r"--[\w-]+", script)), page
    else:
        assert (CHECKOUT / tool).is_file(), f"{page}: {tool}?"


def check_pip(rest):
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]
    (what,) = rest[1:]
    named = re.fullmatch(r"(?:\.|ocr-rl)(?:\[([\w,]+)\])?", what)
    assert rest[0] == "install"
    assert named, f"pip installs {what}"
    assert set((named[1] or "").split(",")) <= {*extras, ""}


def shortened(words):
    """A training run of two steps instead of one of minutes."""
    if words[:2] != ["ocr-rl", "train"]:
        return words
    if "--resume" in words:
        return [*words, "--steps", "3"] if "--steps" in words else words
    return [*words, *SHORTENED]


def newest_checkpoint(word):
    """The run is as long as its test lets it be: `.../checkpoints/step_000060` is its newest checkpoint."""

    def there(match):
        steps = sorted(path.name for path in Path(match[1]).glob("step_*"))
        assert steps, f"{match[0]}: the run has no checkpoint"
        return match[1] + steps[-1]

    return re.sub(r"([^\s=]+/checkpoints/)step_\d+", there, word)


def run(words, page, exit_code=0):
    """What a command prints on stdout."""
    words = [newest_checkpoint(word) for word in words]
    if words[:2] == ["ocr-rl", "train"] and "--out" in words:
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    result = CliRunner().invoke(COMMANDS[words[0]], words[1:])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == exit_code, f"{page}: {' '.join(words)}\n{result.output}"
    return result.stdout


def run_page(page, is_long):
    """Runs a page in the working directory, from top to bottom."""
    printed, names = "", {}
    for block in blocks(page):
        where = f"{page_name(page)}:{block.line}"
        if block.directive == "file":
            file = Path(block.value)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
        elif block.directive == "output":
            assert printed == block.text, where
        elif block.directive == "not run" or (block.directive == "slow" and not is_long):
            continue
        elif block.language == "sh":
            code = int(block.value) if block.directive == "exit code" else 0
            for words in commands(block.text):
                if words[0] in COMMANDS:
                    printed = run(words if is_long else shortened(words), where, code)
        elif block.language == "python":
            exec(compile(block.text, where, "exec"), names)
        elif block.language == "pycon":
            session = doctest.DocTestParser().get_doctest(block.text, names, where, where, block.line)
            assert session.examples
            assert doctest.DocTestRunner(verbose=False).run(session).failed == 0


@pytest.fixture(scope="session")
def furniture(tmp_path_factory):
    """What pages take for granted: data/sample, scans/, the run runs/scans, and the PDF of a benchmark."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("furniture")
    shutil.copytree(CHECKOUT / "data" / "sample", folder / "data" / "sample")
    with contextlib.chdir(folder):
        for words in commands("ocr-rl render drawn --pages 8 --lines 1 2 --characters 4 8"):
            run(words, "furniture")
        (folder / "scans").mkdir()
        rows = [json.loads(line) for line in (folder / "drawn" / "metadata.jsonl").read_text().splitlines()]
        for n, row in enumerate(rows, 1):
            (folder / "drawn" / row["file_name"]).rename(folder / "scans" / f"p{n}.png")
        rows = [
            {"file_name": f"p{n}.png", "text": row["text"], "doc": f"letter {n}", "language": "en", "level": "line"}
            for n, row in enumerate(rows, 1)
        ]
        (folder / "scans" / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        # of tiny, whose two held-out pages read the same in bfloat16; one character of 16 is over what `merge` allows
        run(shortened(["ocr-rl", "train", "--model", "tiny", "--data", "scans", "--out", "runs/scans"]), "furniture")
    (folder / "olmOCR-bench" / "pdfs").mkdir(parents=True)
    Image.new("L", (80, 80), 255).save(folder / "olmOCR-bench" / "pdfs" / "letter.pdf")
    return folder


@pytest.fixture
def desk(request, tmp_path, monkeypatch):
    """An empty working directory, with those pieces of furniture that the page mentions."""
    text = request.getfixturevalue("page").read_text(encoding="utf-8")
    mentioned = [
        name
        for name in ("data", "scans", "runs", "olmOCR-bench")
        if f"{name}/" in text or (name == "olmOCR-bench" and name in text)
    ]
    if mentioned:
        furniture = request.getfixturevalue("furniture")
        for name in mentioned:
            shutil.copytree(furniture / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", named(EXAMPLES))
def test_a_page_does_what_it_shows(page, desk):
    run_page(page, is_long=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", named(LONG))
def test_a_long_page_does_what_it_shows(page, desk):
    run_page(page, is_long=True)


@pytest.mark.parametrize("page", named(PAGES))
def test_every_command_exists_with_its_options(page):
    for block in blocks(page):
        shown = [line for line in block.text.splitlines() if re.match(r"(ocr-rl|ocr-verify|torchrun|make|pip) ", line)]
        assert block.language == "sh" or not shown, f"{page_name(page)}:{block.line}: mark commands as sh"
        if block.language == "sh":
            for words in commands(block.text):
                check(words, f"{page_name(page)}:{block.line}")


@pytest.mark.parametrize("page", named(PAGES))
def test_every_command_in_the_prose_exists_with_its_options(page):
    """Of inline code: the name of a command, and options that it has. Values may be left out or stand for others."""
    for code in inline_code(page):
        words = code.split()
        if words[0] not in COMMANDS or len(words) == 1 or words[1].startswith("-") or words[1].isupper():
            continue
        command, rest = click_command(words)
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options | {"--help"}, f"{page_name(page)}: {code}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown_and_has_a_help_text(name):
    shown = {
        tuple(w for w in words[1:3])
        for page in PAGES
        for b in blocks(page)
        if b.language == "sh"
        for words in commands(b.text)
        if words[0] == name
    }
    for command in COMMANDS[name].commands.values():
        group = isinstance(command, click.Group)
        for path in [(command.name, sub) for sub in command.commands] if group else [(command.name,)]:
            assert any(words[: len(path)] == path for words in shown), f"{name} {' '.join(path)} is shown nowhere"
            assert CliRunner().invoke(COMMANDS[name], [*path, "--help"]).exit_code == 0


@pytest.mark.parametrize("page", named(PAGES))
def test_every_link_leads_to_a_place_in_the_repository(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.is_relative_to(CHECKOUT), target
        assert there.exists(), f"{page_name(page)}: {target}"
        if anchor:
            assert anchor in anchors(there), f"{page_name(page)}: {target}"


def test_the_index_links_to_every_page():
    docs = CHECKOUT / "docs"
    linked = {target.partition("#")[0] for target in links(docs / "index.md")}
    assert {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize("page", named(PAGES))
def test_every_module_that_is_named_exists(page):
    roots = [CHECKOUT, CHECKOUT / "ocr_rl", CHECKOUT / "verifiers", CHECKOUT / "verifiers" / "ocr_verifiers"]
    for code in inline_code(page):
        if re.fullmatch(r"[\w./-]+/[\w.-]+\.py", code):
            assert any((root / code).is_file() for root in roots), f"{page_name(page)}: {code}"


@pytest.mark.parametrize(("page", "limit"), [("README.md", 150), ("verifiers/README.md", 80)])
def test_a_readme_is_short(page, limit):
    assert len((CHECKOUT / page).read_text(encoding="utf-8").splitlines()) <= limit


def test_the_tables_of_folders_are_those_of_the_import_rules():
    tree = ast.parse((CHECKOUT / "tests" / "test_import_rules.py").read_text(encoding="utf-8"))
    (rooms,) = [
        ast.literal_eval(n.value)
        for n in tree.body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "ROOMS"
    ]
    text = (CHECKOUT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for package, allowed in rooms.items():
        table = text.partition(f"\n`{package}`:\n\n")[2].partition("\n\n")[0]
        written = {}
        for row in table.splitlines()[2:]:
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            written[cells[0]] = cells[-1]
        assert written == {
            f"`{name}`": " ".join(f"`{other}`" for other in others.split()) for name, others in allowed.items()
        }
