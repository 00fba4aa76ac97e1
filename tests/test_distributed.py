"""Two real processes make the update that one makes; a run of two writes all files, resumes, and ends as one.

The processes run this file too: see its end.
"""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.grpo_steps import run_training
from helpers.tiny_models import make_page, make_policy
from helpers.updates import CASES, TWICE, outcome, recipe
from ocr_rl import distributed
from ocr_rl.algorithms import grpo
from ocr_rl.cli.main import main
from ocr_rl.data.images import ImageError
from ocr_rl.errors import EngineError
from ocr_rl.pipeline.job import check_processes
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.folder import ReadOnlyRunFolder, RunFolder
from ocr_rl.training.shared_rollout import roll_out
from ocr_verifiers import Rubric


def unreadable():
    raise ImageError("torn.png", "is torn")


def groups_of_five_pages():
    """Greedy completions of five pages, the fourth of which cannot be read: the same with any number of processes."""
    policy = make_policy("lighton")
    pages = [make_page(i, text="abcd") for i in range(5)]
    pages[3] = replace(pages[3], open_image=unreadable)
    scorer = GroupScorer(RewardFunction(Rubric({"similarity": 1.0}), pages), processes=0)
    rolled = roll_out(scorer, TransformersEngine(policy), pages, Sampling(2, 0.0, 8), seed=0)
    return {
        "completions": [(g.group.page.id, [list(c.token_ids) for c in g.group.completions]) for g in rolled.groups],
        "rewards": [group.rewards for group in rolled.groups],
        "refused": [(page.id, why) for page, why in rolled.refused],
    }


def sampled_groups():
    """Random completions of four identical pages."""
    policy = make_policy("lighton")
    pages = [make_page(0, text="abcd")] * 4
    scorer = GroupScorer(RewardFunction(Rubric({"similarity": 1.0}), pages), processes=0)
    rolled = roll_out(scorer, TransformersEngine(policy), pages, Sampling(4, 1.0, 8), seed=0)
    return [[list(c.token_ids) for c in group.group.completions] for group in rolled.groups]


def exchanges():
    rank = distributed.rank()
    weight, other = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(1))
    if rank == 0:
        weight.grad = torch.tensor([1.0, 2.0])
    distributed.sum_gradients([weight, other])
    total = torch.tensor([rank + 1.0])
    distributed.sum_over(total)
    return {
        "mine": distributed.mine(list("abcde")),
        "gathered": distributed.gather([letter.upper() for letter in distributed.mine(list("abcde"))]),
        "none": distributed.gather([]),
        "of_first": distributed.of_first(lambda: f"of {distributed.rank()}"),
        "any": [distributed.any_of(False), distributed.any_of(rank == distributed.count() - 1)],
        "sum": total.tolist(),
        "gradients": [weight.grad.tolist(), other.grad],
    }


LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")


def refusals():
    with pytest.raises(ValueError, match=r"rollout\.ahead is true") as error:
        check_processes(recipe(rollout_ahead=True, train_shard="full", reward_model="a-model"))
    check_processes(recipe(rollout_ahead=True, train_shard="full", vllm_server="http://there:8000"))
    return [str(error.value)]


def two_threads():
    """Exchanges of a second thread beside those of the first, and how each ends when one of them fails."""
    rank = distributed.rank()
    distributed.open_aside()

    def work(step):
        with distributed.aside():
            if step == "fails" and rank == 1:
                raise EngineError("aside")
            return distributed.gather([f"{step}{rank}"]), distributed.is_aside()

    with ThreadPoolExecutor(1) as thread:
        together = []
        for step in range(20):
            pending = thread.submit(work, step)
            together.append((distributed.gather([(step, rank)]), pending.result()))
        with pytest.raises(EngineError, match="aside"):
            thread.submit(work, "fails").result()
    distributed.close_aside()
    distributed.open_aside()
    with ThreadPoolExecutor(1) as thread:
        if rank == 0:
            waiting = thread.submit(work, "waits")  # the other process has stopped
        else:
            distributed.close_aside()
        if rank == 0:
            with pytest.raises(EngineError, match="another process has stopped"):
                waiting.result()
    distributed.close_aside()
    distributed.open_aside()
    partner = distributed.add_partner(Quiet())
    with ThreadPoolExecutor(1) as thread:
        distributed.take_turn(1, partner)  # a pass, which continues while the second thread fails
        with pytest.raises(EngineError, match="aside"):
            thread.submit(work, "fails").result(60)
        distributed.end_turn()
    distributed.close_aside()
    distributed.open_aside()

    def done():
        with distributed.aside():
            distributed.gather([rank])
            if rank == 1:
                raise EngineError("after the last exchange")

    with ThreadPoolExecutor(1) as thread, pytest.raises(EngineError, match="after the last exchange"):
        thread.submit(done).result(60)
    distributed.close_aside()
    return {"exchanges": together, "main": distributed.gather([rank]), "aside": distributed.is_aside()}


class OwnWeights(TransformersEngine):
    """Samples from a copy of the policy, so that it may sample ahead."""

    def sync(self, policy):
        self.policy.model.load_state_dict(policy.model.state_dict())


