"""Pages read line by line: their lines are found on the image, and what an engine writes for each is joined."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tqdm import tqdm

from ocr_rl.data.archives.crops import Crop, CutImage, PageImage
from ocr_rl.data.images import ImageError
from ocr_rl.data.lines.finding import find_lines
from ocr_rl.models.pixels import LINE
from ocr_rl.models.policy import Policy
from ocr_rl.rollouts.engine import Engine, Refused, Sampled, Sampling
from ocr_rl.types import Completion, FinishReason, Page

LINE_CROP = Crop("line", deskew=True)
LONGEST_LINE = 256
"""Tokens; a line of noise may otherwise be read without end."""
LOWEST_PAGE = 64
"""Pixels; a lower image is a line, which may have parts of its neighbours."""
EMPTY = Completion([], "", "end", [])
"""Of a line that the engine cannot read."""


class LineEngine(Engine):
    """Another engine that gets lines in place of pages.

    A completion of a page has a line for each line that `find_lines` finds, in its order, also where nothing is read.
    `max_tokens` is for each of them, and at most LONGEST_LINE where the model was trained on lines. A page on which
    fewer than two are found is read as a whole. Lines that the engine cannot read are reported on stderr; a page is
    refused where it can read none.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.policy, self.prompt_format = engine, engine.policy, engine.prompt_format

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
        if self.policy.budget.line_height is not None:
            sampling = replace(sampling, max_tokens=min(sampling.max_tokens, LONGEST_LINE))
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
                whole = _OpenPage(number, found, sampling.group_size)
                for i, line in enumerate(found):
                    places[count] = whole, i
                    count += 1
                    yield line

        for event in self.engine.stream(lines(), sampling, seed):
            while refused:
                yield refused.popleft()
            page, line = places[event.page]
            if isinstance(event, Sampled):
                page.rows[event.row][line] = event.completion
            else:
                page.refuse(line, event.why)
            if not all(line in row for row in page.rows):
                continue
            del places[event.page]
            yield from page.results()
        yield from refused


@dataclass
class _OpenPage:
    """The completions of the lines of a page that have come so far."""

    number: int
    lines: Sequence[Page]
    group_size: int
    rows: list[dict[int, Completion]] = field(init=False)
    why: str = ""
    """Why a line cannot be read."""
    unread: int = 0

    def __post_init__(self) -> None:
        self.rows = [{} for _ in range(self.group_size)]

    def refuse(self, line: int, why: str) -> None:
        self.why, self.unread = why, self.unread + 1
        for row in self.rows:
            row[line] = EMPTY

    def results(self) -> Iterator[Sampled | Refused]:
        """All of the page, once every line has all its completions."""
        if any(len(row) < len(self.lines) for row in self.rows):
            return
        if self.unread == len(self.lines):
            yield Refused(self.number, self.why)
            return
        if self.unread:
            name = self.lines[0].id.rpartition("#")[0]
            tqdm.write(f"{name}: {self.unread} of {len(self.lines)} lines left out: {self.why}", file=sys.stderr)
        for i, row in enumerate(self.rows):
            yield Sampled(self.number, i, joined([row[line] for line in range(len(self.lines))]))


def joined(lines: Sequence[Completion]) -> Completion:
    """One completion of the completions of a page's lines. It is cut off if one of them is."""
    if len(lines) == 1:
        return lines[0]
    cut_off: list[FinishReason] = [line.finish_reason for line in lines if not line.finished]
    return Completion(
        [token for line in lines for token in line.token_ids],
        "\n".join(" ".join(line.text.split()) for line in lines),
        cut_off[0] if cut_off else "end",
        [logprob for line in lines for logprob in line.sampling_logprobs],
        len(lines),
    )


def is_line(width: int, height: int) -> bool:
    """Whether an image of this size is taken for a single line."""
    return width >= LINE * height or height < LOWEST_PAGE


def lines_of(page: Page) -> list[Page]:
    """A page for each line that is found on it; the page itself if there is none, or one alone.

    Raises:
        ImageError: the image cannot be read.
    """
    image = page.open_image()
    layout = None if is_line(*image.size) else find_lines(image)
    if layout is None or len(layout.lines) < 2:
        return [page]
    whole = PageImage(page.open_image, image.size)
    return [
        replace(page, id=f"{page.id}#{line.id}", open_image=CutImage(whole, line.polygon, line.baseline, LINE_CROP))
        for line in layout.lines
    ]
