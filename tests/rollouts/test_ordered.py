"""Many pages through an engine into a file: in page order, each once, whatever ends first and whatever is killed."""

import json
import os
import weakref
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from helpers.odd_rubrics import Odd
from helpers.tiny_models import make_page, make_policy
from ocr_rl.data.unlabelled import Unread, walk_pages
from ocr_rl.rewards.group_files import group_row
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.rollouts.scoring import GroupScorer
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.runs.jsonl_file import RowFile
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Rubric, read_groups, score_groups


class Shuffled(Engine):
    """Takes up to `room` pages at a time and ends their completions in any order; refuses pages named "bad"."""

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
def test_results_come_in_page_order_whatever_ends_first(scorer, kinds, room, size, random, scored):
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


def test_pages_are_taken_as_there_is_room_and_forgotten_when_they_are_done():
    """Of a million pages; a page that is given back waits for none but earlier ones."""
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


def test_a_verifier_that_fails_ends_the_run_with_the_name_of_the_page():
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


# --- a row of a group


def test_a_row_of_a_group_is_what_ocr_verify_reads_and_scores_the_same():
    tests = [{"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "two"}]
    page = Page("a.png", lambda: None, text="one two", tests=tests)
    completions = [
        Completion((5, 6, 7), "one two", "end", (-0.5, -0.25, 0.0)),
        Completion((5,), "one", "length", (-2.0,)),
        Completion((), "", "repetition", (float("nan"),)),
    ]
    scored = RewardFunction(Rubric(), [page]).score_groups([Group(page, completions)])[0]
    row = json.loads(json.dumps(group_row(scored), allow_nan=False))
    assert row["finish_reasons"] == ["end", "length", "repetition"]
    assert row["tokens"] == [3, 1, 0]
    assert row["sum_logprobs"] == [-0.75, -2.0, None]
    ((group, scores),) = score_groups(Rubric(), read_groups([(1, row)], "rollout.jsonl"))
    assert [score.reward for score in scores] == row["rewards"] == list(scored.rewards)
    assert [dict(score.parts) for score in scores] == row["parts"]
    assert group.tests[0].id == "t"
    assert row["rewards"][0] == 1.0
    unscored = group_row(scored.group)
    assert unscored == {name: value for name, value in row.items() if name not in ("rewards", "parts")}


def test_a_row_without_reference_or_without_tests_leaves_them_out():
    group = Group(Page("a", lambda: None), [Completion((), "x", "end", ())])
    assert group_row(group).keys().isdisjoint({"reference", "tests", "rewards", "parts"})


# --- a file of rows


@dataclass(frozen=True)
class P:
    id: str


SETTINGS = {"model": "tiny", "seed": 0, "where": {"level": ("line",)}}


def grow(path, names, stop=None, settings=SETTINGS):
    """Append the rows of the pages that have none, `stop` at most."""
    with RowFile(path, settings) as file:
        for page in islice(file.rest(P(name) for name in names), stop):
            file.append({"id": page.id, "text": "é\u2028" + page.id} | ({"error": "x"} if page.id == "p3" else {}))
        return file.rows, file.errors


NAMES = [f"p{n}" for n in range(6)]


def test_a_file_is_gone_on_with_from_every_byte_at_which_it_can_be_cut(tmp_path):
    assert grow(tmp_path / "whole.jsonl", NAMES) == (6, 1)
    whole = (tmp_path / "whole.jsonl").read_bytes()
    assert [json.loads(line)["id"] for line in whole.decode("ascii").splitlines()] == NAMES
    path = tmp_path / "rows.jsonl"
    for length in range(len(whole) + 1):
        grow(path, NAMES, 0)
        path.write_bytes(whole[:length])
        assert grow(path, NAMES) == (6, 1)
        assert path.read_bytes() == whole


def test_a_finished_file_is_left_as_it_is_and_more_pages_are_added(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES)
    before = path.read_bytes()
    assert grow(path, NAMES) == (6, 1)
    assert path.read_bytes() == before
    assert grow(path, [*NAMES, "p6"]) == (7, 1)
    assert path.read_bytes().startswith(before)


def test_a_last_line_of_zeros_as_a_power_cut_leaves_it_is_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    whole = path.read_bytes()
    for tail in (b"\0" * 100, b"\0" * 100 + b"\n", b'{"id": "p2"}', b"[]\n"):
        path.write_bytes(whole + tail)
        assert grow(path, NAMES, 0) == (2, 0)
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (SETTINGS | {"seed": 1}, "was made with seed = 0, this run has 1; write the same, or give another --out"),
        (SETTINGS | {"limit": 3}, "was made with limit = null, this run has 3; write the same, or give another --out"),
        ({"model": "tiny", "seed": 0}, r'was made with where = {"level": ["line"]}, this run has null; '),
    ],
)
def test_a_file_that_was_made_with_other_settings_is_left_alone(tmp_path, settings, message):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"rows.jsonl was made") as error:
        grow(path, NAMES, settings=settings)
    assert str(error.value).startswith(f"{path} {message}")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": "p0"}\n')
    with pytest.raises(ValueError, match=r"no rows.settings.json says how it was made; give another --out"):
        grow(path, NAMES)
    assert [file.name for file in tmp_path.iterdir()] == ["rows.jsonl"]
    (tmp_path / "rows.settings.json").write_text("[")
    with pytest.raises(ValueError, match="is damaged; give another --out"):
        grow(path, NAMES)
    assert path.read_text() == '{"id": "p0"}\n'


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["p0", "new", "p1"], "rows.jsonl:2: is of 'p1', but the page is 'new': the data has changed; give another"),
        (["p0"], "rows.jsonl:2: is of 'p1', but there are no more pages: the data has changed; give another --out"),
        (["a0"], "rows.jsonl:1: is of 'p0', but the page is 'a0': the data has changed; give another --out"),
    ],
)
def test_pages_that_are_not_those_of_the_rows_are_an_error(tmp_path, names, message):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 2)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"rows.jsonl:") as error:
        grow(path, names)
    assert message in str(error.value)
    assert path.read_bytes() == before


