"""Resuming: a run that is killed at any moment and goes on ends as if it had never stopped, bit for bit.

Runs are `ocr-rl train` on a random policy and eight pages of noise, in child processes that are killed where a test
says, each before it touches some file of its run folder.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from helpers.runs import SETTINGS, STEPS, before_touching, contents, done, killed, metrics_of, resume, train, untracked
from helpers.tiny_models import weights
from ocr_rl.config.loader import load_recipe
from ocr_rl.config.schema import ModelConfig, Recipe, RenderConfig
from ocr_rl.data.facts import digest_of
from ocr_rl.data.loading import load_pages
from ocr_rl.models.policy import Policy
from ocr_rl.pipeline.pages import collect_pages
from ocr_rl.runs.folder import RunFolder
from ocr_rl.runs.resume import find_resume_point


@pytest.fixture(scope="module")
def uninterrupted(place):
    """A finished run, and how often it touched its folder."""
    return place / "uninterrupted", done(train(place / "uninterrupted")).touches


@pytest.fixture(scope="module")
def _cut(place):
    """A run killed in its fifth step, with checkpoints of steps 2 and 4."""
    killed(train(place / "cut", kill=before_touching("rollouts/step_000005")))
    return place / "cut"


@pytest.fixture
def cut(_cut, place):
    """A copy of it to do harm to."""
    shutil.rmtree(place / "copy", ignore_errors=True)
    shutil.copytree(_cut, place / "copy")
    return place / "copy"


# --- the same as without a stop


@pytest.mark.parametrize(
    ("part", "time"),
    [
        ("eval/before.json", 2),  # evaluated, not yet named so
        ("metrics.jsonl", 3),  # in the second step, before anything is saved
        ("step_000002.partial", 1),
        ("step_000002.partial/trainer/files.json", 1),
        ("step_000004.partial", 2),
        ("step_000002.deleted", 1),  # the newest two are there, an old one is being deleted
        ("rollouts/step_000005", 1),
        ("eval/after.json", 1),
    ],
)
def test_a_run_killed_and_resumed_equals_one_that_was_not(fresh, uninterrupted, part, time):
    killed(train(fresh, kill=before_touching(part, time)))
    done(resume(fresh))
    assert contents(fresh) == contents(uninterrupted[0])


def test_a_run_killed_at_random_again_and_again_equals_one_that_was_not(fresh, uninterrupted):
    """Each process lives for a random share of what half a run does to its folder; the first one to write a recipe."""
    random = Random(0)
    lives = [random.randint(10, uninterrupted[1] // 2) for _ in range(6)]
    killed(train(fresh, kill=lambda touch, _: touch == lives[0]))
    ends = [resume(fresh, kill=lambda touch, _, last=last: touch == last).status for last in lives[1:]]
    assert -signal.SIGKILL in ends
    done(resume(fresh))
    assert contents(fresh) == contents(uninterrupted[0])


def test_a_process_killed_from_outside_is_resumed_too(fresh, uninterrupted):
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SETTINGS.items()]
    files = ["--data", fresh.parent / "pages", "--model", fresh.parent / "policy", "--out", fresh]
    command = [sys.executable, "-m", "ocr_rl.cli", "train", *map(str, files), *settings]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (fresh / "checkpoints" / "step_000002").exists():
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done(resume(fresh))
    assert contents(fresh) == contents(uninterrupted[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"model.lora_rank": 4, "grpo.beta": 0.1},
        {"grpo.beta": 0.1, "grpo.inner_epochs": 2, "grpo.updates_per_batch": 2},
        {"reward.permute": True, "train.schedule": "cosine", "train.warmup_steps": 2, "model.freeze_vision": True},
        {"train.keep_best": "similarity", "train.eval_every": 1, "train.checkpoint_every": 0},
    ],
    ids=["lora and kl", "kl and frozen logprobs", "permuted, cosine, frozen tower", "keep best"],
)
def test_every_kind_of_run_resumes_exactly(place, fresh, settings):
    """Killed in the fourth of five steps, with a checkpoint of the second or third at the latest."""
    options = [f"--set={key}={json.dumps(value)}" for key, value in (settings | {"train.steps": 5}).items()]
    whole = place / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    done(train(whole, *options))
    killed(train(fresh, *options, kill=before_touching("rollouts/step_000004")))
    assert RunFolder(fresh).checkpoints()
    done(resume(fresh))
    assert contents(fresh) == contents(whole)
    assert len({line["grad_norm"] for line in metrics_of(whole)}) == 5  # it learned, and each step something else


def test_a_longer_run_is_the_one_that_it_would_have_been(fresh, uninterrupted):
    """Its recipe is the longer run's from then on; the first closing evaluation is kept next to the second."""
    done(train(fresh, "--steps=4"))
    first = json.loads((fresh / "eval" / "after.json").read_text())
    done(resume(fresh, f"--steps={STEPS}"))
    longer, whole = contents(fresh), contents(uninterrupted[0])
    assert json.loads(longer.pop("eval/after_step_000004.json")) == first
    assert {name for name in longer if longer[name] != whole.get(name)} == {
        f"checkpoints/step_000004/trainer/{name}" for name in ("recipe.toml",)
    }
    assert longer.keys() == whole.keys()


