"""How many threads are chosen, when that is looked at again, and that a number set by the user is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.threads import CHOSEN, NUMBER, ThreadWatch, choose_threads, free_threads, share_threads, time_on_cores


@pytest.mark.parametrize(
    ("cores", "busy", "threads"),
    [(2, 0.0, 2), (2, 0.2, 2), (2, 0.3, 1), (2, 2.0, 1), (8, 0.2, 8), (8, 3.5, 4), (1.5, 0, 1), (0.5, 0, 1)],
)
def test_there_are_as_many_threads_as_free_cores(cores, busy, threads):
    assert free_threads(cores, busy) == threads


@given(st.floats(0.1, 256), st.floats(0, 256))
def test_there_is_always_a_thread_and_never_more_than_cores(cores, busy):
    assert 1 <= free_threads(cores, busy) <= max(1, cores)


def test_a_number_that_the_user_set_stays():
    environ = {NUMBER: "7"}
    assert choose_threads(environ) is None
    assert environ == {NUMBER: "7"}
    assert share_threads(2, environ) == {NUMBER: "3", "MKL_NUM_THREADS": "3"}


def test_the_choice_is_in_the_environment_of_all_that_this_process_starts():
    environ = {}
    line = choose_threads(environ)
    assert environ[NUMBER] == environ[CHOSEN]
    assert int(environ[NUMBER]) >= 1
    assert environ["GOMP_SPINCOUNT"] == "10000"
    assert "OMP_NUM_THREADS sets another number" in line


def test_jobs_share_the_threads_that_were_chosen():
    assert share_threads(2, {NUMBER: "5", CHOSEN: "5"}) == {NUMBER: "2", CHOSEN: "2", "MKL_NUM_THREADS": "2"}
    assert share_threads(9, {NUMBER: "5", CHOSEN: "5"})[NUMBER] == "1"


def watched(times, number=4, environ=None):
    """What `look` says after each of these (seconds run, seconds waited), and the number of threads at the end."""
    threads = [number]
    source = iter([(0.0, 0.0), *times])
    watch = ThreadWatch(
        lambda: threads[0], lambda n: threads.__setitem__(0, n), lambda: next(source), environ or {CHOSEN: "4"}
    )
    return [watch.look() for _ in times], threads[0]


def test_two_steps_that_wait_for_cores_halve_the_threads():
    """1 s run and 1 s waited, twice: half of the time was waiting."""
    said, threads = watched([(1, 1), (2, 2)])
    assert said == [None, "the machine is busy (50% of the time spent waiting for a core): 2 threads, not 4"]
    assert threads == 2


def test_one_slow_step_changes_nothing():
    said, threads = watched([(1, 1), (2, 1), (3, 2)])
    assert (said, threads) == ([None] * 3, 4)


def test_one_thread_stays_one_and_a_number_of_the_user_s_is_not_watched():
    assert watched([(1, 9), (2, 18)], number=1) == ([None, None], 1)
    assert watched([(1, 9), (2, 18)], environ={"OMP_NUM_THREADS": "4"}) == ([None, None], 4)


def test_this_process_has_run():
    ran, waited = time_on_cores()
    assert min(ran, waited) >= 0
