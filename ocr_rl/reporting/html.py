"""The parts of all HTML reports: a report is one file, all text in it is escaped, and no script but its own runs."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from typing import Any

from ocr_rl.metric_names import RATES
from ocr_rl.types import Page
from ocr_verifiers.bench.page_images import LONGEST_SIDE
from ocr_verifiers.text.diff import text_diff, visible
from ocr_verifiers.text.edit_distance import Span
from ocr_verifiers.text.normalize import nfc

LONGEST_TEXT = 6_000
"""Characters of a diff that are shown; the rest is counted."""

LEGEND = (
    "<del>struck out</del>: on the page, not read; <ins>underlined</ins>: read, not on the page. White space in place "
    "of other white space is not a difference."
)

_HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'{scripts}">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header><h1>{title}</h1>
<p>{about}</p></header>
"""


def document(title: str, about: str, sections: Iterable[str], css: str = "", script: str = "") -> str:
    """The whole file. `title` and `about` are text, sections are HTML; `css` and `script` are its own."""
    sheets = [files(package) / "report.css" for package in ("ocr_verifiers.bench", "ocr_rl.reporting")]
    css = "".join(sheet.read_text(encoding="utf-8") for sheet in sheets) + css
    digest = base64.b64encode(sha256(script.encode()).digest()).decode("ascii")
    head = _HEAD.format(
        title=text(title), about=text(about), css=css, scripts=f"; script-src 'sha256-{digest}'" if script else ""
    )
    return head + "".join(sections) + (f"<script>{script}</script>\n" if script else "") + "</body>\n</html>\n"


def text(value: object) -> str:
    """Anything as HTML text or attribute: escaped; invisible characters, such as controls, are named."""
    return escape("\n".join(visible(line) for line in str(value).split("\n")))


def section(title: str, *content: str, note: str = "") -> str:
    """A heading and its content; "" without content. `note` is HTML."""
    if not any(content):
        return ""
    below = f'<p class="note">{note}</p>\n' if note else ""
    return f"<section><h2>{text(title)}</h2>\n{below}{''.join(content)}</section>\n"


def table(name: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with the id `name`; the first cell of a row is its heading. Cells are HTML, heads are text."""
    above = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
        for first, *cells in rows
    )
    return (
        f'<div class="wide"><table id="{name}" class="rates"><thead><tr>{above}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>\n"
    )


def rate(summary: Mapping[str, Any], name: str) -> str:
    """A value over its interval."""
    value, interval = summary.get(name), summary.get(f"{name}_ci")
    if value is None:
        return "–"
    between = f"<small>{interval[0]:.3f}–{interval[1]:.3f}</small>" if interval else ""
    return f"<b>{value:.3f}</b>{between}"


def rate_rows(summaries: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    """A row for each of RATES that a summary has, and for each kind of test after `pass_rate`."""
    kinds = sorted({kind for summary in summaries for kind in summary.get("by_kind", {})})
    for name in RATES:
        if any(summary.get(name) is not None for summary in summaries):
            yield [name_cell(name), *(rate(summary, name) for summary in summaries)]
        if name == "pass_rate":
            for kind in kinds:
                own = [summary.get("by_kind", {}).get(kind, {}) for summary in summaries]
                yield [f'<span class="kind">{name_cell(kind)}</span>', *(rate(one, name) for one in own)]


def name_cell(name: str) -> str:
    """A name that may be broken after an underscore."""
    return text(name).replace("_", "_<wbr>")


def folded(title: str, content: str) -> str:
    return f"<details><summary>{text(title)}</summary>\n{content}</details>\n"


def listing(pairs: Mapping[str, object]) -> str:
    """Names and values, e.g. an environment; "" without any."""
    if not pairs:
        return ""
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{text(value)}</dd>' for name, value in pairs.items())}</dl>\n"


def diff(reference: str | None, completion: str) -> str:
    """A transcription with its errors marked; without a reference, the transcription alone.

    Both are compared as for the error rates: in NFC, without white space around them.
    """
    if reference is None:
        spans = [Span("equal", completion, completion)]
    else:
        spans = text_diff(nfc(reference).strip(), nfc(completion).strip())
    pieces: list[str] = []
    room = LONGEST_TEXT
    for at, span in enumerate(spans):
        pieces.append(_span(span, room))
        room -= max(len(span.reference), len(span.completion))
        if room < 0:
            left = -room + sum(max(len(s.reference), len(s.completion)) for s in spans[at + 1 :])
            return f'<pre dir="auto">{"".join(pieces)}</pre>\n<p class="note">and {left:,} more characters</p>\n'
    return f'<pre dir="auto">{"".join(pieces)}</pre>\n'


MEASURES = {"reward": "reward", "cer": "CER"}
"""What a page's row of an evaluation is judged by, as it is shown."""


def measures(*rows: Mapping[str, Any]) -> str:
    """ "reward 0.512, CER 0.103" of a row, or "reward 0.231 → 0.512" of a page before and after."""
    found = []
    for key, shown in MEASURES.items():
        values = [row[key] for row in rows if row.get(key) is not None]
        if len(values) == len(rows):
            found.append(f"{shown} {' → '.join(f'{value:.3f}' for value in values)}")
    return ", ".join(found[: 1 if len(rows) > 1 else None])


def quality(row: Mapping[str, Any]) -> float:
    """The reward; where a single transcription has none, minus its CER, or 0 for all."""
    reward: float | None = row["reward"]
    return -float(row.get("cer") or 0) if reward is None else reward


def why_malformed(row: Mapping[str, Any]) -> str:
    """Below a completion that is not in the model's output format."""
    reason = row.get("malformed")
    return f'<p class="why" dir="auto">malformed: {text(reason)}</p>\n' if reason else ""


def _span(span: Span, limit: int) -> str:
    """At most `limit` characters of a span."""
    lost, new = span.reference[:limit], span.completion[:limit]
    if span.op == "equal" or (lost and new and not lost.strip() and not new.strip()):
        return text(new)
    return (f"<del>{_marked(lost)}</del>" if lost else "") + (f"<ins>{_marked(new)}</ins>" if new else "")


def _marked(part: str) -> str:
    """Line ends and spaces that only one text has are made visible."""
    return text(part.replace("\n", "⏎\n") if part.strip() else part.replace("\n", "⏎").replace(" ", "␣"))


def sheet(title: str, about: str, page: Page | None, outputs: Iterable[tuple[str, str]]) -> str:
    """A page's picture beside (heading, HTML) outputs. Without a picture, the outputs alone."""
    uri = image_uri(page) if page is not None else None
    figure = f'<figure><img src="{uri}" alt="{text(title)}" loading="lazy"></figure>\n' if uri else ""
    inside = "".join(f'<div class="output"><p><b>{text(head)}</b></p>\n{html}</div>\n' for head, html in outputs)
    return (
        f'<article>\n<h3 dir="auto">{text(title)} <small>{text(about)}</small></h3>\n'
        f'<div class="{"sheet" if uri else "sheet alone"}">{figure}<div class="outputs">\n{inside}</div></div>\n'
        "</article>\n"
    )


def image_uri(page: Page, longest_side: int = LONGEST_SIDE, quality: int = 75) -> str | None:
    """The page as a JPEG data URI; None if it cannot be opened: a report is useful without pictures too."""
    try:
        image = page.image
    except (ImportError, OSError, ValueError):  # no Pillow; a file that is gone or damaged
        return None
    image.thumbnail((longest_side, longest_side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode("ascii")
