"""Several processes that generate are one engine: each page once, in page order, and what stops one is said."""

import os
from functools import partial
from itertools import count

import pytest
from PIL import Image

from helpers.page_engines import LoadSizes, SizeEngine
from ocr_rl.data.images import ImageFile
from ocr_rl.data.unlabelled import Unread
from ocr_rl.errors import EngineError
from ocr_rl.rollouts import parallel
from ocr_rl.rollouts.engine import Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.rollouts.parallel import ParallelEngine
from ocr_rl.types import Page


@pytest.fixture(scope="module")
def engine():
    said = []
    engine = ParallelEngine(LoadSizes(0.01), 2, said.append)
    assert said == ["engine: sizes", "2 processes"]
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    for i in range(7):
        Image.new("L", (8 + i, 9)).save(folder / f"{i}.png")
    return folder


def pages_of(images, *names):
    return [Page(name, ImageFile(images / name)) for name in names]


@pytest.mark.parametrize("names", [[], ["0.png"], [f"{i}.png" for i in range(7)], ["gone.png", "1.png", "2.png"]])
def test_results_are_those_of_one_engine_in_page_order(engine, images, names):
    assert engine.output == "doctags"
    pages = pages_of(images, *names)
    pages.insert(1, Unread("torn.pdf", "is torn"))
    run = partial(in_order, pages=pages, sampling=Sampling(3), seed=5)
    assert list(run(engine)) == list(run(SizeEngine(0.0)))


def test_pages_are_read_by_the_processes_and_not_far_ahead(images, monkeypatch):
    monkeypatch.setattr(parallel, "AHEAD", 3)
    taken = count()

    def pages():
        for page in pages_of(images, "slow", *["1.png"] * 40):
            next(taken)
            yield Page(page.id, ImageFile(images / "1.png"))

    engine = ParallelEngine(LoadSizes(), 2, lambda line: None)
    first = next(in_order(engine, pages(), Sampling(), 0))
    assert first.page.id == "slow"
    assert next(taken) <= 3 * 2 + 2
    engine.close()


@pytest.mark.parametrize(
    ("page", "kind", "message"),
    [
        ("stop", EngineError, "^out of memory$"),
        ("bug", KeyError, "bug"),
        ("die", EngineError, "^worker 2 of 2 was killed by signal 9$"),
    ],
)
def test_what_stops_a_process_stops_the_stream(images, page, kind, message):
    engine = ParallelEngine(LoadSizes(), 2, lambda line: None)
    pages = pages_of(images, "0.png", "1.png", "2.png", page)
    done = []
    with pytest.raises(kind, match=message):
        done.extend(in_order(engine, pages, Sampling(), 0))
    engine.close()
    assert [result.page.id for result in done] == ["0.png", "1.png", "2.png"][: len(done)]


@pytest.mark.parametrize(("page", "kind"), [("bug", KeyError), ("no copy", RuntimeError)])
def test_an_unexpected_error_brings_its_own_traceback(images, page, kind):
    engine = ParallelEngine(LoadSizes(), 2, lambda line: None)
    with pytest.raises(kind) as caught:
        list(in_order(engine, pages_of(images, "0.png", page), Sampling(), 0))
    engine.close()
    [note] = caught.value.__notes__
    assert note.startswith("in worker 2 of 2:\nTraceback")
    assert "page_engines.py" in note
    assert "raise" in note


def test_an_engine_that_cannot_be_loaded_is_the_users_error():
    with pytest.raises(ValueError, match=r"^no such model$"):
        ParallelEngine(LoadSizes(fails="no such model"), 2)


def test_the_processes_end_with_the_engine(images):
    engine = ParallelEngine(LoadSizes(), 2, lambda line: None)
    processes = [worker._process.pid for worker in engine._workers]
    next(engine.stream(pages_of(images, *["1.png"] * 5), Sampling(), 0))  # the stream is not read to its end
    engine.close()
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
