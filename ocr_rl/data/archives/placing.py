"""A text of a whole page, put on the lines that the page has already."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ocr_rl.data.archives.layout import Layout, Line, Region, box_points
from ocr_verifiers import alignment


def place_page_text(page: Layout, text: str) -> Layout:
    """The page with this text on its lines; where that cannot be said, in a region of its own.

    A line gets what the alignment with the fewest edits puts in the place of its old text. Without old texts, each line
    of the text is one of the page's if there are as many of both. Otherwise nothing says what belongs where: the text
    is that of the only region, or of a new one as large as the page, and the lines have none.
    """
    parts = texts_of_lines([line.text for line in page.lines], text)
    if parts is not None:
        texts = iter(parts)
        return replace(page, regions=tuple(_with_texts(region, texts) for region in page.regions))
    empty = tuple(_with_texts(region, iter([""] * len(region.lines))) for region in page.regions)
    if len(empty) == 1:
        return replace(page, regions=(replace(empty[0], own_text=text),))
    taken = {region.id for region in empty} | {line.id for line in page.lines}
    name = next(name for number in range(1, len(taken) + 2) if (name := f"text_{number}") not in taken)
    whole = Region(name, "", box_points(0, 0, *page.size), own_text=text)
    return replace(page, regions=(*empty, whole))


def place_part_texts(page: Layout, texts: Mapping[str, str]) -> Layout:
    """The page with these texts in the place of those of its regions and lines with these ids."""

    def placed(region: Region) -> Region:
        if region.id in texts:
            parts = texts_of_lines([line.text for line in region.lines], texts[region.id])
            own_text = texts[region.id] if parts is None else ""
            return replace(_with_texts(region, iter(parts or [""] * len(region.lines))), own_text=own_text)
        return replace(region, lines=tuple(_line(line, texts.get(line.id, line.text)) for line in region.lines))

    return replace(page, regions=tuple(map(placed, page.regions)))


def texts_of_lines(old: Sequence[str], text: str) -> list[str] | None:
    """The text cut into one part for each line with an old text; None if nothing says where to cut.

    The parts, joined with spaces, are the text but for white space.
    """
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not old or not any(old):
        return lines if old and len(lines) == len(old) else None
    new = "\n".join(lines)
    places: list[int] = []  # for each character of the old text, where it is in the new one
    after = 0
    line_break = "\n" if len(lines) > 1 else " "
    for span in alignment(line_break.join(old), new):
        last = max(0, len(span.completion) - 1)
        places += [after + min(offset, last) for offset in range(len(span.reference))]
        after += len(span.completion)
    spaces = [0, *(found.start() for found in re.finditer(r"\s", new)), len(new)]
    cuts, line_end = [0], -1
    for line in old[:-1]:
        line_end += len(line) + 1
        cuts.append(max(cuts[-1], _nearest(spaces, places[line_end])))
    return [" ".join(new[a:b].split()) for a, b in zip(cuts, [*cuts[1:], len(new)], strict=True)]


def _nearest(sorted_numbers: Sequence[int], wanted: int) -> int:
    at = bisect_left(sorted_numbers, wanted)
    return min(sorted_numbers[max(0, at - 1) : at + 1], key=lambda number: abs(number - wanted))


def _with_texts(region: Region, texts: Iterator[str]) -> Region:
    lines = tuple(_line(line, next(texts)) for line in region.lines)
    return replace(region, lines=lines, own_text="" if lines else region.own_text)


def _line(line: Line, text: str) -> Line:
    return replace(line, text=" ".join(text.split()))