def disk_fails(folder):
    """In the first process alone, while both sample step 3 ahead; what each raises."""
    original = RunFolder.write_rollouts

    def write(run, step, rows):
        if step == 2 and distributed.first():
            raise OSError("the disk is full")
        original(run, step, rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write_rollouts", write)
        with pytest.raises(OSError, match="the disk is full") as error:
            run_training(
                folder,
                f"run{distributed.rank()}",
                engine=lambda policy: OwnWeights(make_policy()),
                rollout_ahead=True,
                train_steps=9,
            )
    return getattr(error.value, "__notes__", [])


class Quiet:
    """A partner that computes nothing."""

    def join(self, operation):
        pass

    def rest(self):
        pass


def launch(*arguments):
    """Two processes that run this file: (exit code, stdout, stderr)."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
    process = subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.terminate()  # the launcher ends its processes
        process.wait()
        raise
    return process.returncode, out, err


@pytest.fixture(scope="module")
def of_two(tmp_path_factory):
    """The results of each of two processes: the changes of the weights, and everything else."""
    folder = tmp_path_factory.mktemp("two")
    code, _, err = launch("cases", folder)
    assert code == 0, err
    return [
        (load_file(folder / f"changes{rank}.safetensors"), json.loads((folder / f"results{rank}.json").read_text()))
        for rank in range(2)
    ]


@pytest.mark.parametrize("name", CASES | TWICE)
def test_two_processes_make_the_update_of_one(name, of_two):
    """Weights to 1e-6 of the largest change, and the same bits in both processes."""
    change, metrics = outcome(name)
    tolerance = 1e-6 if name in CASES else 1e-5
    (first, first_results), (second, second_results) = of_two
    torch.testing.assert_close(first[name], change, rtol=0, atol=tolerance * change.abs().max().item())
    torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
    assert first_results[name] == second_results[name]
    assert first_results[name] == {
        key: pytest.approx(value, rel=10 * tolerance, abs=tolerance) if value is not None else None
        for key, value in metrics.items()
    }


def test_only_a_batch_without_spread_changes_nothing():
    """So the comparison above is not between zeros."""
    still = [name for name in CASES | TWICE if outcome(name)[0].abs().max() < 1e-3]
    assert still == ["grpo with nothing worth learning"]


def test_the_reference_of_kto_is_above_0_where_it_is_compared():
    """It is clamped at 0, where it would be the same for any pages."""
    assert outcome("kto")[1]["kl"] > 0.05


def test_processes_that_a_process_starts_do_not_belong_to_the_launched_ones(of_two):
    """Otherwise vLLM's process would wait for the launcher's."""
    for _, results in of_two:
        assert results["environment"] == []


def test_each_process_samples_its_share_and_all_get_the_groups_in_page_order(of_two):
    alone = json.loads(json.dumps(groups_of_five_pages()))
    assert [page for page, _ in alone["completions"]] == ["page0", "page1", "page2", "page4"]
    assert alone["refused"] == [["page3", "is torn"]]
    for _, results in of_two:
        assert results["groups of five pages"] == alone


def test_two_processes_sample_different_completions_of_a_page(of_two):
    """Pages 0 and 1 are the first of each process, at the same step and with the same image."""
    first, second = (results["sampled groups"] for _, results in of_two)
    assert first == second
    assert first[0] != first[1]


def test_what_processes_exchange(of_two):
    """Shares are every second item; a gradient is summed if one process has it, and stays None if none has."""
    first, second = (results["exchanges"] for _, results in of_two)
    assert first.pop("mine") == ["a", "c", "e"]
    assert second.pop("mine") == ["b", "d"]
    assert first == second
    assert first == {
        "gathered": list("ABCDE"),
        "none": [],
        "of_first": "of 0",
        "any": [False, True],
        "sum": [3.0],
        "gradients": [[1.0, 2.0], None],
    }


def test_in_one_process_exchanges_are_the_identity():
    assert exchanges() == {
        "mine": list("abcde"),
        "gathered": list("ABCDE"),
        "none": [],
        "of_first": "of 0",
        "any": [False, True],
        "sum": [1.0],
        "gradients": [[1.0, 2.0], None],
    }


def test_what_cannot_be_combined_in_several_processes_is_refused(of_two):
    for _, results in of_two:
        assert results["refusals"] == [
            "rollout.ahead is true, but reward.model rates what is sampled, and with train.shard all processes have to "
            'compute together; write false, or train.shard = "none"'
        ]


def test_a_second_thread_of_each_process_exchanges_beside_the_first(of_two):
    """Neither gets what belongs to the other. An error of one ends the others, and so does a process that stops."""
    for _, results in of_two:
        assert results["two threads"] == {
            "exchanges": [[[[step, 0], [step, 1]], [[f"{step}0", f"{step}1"], True]] for step in range(20)],
            "main": [0, 1],
            "aside": False,
        }


def test_an_error_in_one_process_ends_both_while_they_sample_ahead(of_two):
    """The other one gets it in its next exchange, and neither waits for the other's second thread."""
    assert [results["disk fails"] for _, results in of_two] == [["in process 0"], ["in process 0"]]


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "LOCAL_RANK": "0"}, {"WORLD_SIZE": "4"}])
def test_without_a_launcher_of_several_processes_nothing_is_loaded_for_them(environment):
    """A scheduler's WORLD_SIZE alone does not mean that this process was launched."""
    code = "import sys\nfrom ocr_rl import distributed\nwith distributed.together(): print(distributed.count())"
    code += "\nprint([name for name in ('torch', 'accelerate') if name in sys.modules])"
    bare = {name: value for name, value in os.environ.items() if name not in distributed.LAUNCHED.split()}
    run = subprocess.run([sys.executable, "-c", code], env=bare | environment, capture_output=True, text=True)
    assert (run.stdout, run.stderr) == ("1\n[]\n", "")