def test_a_run_stopped_by_ctrl_c_is_not_finished(fresh, uninterrupted):
    stopped = done(train(fresh, kill=before_touching("rollouts/step_000003"), with_signal=signal.SIGINT))
    assert len(metrics_of(fresh)) == 3
    assert "run folder" in stopped.output
    done(resume(fresh))
    assert (fresh / "eval" / "after_step_000003.json").is_file()
    assert metrics_of(fresh) == metrics_of(uninterrupted[0])
    final = "checkpoints/step_000006/model.safetensors"
    assert (fresh / final).read_bytes() == (uninterrupted[0] / final).read_bytes()


def test_sft_saves_what_it_has_when_it_is_terminated(fresh):
    settings = [f"--set={key}={value}" for key, value in {"train.checkpoint_every": 0, "train.steps": 100}.items()]
    stopped = train(
        fresh, "--set=algorithm=sft", *settings, kill=before_touching("metrics.jsonl", 3), with_signal=signal.SIGTERM
    )
    assert [path.name for path in RunFolder(fresh).checkpoints()] == [
        f"step_{len(metrics_of(done(stopped) and fresh)):06}"
    ]
    assert len(metrics_of(fresh)) < 5


def test_a_finished_run_says_so_and_nothing_changes(uninterrupted):
    run, _ = uninterrupted
    before = contents(run)
    assert done(resume(run)).output == f"{run} is finished; --steps N, more budget or patience makes it longer\n"
    assert contents(run) == before


def test_a_run_killed_before_its_report_gets_it(fresh):
    killed(train(fresh, kill=before_touching("report.html")))
    assert not (fresh / "report.html").exists()
    assert done(resume(fresh)).output == f"{fresh} is finished; --steps N, more budget or patience makes it longer\n"
    report = (fresh / "report.html").read_text(encoding="utf-8")
    assert "6 of 6 steps" in report
    assert "data:image/jpeg;base64," in report
    assert 'data-metric="reward/similarity"' in report


def test_a_checkpoint_is_a_plain_hugging_face_folder(uninterrupted):
    """Optimiser state is in a subfolder, because vLLM loads every *.safetensors next to config.json as weights."""
    newest = uninterrupted[0] / "checkpoints" / "step_000006"
    assert [file.name for file in newest.glob("*.safetensors")] == ["model.safetensors"]
    policy = Policy.load(ModelConfig(path=str(newest)))
    other = Policy.load(ModelConfig(path=str(newest.with_name("step_000004"))))
    assert any((value != weights(other)[name]).any() for name, value in weights(policy).items())
    other.load_weights(newest)
    assert all((value == weights(other)[name]).all() for name, value in weights(policy).items())


def cpu_seconds(process):
    """What a running process has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
# Kills are set by processor time, which a busy machine does not shift; other systems tell it in other ways.
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processor time from /proc")
def test_the_embedded_policy_survives_ten_kills(tmp_path):
    """The default recipe on fewer pages, rendering included; each process is killed after a random processor time."""
    recipe = {
        "render.pages": 60,
        "rollout.group_size": 8,
        "rollout.pages_per_step": 4,
        "train.steps": 12,
        "train.eval_every": 5,
        "train.checkpoint_every": 1,
    }
    settings = [f"--set={key}={value}" for key, value in recipe.items()]
    start = [sys.executable, "-m", "ocr_rl.cli", "train"]
    quiet = {"env": os.environ | {"OMP_NUM_THREADS": "1"}, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    whole, run, random = tmp_path / "whole", tmp_path / "run", Random(0)
    subprocess.run([*start, *settings, "--out", whole], check=True, **quiet)
    kills, reached = 0, []
    while kills < 10:
        begun = (run / "resolved.toml").exists()
        process = subprocess.Popen([*start, *(["--resume", run] if begun else [*settings, "--out", run])], **quiet)
        life = random.uniform(4, 10)
        while process.poll() is None and cpu_seconds(process) < life:
            time.sleep(0.005)
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
        kills += process.returncode != 0
        reached.append(len(RunFolder(run).logged()))
        if process.returncode == 0:
            assert untracked(run) == untracked(whole)
            shutil.rmtree(run)
    print("steps done at each kill:", reached)
    subprocess.run([*start, "--resume", run], check=True, **quiet)
    assert untracked(run) == untracked(whole)


# --- what may differ


def refused(run, *arguments):
    """The one message of a resume that is refused; the run is left as it was."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = resume(run, *arguments)
    assert result.status == 2, result.output
    assert result.output.count("Error: ") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    return result.output.partition("Error: ")[2].strip()


