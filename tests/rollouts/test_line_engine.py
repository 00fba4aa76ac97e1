"""Pages that are read line by line: what an engine writes for each line, joined in the order of the page."""

import io
from dataclasses import replace

import pytest

from helpers.tiny_models import completion, make_page, make_policy
from ocr_rl.data.images import EncodedImage, ImageFile
from ocr_rl.data.lines.finding import find_lines
from ocr_rl.data.synthetic.render import Layout, Style, render_page
from ocr_rl.rollouts.engine import Refused, Sampled, Sampling
from ocr_rl.rollouts.line_engine import LineEngine, joined, lines_of
from ocr_rl.rollouts.ordered import in_order
from ocr_rl.rollouts.transformers_engine import TransformersEngine
from ocr_rl.types import Completion

GREEDY = Sampling(1, 0.0, 6)


def page_of(lines, seed=0, id="page"):
    """A rendered page with so many lines."""
    page = render_page(seed, Layout(lines=(lines, lines), characters=(8, 20)), Style(font_size=(14, 18)))
    buffer = io.BytesIO()
    page.image.save(buffer, "PNG")
    return replace(make_page(), id=id, open_image=EncodedImage(buffer.getvalue()), text=page.text)


@pytest.fixture(scope="module")
def engine():
    return TransformersEngine(make_policy())


def test_a_completion_is_those_of_the_lines_in_their_order(engine):
    page = page_of(4)
    (group,) = LineEngine(engine).generate([page], GREEDY, seed=0)
    lines = lines_of(page)
    assert [line.id for line in lines] == [f"page#{line.id}" for line in find_lines(page.image).lines]
    own = [engine.generate([line], GREEDY, seed=0)[0].completions[0] for line in lines]
    (whole,) = group.completions
    assert group.page is page
    assert whole.text.split("\n") == [" ".join(one.text.split()) for one in own]
    assert whole.token_ids == [token for one in own for token in one.token_ids]
    assert whole.sampling_logprobs == pytest.approx([value for one in own for value in one.sampling_logprobs], rel=1e-4)


def test_samples_of_pages_with_more_and_fewer_lines_are_kept_apart(engine):
    pages = [page_of(3, 1, "a"), make_page(), page_of(5, 2, "b"), page_of(2, 3, "c")]
    groups = LineEngine(engine).generate(pages, Sampling(3, 1.0, 5), seed=1)
    assert [group.page.id for group in groups] == [page.id for page in pages]
    counts = [{completion.text.count("\n") + 1 for completion in group.completions} for group in groups]
    assert counts == [{3}, {1}, {5}, {2}]


def test_a_page_that_is_a_line_or_empty_is_read_as_it_is(engine):
    page = make_page()
    assert lines_of(page) == [page]
    (found,), (expected,) = (one.generate([page], GREEDY, seed=0) for one in (LineEngine(engine), engine))
    assert found.completions == expected.completions
    assert found.completions[0].lines == 0


def test_a_page_that_cannot_be_read_is_refused_in_its_place(engine, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    pages = [page_of(2, 1, "a"), replace(make_page(), id="bad", open_image=ImageFile(bad)), page_of(2, 2, "b")]
    first, second, third = in_order(LineEngine(engine), pages, GREEDY, 0)
    assert (first.page.id, third.page.id) == ("a", "b")
    assert (second.id, second.why) == ("bad", "is not an image in a format that Pillow knows")


@pytest.mark.parametrize("refused", [{1}, {0, 1, 2}])
def test_a_page_is_refused_if_none_of_its_lines_can_be_read(engine, refused, capsys):
    class Refusing(TransformersEngine):
        def stream(self, pages, sampling, seed):
            for event in super().stream(pages, sampling, seed):
                if event.page not in refused:
                    yield event
                elif event.row == 0:
                    yield Refused(event.page, "is too small")

    events = list(LineEngine(Refusing(engine.policy)).stream([page_of(3)], Sampling(2, 1.0, 6), 0))
    if len(refused) == 3:
        assert events == [Refused(0, "is too small")]
        return
    assert [(type(event), event.row) for event in events] == [(Sampled, 0), (Sampled, 1)]
    assert all(event.completion.text.split("\n")[1] == "" and event.completion.lines == 3 for event in events)
    assert "page: 1 of 3 lines left out: is too small" in capsys.readouterr().err


def test_end_tokens_between_lines_are_line_breaks(engine):
    lines = [completion("ab"), completion("c"), completion("")]
    whole = joined(lines)
    pieces = LineEngine(engine).pieces(whole.token_ids)
    assert "".join(pieces) == whole.text == "ab\nc\n"
    assert pieces == ["a", "b", "\n", "c", "\n", ""]


def test_a_page_is_cut_off_if_one_of_its_lines_is():
    def line(text, reason):
        return Completion([1, 2], text, reason, [-0.5, -0.1])

    whole = joined([line("a", "end"), line("b", "length"), line("c", "repetition")])
    assert (whole.text, whole.finish_reason, whole.lines) == ("a\nb\nc", "length", 3)
    assert joined([line("a", "end"), line("b", "end")]).finish_reason == "end"
