"""The weights with which the engine samples each batch, in step and one step ahead."""

import threading

import pytest

from ocr_rl.training.schedule import Schedule


class Weights:
    """A policy that only counts its updates."""

    updates = 0


class Recorder:
    """An engine that records its current weights; sampling and transfer of weights may not overlap."""

    def __init__(self):
        self.has, self.busy, self.sampled = None, threading.Lock(), []

    def sync(self, policy):
        assert self.busy.acquire(blocking=False), "new weights in the middle of a batch"
        self.has = policy.updates
        self.busy.release()

    def sample(self, step):
        with self.busy:
            self.sampled.append((step, self.has))
            return step


def train(ahead, steps, evaluated=()):
    """For each step the updates before its batch was sampled, and those before each evaluation."""
    engine, policy, seen = Recorder(), Weights(), []
    schedule = Schedule(engine, policy, engine.sample, steps, ahead)
    for step in range(1, steps + 1):
        assert schedule.take(step) == step
        policy.updates += 1
        if step in evaluated:
            schedule.sync_engine()
            seen.append(engine.has)
    schedule.sync_engine()
    schedule.close()
    assert engine.has == steps
    return engine.sampled, seen


@pytest.mark.parametrize("evaluated", [(), (2, 3)])
def test_in_step_every_batch_is_sampled_with_the_weights_that_learn_from_it(evaluated):
    assert train(False, 4, evaluated) == ([(1, 0), (2, 1), (3, 2), (4, 3)], list(evaluated))


@pytest.mark.parametrize("evaluated", [(), (2, 3)])
def test_ahead_every_batch_but_the_first_is_one_update_old_and_evaluations_are_not(evaluated):
    assert train(True, 4, evaluated) == ([(1, 0), (2, 0), (3, 1), (4, 2)], list(evaluated))


def test_ahead_the_next_batch_is_sampled_while_the_trainer_learns():
    started = threading.Event()

    def sample(step):
        if step == 2:
            started.set()
        return step

    schedule = Schedule(Recorder(), Weights(), sample, 2, ahead=True)
    schedule.take(1)
    assert started.wait(10)
    schedule.close()


@pytest.mark.parametrize("ahead", [False, True])
def test_what_sampling_raises_reaches_the_trainer_in_its_step(ahead):
    def sample(step):
        if step == 2:
            raise FloatingPointError("not finite")
        return step

    schedule = Schedule(Recorder(), Weights(), sample, 3, ahead)
    assert schedule.take(1) == 1
    with pytest.raises(FloatingPointError, match="not finite"):
        schedule.take(2)
    schedule.close()
