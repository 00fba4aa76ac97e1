"""Rows appended to a file: what is said of them, and of what stops the engine."""

import json

import pytest

from ocr_rl.data.unlabelled import Unread
from ocr_rl.errors import EngineError
from ocr_rl.rollouts.console import Console
from ocr_rl.rollouts.engine import Engine, Sampled, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.rollouts.resumable import RowJob, append_rows
from ocr_rl.types import Completion, Page


class Stopping(Engine):
    """Reads each page as its id, and stops at the page "stop"."""

    def __init__(self, error):
        self.error, self.closed = error, False

    def stream(self, pages, sampling, seed):
        for number, page in enumerate(pages):
            if page.id == "stop":
                raise self.error
            yield Sampled(number, 0, Completion((), page.id, "end", ()))

    def sync(self, policy):
        pass

    def close(self):
        self.closed = True


def append(path, engine, *pages, said=None, retry_errors=False):
    def results(engine, rest, there):
        return in_order(engine, rest, Sampling(), seed=0)

    def row(result):
        if isinstance(result, Unread):
            return {"id": result.id, "error": result.why}
        return {"id": result.page.id}

    found = [page if isinstance(page, Unread) else Page(page, lambda: None) for page in pages]
    console = Console() if said is None else Console(say=said.append)
    return append_rows(path, {}, RowJob(found, lambda: engine, results, row, None, retry_errors), console)


@pytest.mark.parametrize("error", [EngineError("the worker was killed"), KeyboardInterrupt()])
def test_what_stops_the_engine_says_how_many_rows_are_kept(tmp_path, error):
    path, engine = tmp_path / "out.jsonl", Stopping(error)
    with pytest.raises(type(error)) as stop:
        append(path, engine, "a", "b", "stop")
    assert str(stop.value) == f"{error}\n2 pages are in {path}; the same command continues".strip()
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b"]
    assert engine.closed


def test_the_same_call_continues_and_counts_the_errors_of_both(tmp_path):
    path, said = tmp_path / "out.jsonl", []
    pages = ["a", Unread("b", "is not an image"), "c", Unread("d", "is not a PDF")]
    assert append(path, Stopping(None), *pages[:2], said=said) == 1
    assert append(path, Stopping(None), *pages, said=said) == 2
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == ["a", "b", "c", "d"]
    assert said[1] == f"2 pages are in {path} already"
    assert [line.startswith("2 pages in ") for line in said] == [True, False, True]


def test_rows_with_an_error_are_tried_again_on_request_and_keep_their_places(tmp_path):
    path, said = tmp_path / "rows.jsonl", []
    assert append(path, Stopping(None), "a", Unread("b", "is torn"), "c", Unread("d", "is torn")) == 2
    assert append(path, Stopping(None), "a", "b", "c", Unread("d", "is torn")) == 2
    assert append(path, Stopping(None), "a", "b", "c", Unread("d", "is torn"), "e", said=said, retry_errors=True) == 1
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"id": "a"},
        {"id": "b"},
        {"id": "c"},
        {"id": "d", "error": "is torn"},
        {"id": "e"},
    ]
    assert said[-1] == "1 of 2 pages with an error can be read now"


def test_without_a_page_to_do_no_engine_is_loaded(tmp_path):
    append(tmp_path / "out.jsonl", Stopping(None), "a")
    assert append(tmp_path / "out.jsonl", None, "a") == 0