def test_damage_before_the_last_line_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    grow(path, NAMES, 3)
    damaged = path.read_bytes().replace(b'"id": "p1"', b'"id": p1')
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"rows.jsonl:2: is damaged; give another --out"):
        grow(path, NAMES)
    assert path.read_bytes() == damaged


def test_two_processes_do_not_write_one_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    with RowFile(path, SETTINGS), pytest.raises(ValueError, match="is being written by another process"):
        grow(path, NAMES)
    assert grow(path, NAMES) == (6, 1)


def test_a_mistake_before_the_first_row_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no such model"), RowFile(tmp_path / "rows.jsonl", SETTINGS):
        raise ValueError("no such model")
    assert list(tmp_path.iterdir()) == []
    grow(tmp_path / "rows.jsonl", NAMES, 0)
    assert grow(tmp_path / "rows.jsonl", NAMES, settings={"model": "other"}) == (6, 1)


# --- the pages of a folder


def test_a_folder_is_walked_in_the_order_of_its_sorted_paths(tmp_path):
    names = "b.png a/z.PNG a/b/c.jpg a.png a-b/x.tif ab.webp a/notes.txt .hidden.png B.png é.png c.d/e.png c.png"
    for name in names.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    save_pdf(tmp_path / "a/book.pdf", 3)
    pages = list(walk_pages(tmp_path, "Read."))
    books = [f"a/book.pdf#{number}" for number in (1, 2, 3)]
    others = "a-b/x.tif a.png ab.webp b.png c.d/e.png c.png é.png".split()
    assert [page.id for page in pages] == ["B.png", "a/b/c.jpg", *books, "a/z.PNG", *others]
    paths = [tmp_path / page.id.partition("#")[0] for page in pages]
    assert paths == sorted(paths) == [page.open_image.path for page in pages]
    assert [page.open_image.index for page in pages if "#" in page.id] == [0, 1, 2]
    assert {page.prompt for page in pages} == {"Read."}


def save_pdf(path, pages):
    first, *others = [Image.new("RGB", (40, 30), "white") for _ in range(pages)]
    first.save(path, save_all=True, append_images=others)


def test_a_pdf_that_cannot_be_opened_is_one_unread_page(tmp_path):
    (tmp_path / "b.pdf").write_bytes(b"nothing")
    for name in ("a.png", "c.png"):
        (tmp_path / name).touch()
    first, broken, last = walk_pages(tmp_path)
    assert (first.id, last.id) == ("a.png", "c.png")
    assert broken.id == "b.pdf"
    assert broken.why.startswith("cannot be read as a PDF: ")


def test_one_file_is_its_own_folder_and_no_pages_are_an_error(tmp_path):
    save_pdf(tmp_path / "book.pdf", 2)
    assert [page.id for page in walk_pages(tmp_path / "book.pdf")] == ["book.pdf#1", "book.pdf#2"]
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"notes.txt: no image or PDF here; files are known by their endings: .bmp"):
        next(walk_pages(tmp_path / "notes.txt"))


def test_a_folder_s_pages_are_not_opened_before_they_are_asked_for(tmp_path, monkeypatch):
    for n in range(50):
        (tmp_path / f"{n:02d}").mkdir()
        (tmp_path / f"{n:02d}" / "p.png").touch()
    opened, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (opened.append(Path(path).name), scandir(path))[1])
    assert next(walk_pages(tmp_path)).id == "00/p.png"
    assert opened == [tmp_path.name, "00"]
