"""Pages are read in threads before they are asked for; nothing that is computed changes by it."""

import threading
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest
import torch

from helpers.grpo_steps import run_training
from helpers.tiny_models import make_page, make_policy, weights
from ocr_rl.models import reading_ahead
from ocr_rl.models.reading_ahead import Readers
from ocr_rl.rollouts.engine import Refused, Sampling
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.training.batching import Batches
from ocr_rl.types import ImageError


def watched(page, opened):
    """Notes which thread opens the page."""

    def open_image():
        opened.append((page.id, threading.current_thread().name.split("_")[0]))
        return page.open_image()

    return replace(page, open_image=open_image)


def test_a_run_is_the_same_bit_for_bit_and_reads_each_page_once_a_step_in_other_threads(tmp_path):
    opened = []
    pages = [watched(make_page(i, text="ab"), opened) for i in range(4)]
    _, plain = run_training(tmp_path, pages=[make_page(i, text="ab") for i in range(4)])
    _, ahead = run_training(tmp_path, "ahead", pages=pages, engine=partial(TransformersEngine, readers=2))
    assert all(torch.equal(tensor, weights(ahead)[name]) for name, tensor in weights(plain).items())
    assert len(opened) == 3 * 2  # steps x pages
    assert {thread for _, thread in opened} == {"reader"}
    assert not ahead.readers._waiting


def test_the_next_page_is_read_while_the_one_before_is_in_use():
    read = threading.Event()
    second = make_page(1)
    pages = [make_page(0), replace(second, open_image=lambda: read.set() or second.open_image())]
    engine = TransformersEngine(make_policy(), rows=1, readers=1)
    events = engine.stream(pages, Sampling(1, 1.0, 4), seed=0)
    assert next(events).page == 0
    assert read.wait(30)
    assert next(events).page == 1


@pytest.mark.parametrize("readers", [0, 3])
def test_what_is_sampled_and_refused_is_the_same(readers):
    def broken():
        raise ImageError("scan.png", "is torn")

    pages = [make_page(i) for i in range(5)]
    pages[3] = replace(pages[3], open_image=broken)
    expected = list(TransformersEngine(make_policy(), rows=4).stream(pages, Sampling(2, 1.0, 5), seed=1))
    found = list(TransformersEngine(make_policy(), rows=4, readers=readers).stream(pages, Sampling(2, 1.0, 5), seed=1))
    assert found == expected
    assert [event for event in found if isinstance(event, Refused)] == [Refused(3, "is torn")]


def test_pages_that_nobody_asks_for_any_more_are_dropped():
    engine = TransformersEngine(make_policy(), rows=1, readers=2)
    events = engine.stream([make_page(i) for i in range(6)], Sampling(1, 1.0, 4), seed=0)
    next(events)
    events.close()
    assert not engine.policy.readers._waiting


def test_no_more_pages_wait_than_there_is_room_for(monkeypatch):
    policy, opened = make_policy(), Counter()
    monkeypatch.setattr(reading_ahead, "LIMIT", 1)
    readers = policy.readers = Readers(2)
    pages = [make_page(i) for i in range(5)]
    readers.start(policy, [*pages, pages[0]])
    assert len(readers._waiting) == 2
    assert [readers.take(page) is not None for page in pages] == [True, True, False, False, False]
    for page in readers.through(policy, pages, ahead=4):
        opened[page.id] += len(policy.prompt(page)) > 0
    assert opened == Counter(page.id for page in pages)


def test_the_next_batch_can_be_looked_at():
    batches = Batches(iter([[1], [2], [3]]))
    assert (batches.peek(), batches.peek(), next(batches), next(batches), batches.peek()) == ([1], [1], [1], [2], [3])
