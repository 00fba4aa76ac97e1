"""`ocr-rl compare`: real runs of the embedded policy, a few steps each."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner

from ocr_rl.cli.main import main

SMALL = (
    "--set=render.pages=40 --set=data.validation=0.5 --set=rollout.pages_per_step=2 --set=rollout.group_size=4 "
    "--set=reward.processes=0 --set=train.tensorboard=false --jobs=2"
).split()


def run(*arguments):
    return CliRunner().invoke(main, ["compare", *map(str, arguments)], catch_exceptions=False)


def arguments(out):
    return "--recipe", "grpo,sft", "--seeds", "0,1", "--rates", "1e-4,3e-4", "--budget", "completions=32", "--out", out


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """Two recipes, two rates with half the budget of four steps, two seeds: eight runs."""
    out = tmp_path_factory.mktemp("compare") / "out"
    done = run(*arguments(out), *SMALL)
    assert done.exit_code == 0, done.output
    return out, done.output


@pytest.fixture(scope="module")
def results(compared):
    return json.loads((compared[0] / "compare.json").read_text())


def metrics(out, name):
    return [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]


def test_every_run_has_spent_its_budget(compared, results):
    out, _ = compared
    for name, steps in (("tuning/grpo/rate_0.0001", 2), ("runs/grpo/seed_0", 4), ("runs/grpo/seed_1", 4)):
        assert [row["completions"] for row in metrics(out, name)] == [8] * steps
    for seed in "01":
        given = sum(row["time/compute"] for row in metrics(out, f"runs/grpo/seed_{seed}"))
        used = [row["time/compute"] for row in metrics(out, f"runs/sft/seed_{seed}")]
        assert sum(used[:-1]) < given + 0.06  # a tenth is what the recipe says
        assert sum(used) > given - 0.06
    assert results["recipes"]["grpo"]["cost"]["completions"] == 32
    assert results["recipes"]["sft"]["cost"]["completions"] == 0


def test_rates_are_chosen_by_the_tuning_pages_and_tests_are_on_others(compared, results):
    out, _ = compared
    for label in ("grpo", "sft"):
        row = results["recipes"][label]
        best = max(row["tuning"].values(), key=lambda own: own["reward"])
        assert row["tuning"][f"{row['rate']:g}"]["reward"] == best["reward"]
    pages = {
        which: {page["id"] for page in json.loads((out / name / "eval" / "after.json").read_text())["pages"]}
        for which, name in (("tuning", "tuning/grpo/rate_0.0001"), ("test", "runs/sft/seed_0"))
    }
    trained = {row["page"] for file in out.glob("runs/*/*/rollouts/*") for row in map(json.loads, file.open())}
    assert trained
    assert pages["tuning"]
    assert pages["test"]
    assert not pages["tuning"] & pages["test"]
    assert not trained & (pages["tuning"] | pages["test"])
    assert results["pages"]["test"] == len(pages["test"])


def test_the_results_are_what_the_runs_have_evaluated(compared, results):
    """Pooled over both seeds: all edits over all reference characters."""
    out, _ = compared
    for label in ("grpo", "sft"):
        rows = [
            page
            for seed in (0, 1)
            for page in json.loads((out / "runs" / label / f"seed_{seed}" / "eval" / "after.json").read_text())["pages"]
        ]
        cer = sum(row["char_edits"] for row in rows) / sum(row["reference_chars"] for row in rows)
        assert results["recipes"][label]["final"]["cer"] == pytest.approx(cer)
    grpo, sft = results["recipes"]["grpo"], results["recipes"]["sft"]
    assert grpo["against"] is None
    assert sft["against"]["cer"]["difference"] == pytest.approx(sft["final"]["cer"] - grpo["final"]["cer"])
    assert sft["gain"]["cer"]["difference"] == pytest.approx(sft["final"]["cer"] - results["start"]["cer"])
    assert set(sft["seeds"]) == {"0", "1"}


def test_curves_go_from_the_start_to_the_end(results):
    rows = results["recipes"]["grpo"]["curves"]["0"]
    assert [row["completions"] for row in rows] == [0, 8, 16, 24, 32]
    assert [row["step"] for row in rows if "eval/cer" in row] == [0, 1, 2, 3, 4]
    assert rows[0]["eval/cer"] == results["start"]["cer"]
    assert rows[-1]["eval/cer"] == results["recipes"]["grpo"]["seeds"]["0"]["cer"]
    assert {"reward", "reward/similarity", "entropy"} <= set(rows[1])


def test_training_moves_the_policy_from_its_start(results):
    for label in ("grpo", "sft"):
        assert results["recipes"][label]["drift"]["kl"] > 0
        assert results["recipes"][label]["drift"]["entropy"] > 0


def test_the_table_and_the_page_say_the_same(compared, results):
    out, output = compared
    page = (out / "compare.html").read_text()
    for label in ("grpo", "sft"):
        value = f"{results['recipes'][label]['final']['cer']:.3f}"
        assert any(line.startswith(label) and value in line for line in output.splitlines())
        assert value in page


def test_the_same_command_runs_nothing_again(compared, results):
    out, _ = compared
    before = {file: file.stat().st_mtime_ns for file in out.rglob("metrics.jsonl")}
    done = run(*arguments(out), *SMALL)
    assert done.exit_code == 0, done.output
    again = json.loads((out / "compare.json").read_text())
    assert {key: value for key, value in again.items() if key != "settings"} == {
        key: value for key, value in results.items() if key != "settings"
    }
    assert {file: file.stat().st_mtime_ns for file in out.rglob("metrics.jsonl")} == before


def test_a_changed_budget_does_not_mix_with_what_is_there(compared):
    out, _ = compared
    done = run(*arguments(out), *SMALL, "--budget", "completions=64")
    assert done.exit_code == 2
    assert "budget.completions was 16 and is now 32. Give another --out, or delete" in done.output


WAIT_IN_STEP_3 = """
import os, sys, time

