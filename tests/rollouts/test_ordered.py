"""Results of many pages come in page order, each once, in whatever order an engine finishes them."""

import weakref
from itertools import islice
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.odd_rubrics import Odd
from helpers.tiny_models import make_page, make_policy
from ocr_rl.data.unlabelled import Unread
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Rubric


class Shuffled(Engine):
    """Takes up to `room` pages at a time and finishes their completions in any order; refuses pages named "bad"."""

    def __init__(self, room, random):
        self.room, self.random, self.taken = room, random, 0

    def stream(self, pages, sampling, seed):
        waiting, going, number = iter(pages), [], 0
        while True:
            for page in islice(waiting, self.room - len({event.page for event in going})):
                self.taken += 1
                if page.id.startswith("bad"):
                    going.append(Refused(number, "too large"))
                else:
                    texts = [f"{page.id} {row}" for row in range(sampling.group_size)]
                    going += [Sampled(number, row, Completion((), t, "end", ())) for row, t in enumerate(texts)]
                number += 1
            if not going:
                return
            yield going.pop(self.random.randrange(len(going)))

    def sync(self, policy):
        pass


def page_or_not(number, kind):
    match kind:
        case "unread":
            return Unread(f"{number}", "is not an image")
        case "refused":
            return Page(f"bad {number}", lambda: None, text="a")
        case _:
            return Page(f"{number}", lambda: None, text=f"{number} 1")


@pytest.fixture(scope="module")
def scorer():
    with GroupScorer(RewardFunction(Rubric(), ()), 2) as scorer:
        yield scorer


KINDS = st.lists(st.sampled_from(["page", "page", "unread", "refused"]), max_size=12)


@settings(max_examples=40)
@given(KINDS, st.integers(1, 5), st.integers(1, 3), st.randoms(use_true_random=False), st.booleans())
def test_results_come_in_page_order_whatever_finishes_first(scorer, kinds, room, size, random, scored):
    pages = [page_or_not(number, kind) for number, kind in enumerate(kinds)]
    results = list(in_order(Shuffled(room, random), pages, Sampling(size), 0, scorer if scored else None))
    for page, kind, result in zip(pages, kinds, results, strict=True):
        match kind:
            case "unread":
                assert result == page
            case "refused":
                assert result == Unread(page.id, "too large")
            case _:
                texts = [f"{page.id} {row}" for row in range(size)]
                group = Group(page, [Completion((), text, "end", ()) for text in texts])
                expected = RewardFunction(Rubric(), [page]).score_groups([group])[0] if scored else group
                assert result == expected


def test_pages_are_taken_when_there_is_room_and_released_when_they_are_done():
    """With a million pages; a result waits only for earlier pages."""
    engine, made = Shuffled(4, Random(0)), []

    def million():
        for n in range(1_000_000):
            page = Page(f"{n}", lambda: None)
            made.append(weakref.ref(page))
            yield page

    results = in_order(engine, million(), Sampling(1), 0)
    for done in range(1, 101):
        next(results)
        assert engine.taken < done + 50
        assert not any(page() for page in made[: done - 1])
    results.close()


def test_a_real_engine_s_results_are_those_of_generate():
    engine, pages = TransformersEngine(make_policy(), rows=8), [make_page(i) for i in range(7)]
    assert list(in_order(engine, iter(pages), Sampling(3), 5)) == engine.generate(pages, Sampling(3), 5)


def test_an_error_of_a_verifier_names_the_page():
    pages = [Page("a", lambda: None, text="x"), Page("crash", lambda: None, text="x")]

    class Echo(Shuffled):
        def stream(self, pages, sampling, seed):
            for number, page in enumerate(pages):
                yield Sampled(number, 0, Completion((), page.id, "end", ()))

    with GroupScorer(RewardFunction(Odd(), ()), 1) as scorer:
        results = in_order(Echo(1, Random(0)), pages, Sampling(1), 0, scorer)
        assert next(results).group.page.id == "a"
        with pytest.raises(RuntimeError, match=r"^crash: a scoring process ended"):
            list(results)