def test_a_read_only_run_folder_writes_nothing(tmp_path):
    run = RunFolder.create(tmp_path / "run", "x = 1\n")
    run.log({"step": 1})
    run.write_rollouts(1, [{"page": "a"}])
    run.write_eval("before", {"cer": 0.5})

    def everything():
        return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    before = everything()
    read_only = ReadOnlyRunFolder(run.path)
    with run.locked(), read_only.locked():
        read_only.log({"step": 2})
        read_only.write_rollouts(2, [{"page": "b"}])
        read_only.write_eval("before", {"cer": 0.1})
        read_only.write_best({"step": 1})
        assert read_only.write_checkpoint(1, pytest.fail, keep=1) == run.checkpoint(1)
        read_only.commit()
        read_only.rollback()
    assert everything() == before
    assert [logged.metrics for logged in read_only.logged()] == [{"step": 1}]
    assert read_only.read_rollouts(1) == [{"page": "a"}]


SMALL = "render.pages=12 rollout.pages_per_step=3 rollout.group_size=2 rollout.max_tokens=8 reward.processes=1".split()


def test_a_run_of_two_processes_is_complete_resumes_and_ends_as_one(tmp_path):
    """The second process is interrupted in step 2. Resumed with divided weights, its engine fails in step 4."""
    run = tmp_path / "run"
    settings = [part for setting in SMALL for part in ("--set", setting)]
    code, out, err = launch("SIGINT:2", "train", "grpo", "--model", "tiny", "--out", run, "--steps", 9, *settings)
    assert code == 0, err
    assert [line for line in out.splitlines() if line.startswith(("engine", "before", "run folder"))] == [
        "engine: transformers",
        next(line for line in out.splitlines() if line.startswith("before: CER")),
        f"run folder: {run}",
    ]
    folder = RunFolder.open(run)
    assert len(folder.logged()) == 2
    assert [path.name for path in folder.checkpoints()] == ["step_000002"]
    assert folder.damage(folder.checkpoint(2)) is None
    for step in (1, 2):
        assert len(folder.read_rollouts(step)) == 3 * 2
        assert folder.logged()[step - 1].metrics["pages"] == 3
    for name in ("before", "after"):
        evaluation = folder.read_eval(name)
        assert evaluation is not None
        assert len(evaluation["pages"]) == 2
    assert (run / "report.html").exists()
    assert not list(tmp_path.glob("*.replaced"))

    code, out, err = launch("EngineError:4", "train", "--resume", run, "--set", "train.shard=full")
    assert code != 0
    assert out.count("resuming after step 2 of 9") == 1
    assert err.count("Error: the engine failed in step 4: the engine is gone") == 1
    assert len(folder.logged()) == 3
    assert folder.damage(folder.checkpoint(3)) is None
    parts = sorted(path.name for path in (folder.checkpoint(3) / "trainer" / "optimizer").iterdir())
    assert parts == [f"shard-0000{i}-model-00001-of-00001.safetensors" for i in (1, 2)]


def trouble_in_the_last_process(what, at):
    """At the start of step `at`."""
    original = grpo.GrpoTrainer.step

    def step(self, number, rate):
        if number == at and distributed.rank() == distributed.count() - 1:
            if what == "EngineError":
                raise EngineError("the engine is gone")
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, number, rate)

    grpo.GrpoTrainer.step = step


def all_cases(folder):
    torch.set_num_threads(1)
    with distributed.together():
        made = {name: outcome(name) for name in CASES | TWICE}
        results = {name: metrics for name, (_, metrics) in made.items()}
        results["groups of five pages"] = groups_of_five_pages()
        results["sampled groups"] = sampled_groups()
        results["two threads"] = two_threads()
        results["exchanges"] = exchanges()
        results["refusals"] = refusals()
        results["environment"] = [name for name in os.environ if name.startswith(LAUNCHER)]
        save_file(
            {name: change for name, (change, _) in made.items()}, folder / f"changes{distributed.rank()}.safetensors"
        )
        rank = distributed.rank()
        results["disk fails"] = disk_fails(folder)  # after which there are no exchanges
        (folder / f"results{rank}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    role, *arguments = sys.argv[1:]
    if role == "cases":
        all_cases(Path(arguments[0]))
    else:
        what, _, at = role.partition(":")
        trouble_in_the_last_process(what, int(at))
        main(arguments)