KEPT = "--resume keeps what affects the result; start another run to change it"


@pytest.mark.parametrize(
    ("arguments", "change"),
    [
        (["--set", "train.learning_rate=0.5"], "train.learning_rate is 0.001 in {} and cannot become 0.5: " + KEPT),
        (["--seed", "7"], "train.seed is 0 in {} and cannot become 7: " + KEPT),
        (["--where", "level=line"], "data.where is {{}} in {} and cannot become {{'level': ['line']}}: " + KEPT),
        (["--steps", "5"], "train.steps is 6 in {} and cannot become 5: a run can be made longer, not shorter"),
        (
            ["--set", "reward.weights.exact=1"],
            "reward.weights is {{'similarity': 0.7, 'pass_rate': 0.3}} in {} and cannot become "
            "{{'similarity': 0.7, 'pass_rate': 0.3, 'exact': 1.0}}: " + KEPT,
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_decides_the_result_cannot_be_set_anew(cut, arguments, change):
    assert refused(cut, *arguments) == change.format(cut / "resolved.toml")


def test_a_recipe_that_was_edited_since_is_refused(cut):
    recipe = (cut / "resolved.toml").read_text()
    (cut / "resolved.toml").write_text(recipe.replace("learning_rate = 0.001", "learning_rate = 0.002"))
    source = cut / "checkpoints" / "step_000004" / "trainer" / "recipe.toml"
    assert refused(cut) == f"train.learning_rate is 0.001 in {source} and cannot become 0.002: {KEPT}"


def test_a_run_whose_rates_depend_on_its_length_is_not_made_longer(cut):
    recipe = (cut / "resolved.toml").read_text()
    (cut / "resolved.toml").write_text(recipe.replace('schedule = "constant"', 'schedule = "linear"'))
    result = refused(cut, "--steps", "9")
    assert result.endswith('and cannot become 9: the rates of train.schedule "linear" depend on it')


def test_how_often_to_save_and_evaluate_may_change(cut):
    start = find_resume_point(
        RunFolder(cut), ["train.checkpoint_every=3", "train.keep_checkpoints=9", "train.eval_every=0"]
    )
    assert (start.recipe.train.checkpoint_every, start.recipe.train.eval_every, start.step) == (3, 0, 4)
    RunFolder(cut).rewind(
        4, (cut / "resolved.toml").read_text().replace("checkpoint_every = 2", "checkpoint_every = 3")
    )
    assert load_recipe(str(cut / "resolved.toml")).train.checkpoint_every == 3


@pytest.mark.parametrize(
    ("arguments", "name"), [(["grpo"], "RECIPE"), (["--out", "x"], "--out"), (["--overwrite"], "--overwrite")]
)
def test_resume_stands_alone(cut, arguments, name):
    assert refused(cut, *arguments) == f"--resume RUN continues RUN by its own recipe; leave out {name}"


def test_what_is_no_run_cannot_be_resumed(place):
    assert (
        refused(place / "policy")
        == f"{place / 'policy'} holds no run: it has no resolved.toml; give a folder that `ocr-rl train` wrote"
    )


@pytest.fixture
def metadata(place):
    """The pages' metadata.jsonl, as it was afterwards."""
    file = place / "pages" / "metadata.jsonl"
    before = file.read_text()
    yield file
    file.write_text(before)


def test_other_pages_are_another_run(cut, metadata):
    held_out = {page["id"] for page in json.loads((cut / "eval" / "before.json").read_text())["pages"]}
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    changed = [row | {"text": row["text"] if row["file_name"] in held_out else "abc"} for row in rows]
    metadata.write_text("".join(json.dumps(row) + "\n" for row in changed))
    assert refused(cut).startswith(
        f"the 6 pages to train on are not those that {cut}/checkpoints/step_000004 was train"
    )
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows if row["file_name"] != min(held_out)))
    assert refused(cut).startswith(f"the 1 held-out pages are not those of {cut}/eval/before.json")


def in_older_form(cut, pages):
    """Make the run one of a version that recorded another digest of each page: that of a JSON list."""
    older = {}
    for page in load_pages(pages):
        row = json.dumps([page.id, page.prompt, page.text, list(page.tests)], sort_keys=True, default=str)
        older[digest_of(page).hex()] = hashlib.blake2b(row.encode(), digest_size=8).hexdigest()
    for file in [*cut.glob("checkpoints/*/trainer/state.json"), cut / "eval" / "pages.json"]:
        record = json.loads(file.read_text())
        record["page_hashes"] = [older[digest] for digest in record.pop("page_digests")]
        file.write_text(json.dumps(record))
    for file in cut.glob("checkpoints/*/trainer/files.json"):
        sizes = json.loads(file.read_text())
        sizes["trainer/state.json"] = (file.parent / "state.json").stat().st_size
        file.write_text(json.dumps(sizes))


def test_a_run_with_the_digests_of_an_earlier_version_resumes_to_the_same_end(cut, uninterrupted, metadata):
    in_older_form(cut, metadata.parent)
    rows = metadata.read_text()
    metadata.write_text(rows.replace('"text": "', '"text": "x'))
    assert "ids, prompts, texts or tests have changed" in refused(cut)
    metadata.write_text(rows)
    done(resume(cut))
    state = json.loads((cut / "checkpoints" / "step_000006" / "trainer" / "state.json").read_text())
    assert len(state["page_digests"]) == 6
    assert "page_hashes" not in state
    resumed, whole = contents(cut), contents(uninterrupted[0])
    older = {name for name in resumed if "step_000004" in name or name == "eval/pages.json"}
    assert resumed.keys() == whole.keys()
    assert {name for name in resumed if resumed[name] != whole[name]} <= older


def test_a_removed_row_is_named_and_allowed_on_request(cut, metadata):
    """The page is one of the six to train on."""
    held_out = {page["id"] for page in json.loads((cut / "eval" / "before.json").read_text())["pages"]}
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    gone = next(row for row in rows if row["file_name"] not in held_out)
    metadata.write_text("".join(json.dumps(row) + "\n" for row in rows if row is not gone))
    advice = "--allow-removed-pages continues without them; or restore them, or start another run"
    assert f"1 of 6 have been removed. {advice}" in refused(cut)
    output = done(resume(cut, "--allow-removed-pages")).output
    assert "1 pages have been removed since step 4: left out" in output
    assert [row.get("removed_pages") for row in metrics_of(cut)] == [None] * 4 + [1, None]


def test_reordered_rows_are_named_as_such(cut, metadata):
    held_out = {page["id"] for page in json.loads((cut / "eval" / "before.json").read_text())["pages"]}
    rows = [json.loads(line) for line in metadata.read_text().splitlines()]
    first = [row for row in rows if row["file_name"] in held_out]
    rest = [row for row in rows if row["file_name"] not in held_out]
    metadata.write_text("".join(json.dumps(row) + "\n" for row in [*first, *rest[::-1]]))
    assert "they are the same in another order" in refused(cut)
    metadata.write_text("".join(json.dumps(row) + "\n" for row in [*first[::-1], *rest]))
    assert "held-out pages are not those of" in refused(cut)


# --- what may have happened to the folder


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "trainer/optimizer.safetensors"])
def test_a_checkpoint_that_lost_a_file_is_passed_over(cut, file):
    (cut / "checkpoints" / "step_000004" / file).unlink()
    start = find_resume_point(RunFolder(cut))
    assert start.step == 2
    assert start.passed_over == [f"{cut}/checkpoints/step_000004/{file} is missing"]


