"""Build the wheel and use it as a stranger would: alone, in an empty environment, outside of the checkout.

    python scripts/wheel_check.py

Needs the `build` package and an index to install click, numpy, pydantic, pyyaml, rapidfuzz, regex and tomli-w from.
Every check is run; the exit code is 1 if any fails.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "transformers", "datasets", "PIL")
PACKAGED = (
    *(f"ocr_rl/recipes/{recipe.name}" for recipe in sorted((CHECKOUT / "ocr_rl" / "recipes").glob("*.toml"))),
    "ocr_rl/py.typed",
    "ocr_rl/reporting/report.css",
    "ocr_rl/reporting/review.css",
    "ocr_rl/reporting/review.js",
    *(
        f"ocr_rl/models/{policy}/{name}"
        for policy in ("tiny", "tiny_scans")
        for name in (
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "processor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        )
    ),
    "ocr_verifiers/py.typed",
    "ocr_verifiers/bench/report.css",
    "ocr_verifiers/bench/report.js",
)


def build(folder: Path) -> Path:
    """The wheel, built from the source distribution, so that this is whole as well."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(CHECKOUT)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        sys.exit(made.stdout + made.stderr)
    (wheel,) = folder.glob("*.whl")
    return wheel


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ocr-rl-wheel-") as name:
        scratch = Path(name)
        wheel = build(scratch / "dist")
        venv.create(scratch / "venv", with_pip=True)
        binaries = scratch / "venv" / "bin"
        pip = [str(binaries / "python"), "-m", "pip", "install", "--quiet", str(wheel)]
        subprocess.run(pip, check=True, cwd=scratch)
        failed = 0

        def report(what: str, problem: str) -> None:
            nonlocal failed
            failed += bool(problem)
            print(f"FAILED {what}: {problem}" if problem else f"ok     {what}")

        def runs(command: list[str], code: int = 0, out: str = "", err: str = "") -> None:
            """Run in the scratch folder; `out` and `err` must be part of what it prints."""
            env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
            path = [str(binaries / command[0]), *command[1:]]
            run = subprocess.run(path, cwd=scratch, env=env, capture_output=True, text=True)
            fits = run.returncode == code and out in run.stdout and err in run.stderr
            fits = fits and (code == 0 or run.stderr.count("\n") == 1)
            told = f"exit code {run.returncode}\n{run.stdout}{run.stderr}"
            report(" ".join(command[:3]), "" if fits else told)

        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        for wanted in PACKAGED:
            report(f"the wheel has {wanted}", "" if wanted in names else "it is missing")
        alone = {name.split("/")[0] for name in names if ".dist-info/" not in name}
        report("the wheel has two packages", "" if alone == {"ocr_rl", "ocr_verifiers"} else f"it has {sorted(alone)}")

        runs(["ocr-rl", "--version"], out="ocr-rl, version ")
        runs(["ocr-rl", "--help"], out="transcribe")
        runs(["ocr-verify", "--help"], out="score")
        imported = f"import sys, ocr_verifiers, ocr_rl.cli; print([m for m in {HEAVY} if m in sys.modules])"
        runs(["python", "-c", imported], out="[]\n")
        runs(["ocr-rl", "train"], 2, err="pip install 'ocr-rl[train]'")
        runs(["ocr-rl", "render", "pages"], 2, err="pip install 'ocr-rl[data]'")
    sys.exit(f"{failed} checks failed" if failed else 0)


if __name__ == "__main__":
    main()
