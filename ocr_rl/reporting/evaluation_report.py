"""The HTML report of an evaluation: totals, tables, the worst pages, and the differences to another one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ocr_rl.metric_names import LOWER_IS_BETTER, RATES
from ocr_rl.reporting.charts.reliability import reliability_diagram
from ocr_rl.reporting.html import (
    LEGEND,
    diff,
    document,
    listing,
    measures,
    name_cell,
    quality,
    rate,
    rate_rows,
    section,
    sheet,
    table,
    text,
    why_malformed,
)
from ocr_rl.reporting.text_tables import quoted
from ocr_rl.types import Page

CONFUSIONS = 15
"""Of characters and of words."""
WORST, CHANGED = 12, 12
"""Pages that are shown."""


def evaluation_report(evaluated: Mapping[str, Any], name: str, pages: Sequence[Page]) -> str:
    """The whole file, from what `ocr-rl eval --json` writes and the pages that were evaluated."""
    by_id = {page.id: page for page in pages}
    rows = {row["id"]: row for row in evaluated["pages"]}
    settings = {key: value for key, value in evaluated["settings"].items() if value not in (None, {}, [])}
    return document(
        name,
        f"{evaluated['n']:,} pages of {evaluated['documents']:,} documents",
        [
            _totals(evaluated, name),
            *_breakdowns(evaluated),
            *(_comparison(evaluated["against"], rows, by_id) if "against" in evaluated else ()),
            error_section(evaluated.get("errors")),
            _confidence(evaluated.get("confidence")),
            _worst(evaluated, by_id),
            section("Settings", listing(settings)),
        ],
    )


def _totals(evaluated: Mapping[str, Any], name: str) -> str:
    columns = {name: evaluated}
    if sampled := evaluated.get("sampled"):
        columns |= {f"{which} of {sampled['samples']} samples": sampled[which] for which in ("mean", "best")}
    if "consensus" in evaluated:
        columns["consensus"] = evaluated["consensus"]
    note = "Small numbers: 95 % bootstrap intervals over documents."
    return section("Results", table("summary", ["", *columns], rate_rows(list(columns.values()))), note=note)


def _breakdowns(evaluated: Mapping[str, Any]) -> Iterator[str]:
    kinds = [
        [name_cell(kind), f"{own['passed']:,} of {own['tests']:,}", rate(own, "pass_rate")]
        for kind, own in evaluated["by_kind"].items()
    ]
    if kinds:
        yield section("By kind of test", table("by_kind", ["kind", "passed", "pass_rate"], kinds))
    shown = ("cer", "wer", "exact", "pass_rate")
    for key in ("source", "language"):
        groups = evaluated[f"by_{key}"]
        if len(groups) < 2:
            continue
        rows = [
            [name_cell(group), f"{own['n']:,}", f"{own['documents']:,}", *(rate(own, rate_name) for rate_name in shown)]
            for group, own in groups.items()
        ]
        yield section(f"By {key}", table(f"by_{key}", [key, "pages", "documents", *shown], rows))


def error_section(errors: Mapping[str, Any] | None) -> str:
    """Errors by class of character, and what is read as what, most often first; "" without errors."""
    if not errors or not errors["character_confusions"]:
        return ""
    classes = [
        [text(name), f"{own['errors']:,}", f"{own['reference']:,}", f"{own['errors'] / max(1, own['reference']):.3f}"]
        for name, own in sorted(errors["classes"].items(), key=lambda item: -item[1]["errors"])
    ]
    tables = [table("error_classes", ["characters", "errors", "in the texts", "rate"], classes)]
    for kind in ("character", "word"):
        rows = [
            [text(quoted(one["reference"])), text(quoted(one["completion"])), f"{one['count']:,}"]
            for one in errors[f"{kind}_confusions"][:CONFUSIONS]
        ]
        tables.append(table(f"{kind}_confusions", [kind, "read as", "times"], rows))
    note = "∅: nothing. ␣: a space. An error is an edit of the alignment with the fewest."
    return section("Errors", f'<div class="curves">{"".join(tables)}</div>', note=text(note))


def _confidence(confidence: Mapping[str, Any] | None) -> str:
    """Reliability diagrams, and errors by confidence."""
    if not confidence:
        return ""
    figures = ""
    for level in ("character", "word", "line"):
        own = confidence[level]
        caption = f"<figcaption><b>{level}s</b><span>ECE {own['ece']:.3f}</span></figcaption>"
        figures += f"<figure>{caption}{reliability_diagram(level, own['bins'])}</figure>\n"
    bins = [
        [f"{one['from']:.1f} to {one['to']:.1f}", f"{one['units']:,}", f"{one['wrong']:,}", f"{one['right']:.3f}"]
        for one in confidence["word"]["bins"]
    ]
    found = [[f"{share:.0%}", f"{part:.0%}"] for share, part in confidence["word"]["found"]]
    rows = table("errors_by_confidence", ["confidence of words", "words", "wrong", "right"], bins)
    rows += table("errors_found", ["least sure words", "of all errors"], found)
    kind = "Calibrated confidences" if confidence["calibrated"] else "Shares of samples that agree, not calibrated"
    note = text(f"{kind}. On the diagonal, what is 0.8 sure is right in 80 % of cases; larger dots stand for more.")
    return section("Confidence", f'<div class="curves">{figures}</div>', rows, note=note)


def _comparison(
    against: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]], pages: Mapping[str, Page]
) -> Iterator[str]:
    """Paired differences, and the pages whose reward changed most."""
    body = []
    for name in RATES:
        if (found := against["metrics"].get(name)) is not None:
            body.append([name_cell(name), *_difference(name, found)])
        if name == "pass_rate":
            for kind, own in against["by_kind"].items():
                body.append([f'<span class="kind">{name_cell(kind)}</span>', *_difference(name, own)])
    left = f"; {against['left_out']:,} pages left out, as it lacks them" if against["left_out"] else ""
    note = (
        f"On {against['n']:,} shared pages of {against['documents']:,} documents{left}. Paired 95 % intervals over "
        "documents; p: permutation test, two-sided, not corrected for the number of rows."
    )
    heads = ["", "other", "this", "difference", "p"]
    yield section(f"Against {against['name']}", table("against", heads, body), note=text(note))
    changed = [_changed(row, rows[row["id"]], pages.get(row["id"])) for row in against["pages"][:CHANGED]]
    yield section("Pages that changed most", "".join(changed), note=LEGEND)


def _difference(name: str, found: Mapping[str, Any]) -> list[str]:
    change, (low, high) = found["difference"], found["difference_ci"]
    tone = "" if low <= 0 <= high else "better" if (change < 0) == (name in LOWER_IS_BETTER) else "worse"
    return [
        f"{found['other']:.3f}",
        f"{found['this']:.3f}",
        f'<b class="{tone}">{change:+.3f}</b><small>{low:+.3f} to {high:+.3f}</small>',
        f"{found['p']:.4f}",
    ]


def _changed(row: Mapping[str, Any], own: Mapping[str, Any], page: Page | None) -> str:
    def about(reward: str, cer: str) -> str:
        return f"reward {row[reward]:.3f}" + (f", CER {row[cer]:.3f}" if cer in row else "")

    outputs = [
        (f"other: {about('reward_other', 'cer_other')}", diff(own["reference"], row["text_other"])),
        (f"this: {about('reward', 'cer')}", diff(own["reference"], row["text"])),
    ]
    return sheet(row["id"], f"reward {row['reward_other']:.3f} → {row['reward']:.3f}", page, outputs)


def _worst(evaluated: Mapping[str, Any], pages: Mapping[str, Page]) -> str:
    rows = sorted(evaluated["pages"], key=lambda row: (quality(row), row["id"]))[:WORST]
    shown = []
    for row in rows:
        failed = [f"{test['type']}: {test['why']}" for test in row["tests"] if not test["passed"]]
        reasons = "".join(f'<p class="why" dir="auto">{text(why)}</p>\n' for why in failed)
        ended = "" if row["finish_reason"] == "end" else f", ended by {row['finish_reason']}"
        outputs = [(f"transcription{ended}", diff(row["reference"], row["text"]) + why_malformed(row) + reasons)]
        shown.append(sheet(row["id"], measures(row), pages.get(row["id"]), outputs))
    return section("Worst pages", "".join(shown), note=LEGEND)