def test_a_checkpoint_with_a_file_cut_off_is_passed_over(cut):
    os.truncate(cut / "checkpoints" / "step_000004" / "model.safetensors", 100)
    start = find_resume_point(RunFolder(cut))
    assert start.step == 2
    assert start.passed_over[0].startswith(f"{cut}/checkpoints/step_000004/model.safetensors has 100 bytes, ")


def test_a_checkpoint_passed_over_is_made_again(cut, uninterrupted):
    (cut / "checkpoints" / "step_000004" / "trainer" / "files.json").unlink()
    result = done(resume(cut))
    assert f"skipped: {cut}/checkpoints/step_000004/trainer/files.json is missing\n" in result.output
    assert f"resuming after step 2 of {STEPS}\n" in result.output
    assert contents(cut) == contents(uninterrupted[0])


def test_without_a_usable_checkpoint_nothing_is_begun_anew(cut):
    for step in (2, 4):
        (cut / "checkpoints" / f"step_{step:06d}" / "model.safetensors").unlink()
    assert refused(cut) == (
        f"{cut}/checkpoints/step_000004/model.safetensors is missing, and no other checkpoint is usable. "
        f"Restore it, or start another run: ocr-rl train {cut}/resolved.toml --out ANOTHER"
    )


def test_a_last_line_that_was_cut_off_is_what_a_kill_leaves(cut, uninterrupted):
    with open(cut / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "time_s": 1.')
    result = done(resume(cut))
    assert "skipped" not in result.output
    assert contents(cut) == contents(uninterrupted[0])


def test_a_line_cut_off_that_a_checkpoint_counts_on_leads_to_the_checkpoint_before(cut):
    file = cut / "metrics.jsonl"
    os.truncate(file, file.stat().st_size - 10)
    start = find_resume_point(RunFolder(cut))
    assert start.step == 2
    assert start.passed_over == [f"{file}:4: the line of step 4 is missing or damaged"]


def test_a_line_damaged_before_all_checkpoints_is_named_by_its_number(cut):
    lines = (cut / "metrics.jsonl").read_text().splitlines(keepends=True)
    (cut / "metrics.jsonl").write_text("".join([lines[0], lines[1][:30] + "\n", *lines[2:]]))
    assert refused(cut).startswith(
        f"{cut}/metrics.jsonl:2: the line of step 2 is missing or damaged, and no other checkpoint is usable. "
    )


def test_lines_after_the_checkpoint_are_cut_back_and_written_again(cut):
    """The run was killed in step 5, whose rollouts are older than they claim."""
    with open(cut / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "time_s": 1.0}\n')
    (cut / "rollouts" / "step_000005.jsonl").write_text("{}\n")
    run = RunFolder(cut)
    run.rewind(4, (cut / "resolved.toml").read_text())
    assert [step.metrics["step"] for step in run.logged()] == [1, 2, 3, 4]
    assert sorted(file.name for file in (cut / "rollouts").iterdir()) == [f"step_{i:06d}.jsonl" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("every", "limit", "file"), [(2, 20_000, "checkpoints/step_000002.partial"), (0, 4_000, "metrics.jsonl")]
)
def test_a_full_disk_stops_the_run_with_the_file_s_name_and_it_can_be_resumed_later(
    fresh, uninterrupted, every, limit, file
):
    """A limit on the size of files stands in for the room on a disk: the system refuses the write half-way."""
    result = train(fresh, f"--set=train.checkpoint_every={every}", file_limit=limit)
    assert result.status == 1, result.output
    assert result.output.partition("Error: ")[2] == (
        f"{fresh}/{file}: File too large\n"
        f"all complete files are kept. Fix this, then: ocr-rl train --resume {fresh}\nrun folder: {fresh}\n"
    )
    assert not list(fresh.rglob("*.partial"))
    done(resume(fresh, "--set=train.checkpoint_every=2"))
    assert contents(fresh) == contents(uninterrupted[0])


def test_two_processes_do_not_train_in_one_folder(cut):
    with RunFolder(cut).locked():
        assert refused(cut) == f"{cut} is being trained by another process; wait for it or stop it"
    with RunFolder(cut).locked():  # the lock of the process above is gone
        pass


def test_another_environment_is_reported(cut):
    file = cut / "checkpoints" / "step_000004" / "trainer" / "state.json"
    before = file.read_text()
    file.write_text(before.replace('"threads": 1', '"threads": 8'))
    result = done(resume(cut))
    assert "the environment has changed since then (threads 8 -> 1): the last bits of the results may" in result.output


# --- the pages of a run that draws its own


def test_rendered_pages_are_drawn_once(tmp_path):
    render = RenderConfig(pages=3)
    first = collect_pages(Recipe(render=render), tmp_path / "pages")
    image = tmp_path / "pages" / first[0].id
    image.write_bytes(b"the same file")
    assert [page.text for page in collect_pages(Recipe(render=render), tmp_path / "pages")] == [p.text for p in first]
    assert image.read_bytes() == b"the same file"


def test_a_collection_that_was_half_drawn_is_drawn_again(tmp_path, monkeypatch):
    render = RenderConfig(pages=3)
    with monkeypatch.context() as patch:
        patch.setattr("ocr_rl.data.synthetic.render._impress", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collect_pages(Recipe(render=render), tmp_path / "pages")
    assert not (tmp_path / "pages").exists()
    pages = collect_pages(Recipe(render=render), tmp_path / "pages")
    again = collect_pages(Recipe(render=render), tmp_path / "again")
    assert [page.image.tobytes() for page in pages] == [page.image.tobytes() for page in again]
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []
