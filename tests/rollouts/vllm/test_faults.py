"""A worker that dies or hangs costs only time, and a worker ends with its trainer."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.tiny_models import make_page
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.engine import Refused, Sampled, Sampling
from ocr_rl.rollouts.vllm import supervisor
from ocr_rl.rollouts.vllm.engine import VllmEngine
from ocr_rl.rollouts.vllm.options import VllmOptions

PAGES = [make_page(i, prompt="ab" * (i % 5)) for i in range(20)]
SAMPLING = Sampling(4, 1.0, 40)


def rows(events):
    """(page, row) -> token ids; each comes once."""
    found = {}
    for event in events:
        assert isinstance(event, Sampled)
        assert (event.page, event.row) not in found, "a row came twice"
        found[event.page, event.row] = list(event.completion.token_ids)
    return found


def worker(engine):
    """The worker's process."""
    return engine._supervisor.worker.process


def set_timeout(monkeypatch, engine, seconds):
    monkeypatch.setattr(engine, "options", replace(engine.options, timeout_s=seconds))


@pytest.mark.slow
def test_killing_the_worker_loses_no_row_and_changes_none(engine):
    """Five kills: three in one stream at chosen rows, two in another at chosen moments."""
    undisturbed = rows(engine.stream(PAGES, SAMPLING, seed=0))
    assert len(undisturbed) == 80
    found, kills = {}, 0
    for event in engine.stream(PAGES, SAMPLING, seed=0):
        found |= rows([event])
        if len(found) in (1, 30, 60) and kills < 3:
            kills += 1
            worker(engine).kill()
    assert kills == 3
    assert found == undisturbed

    def kill_twice():
        for moment in (0.1, 1.0):
            time.sleep(moment)
            worker(engine).kill()
            while not engine._supervisor.running or worker(engine).poll() is not None:
                time.sleep(0.05)

    killer = threading.Thread(target=kill_twice)
    stream = engine.stream(PAGES, SAMPLING, seed=0)
    killer.start()
    assert rows(stream) == undisturbed
    killer.join()


def test_a_worker_that_hangs_is_replaced(engine, monkeypatch):
    undisturbed = rows(engine.stream(PAGES[:4], SAMPLING, seed=0))
    stopped = worker(engine)
    set_timeout(monkeypatch, engine, 3.0)
    stream = engine.stream(PAGES[:4], SAMPLING, seed=0)
    first = next(stream)
    os.kill(stopped.pid, signal.SIGSTOP)
    began = time.monotonic()
    found = rows([first, *stream])
    assert found == undisturbed
    assert time.monotonic() - began > 3
    assert stopped.returncode == -signal.SIGKILL


def test_a_worker_that_waits_for_a_slow_page_does_not_hang(engine, monkeypatch):
    """Opening the page takes 6 seconds, and no worker may be silent for more than 4."""

    def slow():
        time.sleep(6)
        return PAGES[0].image

    set_timeout(monkeypatch, engine, 4.0)
    waiting = worker(engine)
    assert len(rows(engine.stream([replace(PAGES[0], open_image=slow)], Sampling(1, 1.0, 2), seed=0))) == 1
    assert worker(engine) is waiting


@pytest.mark.slow
def test_the_engine_gives_up_on_a_worker_that_always_dies_and_uses_the_next_that_starts(engine, monkeypatch):
    undisturbed = rows(engine.stream(PAGES[:2], SAMPLING, seed=0))
    stream = engine.stream(PAGES[:2], SAMPLING, seed=0)
    next(stream)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")  # which a restart runs
        worker(engine).kill()
        with pytest.raises(EngineError) as failed:
            list(stream)
    message = str(failed.value)
    assert message.startswith("the engine's process ended (exit code 1); 4 times in one call\n")
    assert 'rollout.engine = "transformers"' in message
    assert rows(engine.stream(PAGES[:2], SAMPLING, seed=0)) == undisturbed


def test_an_engine_that_cannot_start_shows_vllm_s_output(policy, tmp_path, monkeypatch):
    monkeypatch.setitem(supervisor.ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING", "perhaps")
    with pytest.raises(EngineError, match=r"(?s)exit code 1.*vLLM's last lines:.*perhaps"):
        VllmEngine(policy, VllmOptions(rows=4, log=tmp_path / "vllm.log"))


def test_a_bug_in_opening_an_image_is_raised(engine):
    def bug():
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        list(engine.stream([replace(PAGES[0], open_image=bug)], SAMPLING, seed=0))
    assert not any(isinstance(e, Refused) for e in engine.stream(PAGES[:1], SAMPLING, seed=0))


def test_sleep_without_a_gpu_is_refused(policy):
    with pytest.raises(ValueError, match="only the memory of a CUDA GPU can be given back"):
        VllmEngine(policy, VllmOptions(sleep=True))


@pytest.mark.slow
def test_the_worker_ends_with_a_trainer_that_is_killed(tmp_path):
    """The trainer is another process: it starts an engine, prints the worker's process id, and is killed."""
    trainer = textwrap.dedent(
        f"""
        import sys, time
        sys.path[:0] = {[p for p in sys.path if p.endswith("tests")]!r}
        from helpers.vllm_models import make_policy
        from ocr_rl.rollouts.vllm.engine import VllmEngine
        from ocr_rl.rollouts.vllm.options import VllmOptions
        engine = VllmEngine(make_policy(), VllmOptions(rows=4, kv_cache_gib=0.05))
        print(engine._supervisor.worker.process.pid, flush=True)
        time.sleep(600)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", trainer], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    try:
        pid = process.stdout.readline().strip()
        assert Path(f"/proc/{pid}").exists()
    finally:
        process.kill()
        process.wait()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the worker did not end with its trainer")
