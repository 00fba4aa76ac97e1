"""A worker that dies or hangs costs time and nothing else; one without a trainer ends."""

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
from ocr_rl.rollouts.vllm import engine
from ocr_rl.rollouts.vllm.engine import VllmEngine

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
    return engine._workers[0].process


def test_a_worker_killed_again_and_again_costs_no_row_and_changes_none(engine):
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
            while not engine._workers or worker(engine).poll() is not None:
                time.sleep(0.05)

    killer = threading.Thread(target=kill_twice)
    stream = engine.stream(PAGES, SAMPLING, seed=0)
    killer.start()
    assert rows(stream) == undisturbed
    killer.join()


def test_a_worker_that_hangs_is_replaced(engine, monkeypatch):
    undisturbed = rows(engine.stream(PAGES[:4], SAMPLING, seed=0))
    stopped = worker(engine)
    monkeypatch.setattr(engine, "timeout_s", 3.0)
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

    monkeypatch.setattr(engine, "timeout_s", 4.0)
    waiting = worker(engine)
    assert len(rows(engine.stream([replace(PAGES[0], open_image=slow)], Sampling(1, 1.0, 2), seed=0))) == 1
    assert worker(engine) is waiting


def test_a_worker_that_always_dies_is_given_up_and_one_that_starts_again_is_taken(engine, monkeypatch):
    undisturbed = rows(engine.stream(PAGES[:2], SAMPLING, seed=0))
    stream = engine.stream(PAGES[:2], SAMPLING, seed=0)
    next(stream)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")  # what a restart starts
        worker(engine).kill()
        with pytest.raises(EngineError) as failed:
            list(stream)
    told = str(failed.value)
    assert told.startswith("the engine's process ended (exit code 1); 4 times in one call\n")
    assert 'rollout.engine = "transformers"' in told
    assert rows(engine.stream(PAGES[:2], SAMPLING, seed=0)) == undisturbed


def test_an_engine_that_cannot_start_says_what_vllm_said(policy, tmp_path, monkeypatch):
    monkeypatch.setitem(engine.ENVIRONMENT, "VLLM_ENABLE_V1_MULTIPROCESSING", "perhaps")
    with pytest.raises(EngineError, match=r"(?s)exit code 1.*vLLM's last lines:.*perhaps"):
        VllmEngine(policy, rows=4, log=tmp_path / "vllm.log")


def test_a_page_whose_image_is_a_bug_shows_the_bug(engine):
    def bug():
        raise ZeroDivisionError("here")

    with pytest.raises(ZeroDivisionError, match="here"):
        list(engine.stream([replace(PAGES[0], open_image=bug)], SAMPLING, seed=0))
    assert not any(isinstance(e, Refused) for e in engine.stream(PAGES[:1], SAMPLING, seed=0))


def test_sleep_without_a_gpu_is_refused(policy):
    with pytest.raises(ValueError, match="only the memory of a CUDA GPU can be given back"):
        VllmEngine(policy, sleep=True)


def test_the_worker_ends_with_a_trainer_that_is_killed(tmp_path):
    """The trainer is another process: it starts an engine, says the worker's process id, and is shot."""
    trainer = textwrap.dedent(
        f"""
        import sys, time
        sys.path[:0] = {[p for p in sys.path if p.endswith("tests")]!r}
        from helpers.vllm_models import make_policy
        from ocr_rl.rollouts.vllm.engine import VllmEngine
        engine = VllmEngine(make_policy(), rows=4, kv_cache_gib=0.05)
        print(engine._workers[0].process.pid, engine._setup.folder, flush=True)
        time.sleep(600)
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-c", trainer], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    try:
        pid, _ = process.stdout.readline().split()
        assert Path(f"/proc/{pid}").exists()
    finally:
        process.kill()
        process.wait()
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    raise AssertionError("the worker has outlived its trainer")
