"""`scripts/gpu_check.py` on the CPU, with its smallest policy: what it finds, and that it can fail."""

import json
import runpy
import sys
from pathlib import Path

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel

SCRIPT = Path(__file__).parents[1] / "scripts" / "gpu_check.py"


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Runs it: (exit code, its checks by name)."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    script = runpy.run_path(str(SCRIPT))

    def run(*options):
        found = tmp_path / "found.json"
        code = script["main"](["--device", "cpu", "--json", str(found), *options])
        return code, {check["name"]: check for check in json.loads(found.read_text())["checks"]}

    return run


def test_a_step_in_float32_is_the_cpus_and_a_gpus_bars_are_skipped_without_one(run, capsys):
    code, checks = run("--only", "accuracy", "kernels", "steps")
    assert code == 0
    assert {check["state"] for check in checks.values()} == {"ok", "skipped"}
    gradient = checks["float32 against the CPU: gradient"]
    assert 0 < gradient["values"]["value"] < 1e-6
    assert checks["bfloat16 against float32: gradient"]["values"]["value"] > 1e-3
    assert list(checks["attention in bfloat16: prompt"]["values"]) == ["flash"]  # no mask
    assert list(checks["attention in bfloat16: continued, to learn"]["values"]) == ["flash masked"]
    assert checks["transformers engine"]["values"]["tokens_per_second"] > 0
    skipped = checks["memory plan, learning"]
    assert skipped["state"] == "skipped"
    assert "there is no GPU" in skipped["figure"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "policy: Qwen2.5-VL, tiny: 156,064 weights"
    assert next(line for line in lines if "CPU: gradient" in line).startswith("ok ")
    assert lines[-1].startswith(f"0 of {len(checks)} checks failed, ")


def test_a_failed_check_is_exit_code_1(run):
    with sdpa_kernel(SDPBackend.MATH):
        code, checks = run("--only", "kernels")
    assert code == 1
    assert {check["state"] for check in checks.values()} == {"failed"}
    assert list(checks["attention in bfloat16: prompt"]["values"]) == ["math"]


def test_what_there_is_no_time_for_is_skipped(run):
    code, checks = run("--minutes", "0", "--only", "accuracy", "trl")
    assert code == 0
    assert [check["figure"] for check in checks.values()] == ["--minutes are over"] * 2


def test_a_gpu_that_is_not_there_is_said(run, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match="2"):
        run("--device", "cuda")
    assert "PyTorch sees no GPU; write --device cpu" in capsys.readouterr().err
