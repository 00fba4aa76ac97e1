"""The engine and the learner read a page once a step; what they read is what reading it twice gives."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from helpers.grpo_steps import run_training
from helpers.tiny_models import make_page, make_policy, weights
from ocr_rl.models import step_pages


def counted(page, opened):
    def open_image():
        opened[page.id] += 1
        return page.open_image()

    return replace(page, open_image=open_image)


@pytest.mark.parametrize("limit", [1 << 30, 0])
def test_a_step_reads_each_page_once_unless_there_is_no_room(tmp_path, monkeypatch, limit):
    monkeypatch.setattr(step_pages, "LIMIT", limit)
    opened = Counter()
    pages = [counted(make_page(i, text="ab"), opened) for i in range(3)]
    _, policy = run_training(tmp_path, pages=pages, rollout_pages_per_step=3)
    assert max(opened.values()) == (3 if limit else 6)
    monkeypatch.undo()
    _, again = run_training(tmp_path, "again", rollout_pages_per_step=3)
    assert all(torch.equal(tensor, weights(again)[name]) for name, tensor in weights(policy).items())


def test_inputs_are_kept_for_their_step_and_those_of_pages_read_ahead_for_the_next():
    policy, opened = make_policy(), Counter()
    now, ahead, other = (counted(make_page(i), opened) for i in range(3))
    policy.prompt(other)
    with policy.step_pages.step():
        for page in (now, ahead, now):
            policy.prompt(page)
        policy.with_own_processor().prompt(now)
    with policy.step_pages.step():
        policy.prompt(ahead)
        policy.prompt(now)
        policy.prompt(replace(now))  # another page with the same id
    policy.prompt(ahead)
    assert [opened[page.id] for page in (now, ahead, other)] == [3, 2, 1]
    assert not policy.step_pages._kept or {entry[0].id for entry in policy.step_pages._kept.values()} == {now.id}
