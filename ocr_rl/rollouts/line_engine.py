"""Pages read line by line: their lines are found on the image, and what an engine writes for each is joined."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ocr_rl.data.archives.crops import Crop, CutImage, PageImage
from ocr_rl.data.images import ImageError
from ocr_rl.data.lines.finding import find_lines
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.types import Completion, FinishReason, Page
from ocr_verifiers import OutputFormat, to_markdown

CUT = Crop("line", deskew=True)


class LineEngine(Engine):
    """Another engine that gets lines in place of pages.

    A completion of a page has a line of markdown for each line that `find_lines` finds, in its order, also where the
    line is empty; `max_tokens` is for each of them. A page on which it finds none is read as a whole.
    """

    line_by_line = True

    def __init__(self, engine: Engine) -> None:
        self.engine, self.prompt_format = engine, replace(engine.prompt_format, output="markdown")
        if hasattr(engine, "policy"):  # several processes have theirs
            self.policy = engine.policy

    def pieces(self, token_ids: Sequence[int]) -> list[str]:
        """As of the engine; where a line ends and another follows, the end token adds the line break."""
        found = self.engine.pieces(token_ids)
        last = len(token_ids) - 1
        ends = set(self.policy.end_ids)
        return [
            "\n" if token in ends and i < last else piece
            for i, (token, piece) in enumerate(zip(token_ids, found, strict=True))
        ]

    def sync(self, policy: Policy) -> None:
        self.engine.sync(policy)

    def close(self) -> None:
        self.engine.close()

    def stream(self, pages: Iterable[Page], sampling: Sampling, seed: int) -> Iterator[Sampled | Refused]:
        refused: deque[Refused] = deque()
        places: dict[int, tuple[_OpenPage, int]] = {}

        def lines() -> Iterator[Page]:
            count = 0
            for number, page in enumerate(pages):
                try:
                    found = lines_of(page)
                except ImageError as error:
                    refused.append(Refused(number, error.reason))
                    continue
                whole = _OpenPage(number, len(found), sampling.group_size)
                for i, line in enumerate(found):
                    places[count] = whole, i
                    count += 1
                    yield line

        for event in self.engine.stream(lines(), sampling, seed):
            while refused:
                yield refused.popleft()
            page, line = places[event.page]
            if isinstance(event, Sampled):
                rows = [(event.row, event.completion)]
            elif page.lines == 1:
                del places[event.page]
                yield Refused(page.number, event.why)
                continue
            else:
                rows = [(row, UNREAD) for row in range(sampling.group_size)]
            for row, completion in rows:
                if (joined := page.add(row, line, completion, self.engine.output)) is not None:
                    yield Sampled(page.number, row, joined)
            if page.complete(line):
                del places[event.page]
        yield from refused


UNREAD = Completion([], "", "end", [])
"""Of a line that the engine cannot read."""


@dataclass
class _OpenPage:
    """The completions of the lines of a page that have come so far."""

    number: int
    lines: int
    group_size: int
    rows: dict[int, dict[int, Completion]] = field(default_factory=dict)

    def add(self, row: int, line: int, completion: Completion, output: OutputFormat) -> Completion | None:
        """The completion of the page, once this is the last one of its row."""
        own = self.rows.setdefault(row, {})
        written = to_markdown(completion.text, output).text
        own[line] = replace(completion, text=" ".join(written.split()) if self.lines > 1 else written)
        return joined([own[i] for i in range(self.lines)]) if len(own) == self.lines else None

    def complete(self, line: int) -> bool:
        """Whether all completions of a line have come."""
        return sum(line in own for own in self.rows.values()) == self.group_size


def joined(lines: Sequence[Completion]) -> Completion:
    """One completion of the completions of a page's lines. It is cut off if one of them is."""
    cut_off: list[FinishReason] = [line.finish_reason for line in lines if not line.finished]
    return Completion(
        [token for line in lines for token in line.token_ids],
        "\n".join(line.text for line in lines),
        cut_off[0] if cut_off else "end",
        [logprob for line in lines for logprob in line.sampling_logprobs],
    )


def lines_of(page: Page) -> list[Page]:
    """A page for each line that is found on it; the page itself if there is none, or one alone.

    Raises:
        ImageError: the image cannot be read.
    """
    image = page.open_image()
    layout = find_lines(image)
    if len(layout.lines) < 2:
        return [page]
    whole = PageImage(page.open_image, image.size)
    return [
        replace(page, id=f"{page.id}#{line.id}", open_image=CutImage(whole, line.polygon, line.baseline, CUT))
        for line in layout.lines
    ]
