"""A page to correct transcriptions in: the least sure first, image beside text, edits saved as a dataset.

It is one file. What it saves are rows {"image", "text", "id", "doc"}, the image within the row, so that the file is
complete wherever the browser puts it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from ocr_rl.data.splits import document_of
from ocr_rl.reporting.html import document, image_uri, text
from ocr_rl.types import Page
from ocr_verifiers import alignment
from ocr_verifiers.text.diff import visible
from ocr_verifiers.text.offsets import prefix_lengths

LONGEST_SIDE, QUALITY = 2048, 90
"""Of the images, which are trained on."""
DOUBTFUL, WRONG = 0.9, 0.5
"""A span below is marked: perhaps, or probably wrong."""
ALTERNATIVES = 5
"""Other texts of the samples that are offered; each has a digit as its key."""
KEYS = (
    ("j k", "next, previous"),
    ("Enter", "edit; Esc to leave the text"),
    ("1-5", "take a reading of the samples"),
    ("a", "accept, and next; in the text Ctrl+Enter"),
    ("u", "as it was"),
    ("s", "save"),
)


def least_sure_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows by the expected share of right characters; of equal ones the longer first."""
    return sorted(rows, key=lambda row: (row["confidence"], -len(row["text"]), row["id"]))


def review_page(rows: Sequence[Mapping[str, Any]], pages: Mapping[str, Page], name: str) -> str:
    """The whole file. `pages` are those of the rows, by id; `name` is that of the file of rows."""
    keys = "".join(f"<dt><kbd>{text(key)}</kbd></dt><dd>{text(what)}</dd>" for key, what in KEYS)
    digest = sha256(json.dumps(list(rows)).encode()).hexdigest()[:16]
    bar = (
        f'<form id="bar" data-name="{escape(name)}" data-rows="{digest}">'
        '<button id="save" type="button">Save corrections</button>\n'
        '<output id="count"></output>\n'
        f"<details><summary>Keys</summary><dl>{keys}</dl></details></form>\n"
        '<p class="note"><mark class="bad">Marked so</mark>: more likely wrong than right; '
        '<mark class="near">so</mark>: not sure. Only accepted pages are saved, as they stand then.</p>\n'
    )
    css, script = (files("ocr_rl.reporting").joinpath(f"review.{kind}").read_text("utf-8") for kind in ("css", "js"))
    about = f"{len(rows):,} transcriptions, the least sure first"
    return document(f"Review: {name}", about, [bar, *(_article(row, pages[row["id"]]) for row in rows)], css, script)


def _article(row: Mapping[str, Any], page: Page) -> str:
    uri = image_uri(page, LONGEST_SIDE, QUALITY)
    figure = (
        f'<figure><img src="{uri}" alt=""></figure>\n'
        if uri
        else '<p class="why">The image cannot be opened, so nothing can be accepted.</p>\n'
    )
    accept = '<p><button type="button" class="accept">Accept</button></p>' if uri else ""
    others = [(one, count) for one, count in Counter(row["samples"]).most_common() if one != row["text"]]
    buttons = "".join(
        f'<li><button type="button" class="reading" data-text="{escape(one)}"><kbd>{key}</kbd>'
        f'<span dir="auto">{_changed(row["text"], one)}</span>'
        f"<small>{count} of {len(row['samples'])}</small></button></li>\n"
        for key, (one, count) in enumerate(others[:ALTERNATIVES], 1)
    )
    lines = row["text"].count("\n") + 1
    return (
        f'<article tabindex="-1" data-id="{escape(row["id"])}" data-doc="{escape(document_of(page))}">\n'
        f'<h3 dir="auto">{text(row["id"])} <small>{row["confidence"]:.2f}</small> <output></output></h3>\n'
        f'{figure}\n<pre class="marked" dir="auto">{"".join(_marked(row))}</pre>\n'
        f'<textarea dir="auto" rows="{lines}" spellcheck="false" aria-label="Text of {escape(row["id"])}">\n'
        f"{escape(row['text'])}</textarea>\n"
        f"<ol>{buttons}</ol>\n{accept}</article>\n"
    )


def _marked(row: Mapping[str, Any]) -> Iterator[str]:
    """The text with its doubtful words as elements, and in them the doubtful characters."""
    whole, after = row["text"], 0
    doubtful = [(start, end, sure) for start, end, sure in row["spans"] if sure < DOUBTFUL]
    places = {sample: prefix_lengths(whole, sample) for sample in set(row["samples"])}
    for start, end, sure in row["words"]:
        yield text(whole[after:start])
        after = end
        inside = [(max(a, start), min(b, end), c) for a, b, c in doubtful if a < end and b > start]
        if sure >= DOUBTFUL and not inside:
            yield text(whole[start:end])
            continue
        readings = _readings(row, places, start, end)
        said = f"{sure:.2f}" + (f"; samples: {', '.join(readings)}" if readings else "")
        yield f'<span class="word" data-start="{start}" data-end="{end}" title="{escape(said)}">'
        for a, b, c in inside:
            yield f'{text(whole[start:a])}<mark class="{"bad" if c < WRONG else "near"}">{text(whole[a:b])}</mark>'
            start = b
        yield f"{text(whole[start:end])}</span>"
    yield text(whole[after:])


def _readings(row: Mapping[str, Any], places: Mapping[str, Sequence[int]], start: int, end: int) -> list[str]:
    """What the samples have in the place of a word, the most frequent first. `places` are their `prefix_lengths`."""
    found: Counter[str] = Counter()
    for sample in row["samples"]:
        found[sample[places[sample][start] : places[sample][end]].strip() or "∅"] += 1
    del found[row["text"][start:end]]
    return [f"{visible(reading)} ({count})" for reading, count in found.most_common(4)]


def _changed(before: str, after: str) -> str:
    """A reading of a sample, with what differs from the text marked."""
    parts = []
    for span in alignment(before, after):
        if span.op == "equal":
            parts.append(text(span.completion))
        else:
            parts.append(f"<ins>{text(span.completion)}</ins>" if span.completion else "<del>‸</del>")
    return "".join(parts)