def wait(event, args):
    third = event == "open" and str(args[0]).endswith("rollouts/step_000003.jsonl.partial")
    if third and not os.path.exists({waiting!r}):
        with open({waiting!r} + ".partial", "w") as file:
            file.write(str(os.getpid()))
        os.rename({waiting!r} + ".partial", {waiting!r})
        while not os.path.exists({go!r}):
            time.sleep(0.01)

sys.addaudithook(wait)
"""


CHAIN = """
[[stages]]
base = "sft"
[stages.train]
steps = 2

[[stages]]
base = "unlabelled"
"""


@pytest.mark.slow
def test_a_chain_is_compared_with_the_compute_of_the_reference_over_all_its_stages(tmp_path):
    """Two steps of SFT, then consensus until the seconds of grpo are used up."""
    (tmp_path / "two.toml").write_text(CHAIN)
    given = ["--recipe", "grpo,two.toml", "--seeds", "0", "--rates", "own", "--budget", "completions=32"]
    given += ["--evaluations", "1", "--out", tmp_path / "out", *SMALL]
    done = run(*given)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out" / "compare.json").read_text())
    grpo, two = results["recipes"]["grpo"], results["recipes"]["two"]
    assert (two["algorithm"], two["own_budget"], grpo["own_budget"]) == ("sft, then grpo", False, True)
    folder = tmp_path / "out" / "runs" / "two" / "seed_0"
    stages = [[json.loads(line) for line in (folder / s / "metrics.jsonl").open()] for s in ("1-sft", "2-unlabelled")]
    used = [row["time/compute"] for rows in stages for row in rows]
    assert len(stages[0]) == 2
    assert sum(used[:-1]) < grpo["cost"]["compute_s"] + 0.06
    assert sum(used) > grpo["cost"]["compute_s"] - 0.06
    assert two["cost"]["steps"] == len(used) == two["curves"]["0"][-1]["step"]
    assert not any("eval/reward" in row for row in two["curves"]["0"])  # agreement is no rate of one transcription
    after = json.loads((folder / "2-unlabelled" / "eval" / "after.json").read_text())
    assert two["seeds"]["0"]["path"] == "runs/two/seed_0"
    assert two["final"]["cer"] == after["cer"]
    assert after["reward"] is None
    assert two["final"]["reward"] > 0  # scored by grpo's reward
    assert "not all steps sample completions: two" in (tmp_path / "out" / "compare.html").read_text()
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("metrics.jsonl")}
    assert run(*given).exit_code == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("metrics.jsonl")} == before


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_in_the_middle_of_a_run_the_same_command_comes_to_the_same_end(tmp_path, stop):
    """All processes are killed in the third of four steps, or stopped by Ctrl-C, and the command is given again."""
    arguments = ["--recipe", "grpo", "--seeds", "0", "--rates", "own", "--budget", "completions=32", *SMALL, "--out"]
    command = [sys.executable, "-m", "ocr_rl.cli", "compare", *arguments]
    done = run(*arguments, tmp_path / "whole")
    assert done.exit_code == 0, done.output
    out, waiting, go = tmp_path / "stopped", tmp_path / "waiting", tmp_path / "go"
    (tmp_path / "sitecustomize.py").write_text(WAIT_IN_STEP_3.format(waiting=str(waiting), go=str(go)))
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [*command, out],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    while not waiting.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    trial = psutil.Process(int(waiting.read_text()))
    os.killpg(process.pid, stop)
    go.touch()
    message = process.communicate(timeout=120)[1]
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert f"Error: stopped; the same command continues from what is in {out}" in message
    psutil.wait_procs([trial], timeout=60)  # a killed process holds its run folder until it is gone
    assert not (out / "compare.json").exists()
    done = run(*arguments, out)
    assert done.exit_code == 0, done.output
    whole, resumed = (
        json.loads((folder / "compare.json").read_text())["recipes"]["grpo"] for folder in (tmp_path / "whole", out)
    )
    for name in ("final", "gain", "drift"):
        assert resumed[name] == whole[name]
    assert resumed["cost"]["completions"] == whole["cost"]["completions"] == 32


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--recipe", "grpo,grop"], 'no recipe "grop"; write one of'),
        (["--recipe", "grpo,,dpo"], "--recipe grpo,,dpo: write each once, separated by commas"),
        (
            ["--recipe", "grpo", "--seeds", "0,0"],
            "--seeds 0,0: write each once, separated by commas, e.g. 0,1,2",
        ),
        (["--recipe", "grpo", "--rates", "fast"], "--rates fast: write each once"),
        (
            ["--recipe", "grpo", "--budget", "hours=3"],
            "--budget hours=3: write one of pages=N, completions=N, minutes=N",
        ),
        (["--recipe", "grpo", "--against", "dpo"], "--against dpo: not one of the recipes; write one of grpo"),
        (["--recipe", "grpo", "--set", "train.stps=3"], 'did you mean "steps"?'),
        (["--recipe", "grpo", "--model", "no/such/model"], 'no folder "no/such/model"'),
    ],
)
def test_mistakes_are_errors_before_anything_is_written(tmp_path, given, message):
    out = tmp_path / "out"
    done = run(*given, "--out", out)
    assert done.exit_code == 2
    assert message in done.output
    assert not out.exists()


def test_a_dry_run_says_what_would_be_run_and_writes_nothing(tmp_path):
    out = tmp_path / "out"
    done = run("--recipe", "grpo,sft,rloo", "--dry-run", "--out", out)
    assert done.exit_code == 0
    assert "tuning      9 runs: 3 recipes x 3 rates, 7680 completions each" in done.output
    assert "training    9 runs: 3 recipes x 3 seeds, 15360 completions each" in done.output
    assert "sft, 16 pages a step, the compute of grpo; holds policy\n" in done.output
    assert "holds policy, reference" in done.output
    assert not out.exists()
