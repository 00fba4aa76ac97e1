"""Evaluations and comparisons as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ocr_rl.comparison.outcome import ranked
from ocr_verifiers.text.diff import visible

SHOWN = ("cer", "cer_capped", "wer", "exact", "similarity", "pass_rate", "truncated")
CONFUSIONS = 8
"""Confusions of characters that an evaluation names."""
CHANGES = 5
"""Pages that a comparison names."""


def evaluation_text(evaluated: Mapping[str, Any], name: str) -> str:
    """What `ocr-rl eval` prints of the evaluation of `name`: totals, tables, and differences to another."""
    columns = {name: evaluated}
    if sampled := evaluated.get("sampled"):
        columns |= {f"{which} of {sampled['samples']}": sampled[which] for which in ("mean", "best")}
    if "consensus" in evaluated:
        columns["consensus"] = evaluated["consensus"]
    parts = [evaluation_table(columns), breakdown(evaluated)]
    parts.append(malformed_text(evaluated))
    parts += [errors_text(evaluated.get("errors")), confidence_text(evaluated.get("confidence"))]
    if "against" in evaluated:
        parts.append(comparison_table(evaluated["against"]))
    return "\n\n".join(part for part in parts if part)


def evaluation_table(columns: Mapping[str, Mapping[str, Any]]) -> str:
    """Evaluations side by side, e.g. {"before": ..., "after": ...}, with their intervals.

    If there is more than one kind of test, each has a row with its pass rate.
    """
    width = max(24, *(len(title) + 2 for title in columns))
    kinds = sorted({kind for summary in columns.values() for kind in summary.get("by_kind", {})})
    lines = [f"{'':14}" + "".join(f"{title:>{width}}" for title in columns)]
    for name in SHOWN:
        lines.append(f"{name:14}" + "".join(f"{_cell(summary, name):>{width}}" for summary in columns.values()))
        if name == "pass_rate" and len(kinds) > 1:
            for kind in kinds:
                own = [summary.get("by_kind", {}).get(kind, {}) for summary in columns.values()]
                lines.append(f"  {kind:12}" + "".join(f"{_cell(one, name):>{width}}" for one in own))
    sizes = ", ".join(f"{title}: {s['n']} pages of {s['documents']} documents" for title, s in columns.items())
    return "\n".join([*lines, f"95 % intervals; {sizes}"])


def breakdown(evaluation: Mapping[str, Any]) -> str:
    """The tables by source and by language, each if there is more than one; "" without."""
    parts = []
    for key in ("source", "language"):
        groups = evaluation[f"by_{key}"]
        if len(groups) < 2:
            continue
        width = max(14, *(len(name) + 2 for name in groups))
        names = ("cer", "wer", "exact", "pass_rate")
        lines = [f"{'by ' + key:{width}}{'pages':>6}{'documents':>11}" + "".join(f"{name:>23}" for name in names)]
        for group, summary in groups.items():
            cells = "".join(f"{_cell(summary, name):>23}" for name in names)
            lines.append(f"{group:{width}}{summary['n']:>6}{summary['documents']:>11}{cells}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def errors_text(errors: Mapping[str, Any] | None) -> str:
    """Errors by class of character, and the most frequent ones; "" without errors."""
    if not errors or not errors["character_confusions"]:
        return ""
    classes = sorted(errors["classes"].items(), key=lambda item: -item[1]["errors"])
    found = [f"{name} {own['errors']:,} of {own['reference']:,}" for name, own in classes if own["errors"]]
    shown = [
        f"{quoted(one['reference'])} as {quoted(one['completion'])} {one['count']:,}"
        for one in errors["character_confusions"][:CONFUSIONS]
    ]
    return f"errors: {', '.join(found)}\nmost often: {', '.join(shown)}"


def quoted(characters: str) -> str:
    """Characters that were read, or are missing or added where there is none."""
    return visible(characters.replace(" ", "␣")) if characters else "∅"


def confidence_text(confidence: Mapping[str, Any] | None) -> str:
    """How true confidences are, and how many errors are found by looking at the least sure units; "" without."""
    if not confidence:
        return ""
    shares = [share for share, _ in confidence["word"]["found"]]
    kind = "calibrated" if confidence["calibrated"] else "share of samples"
    lines = [f"{'confidence':14}{'units':>8}{'wrong':>8}{'ECE':>8}  errors in the least sure"]
    lines[0] += "".join(f"{share:>6.0%}" for share in shares) + f"   ({kind})"
    for level in ("character", "word", "line"):
        own = confidence[level]
        found = "".join(f"{part:>6.0%}" for _, part in own["found"])
        lines.append(f"{level:14}{own['units']:>8,}{own['wrong']:>8,}{own['ece']:>8.3f}{'':26}{found}")
    return "\n".join(lines)


def malformed_text(evaluated: Mapping[str, Any]) -> str:
    """How many pages are not in the model's output format, with an example; "" if all are."""
    first = next((row for row in evaluated["pages"] if "malformed" in row), None)
    if first is None:
        return ""
    return (
        f"{evaluated['malformed']} of {evaluated['n']} pages are not in the model's output format and are scored as "
        f"they stand, such as {first['id']}: {first['malformed']}"
    )


def comparison_table(comparison: Mapping[str, Any]) -> str:
    """Differences with their intervals and p-values, and the pages that changed most."""
    return "\n".join(_comparison_lines(comparison))


def _comparison_lines(comparison: Mapping[str, Any]) -> Iterator[str]:
    yield f"against {comparison['name']}, on {comparison['n']} shared pages of {comparison['documents']} documents"
    if comparison["left_out"]:
        yield f"left out, as {comparison['name']} lacks them: {comparison['left_out']}"
    yield f"{'':14}{'other':>8}{'this':>8}{'difference':>28}{'p':>10}"
    metrics, kinds = comparison["metrics"], comparison["by_kind"]
    rows = [(name, metrics[name]) for name in SHOWN]
    if len(kinds) > 1:
        place = SHOWN.index("pass_rate") + 1
        rows[place:place] = [(f"  {kind}", found) for kind, found in kinds.items()]
    for name, found in rows:
        if found is None:
            yield f"{name:14}{'-':>8}{'-':>8}{'-':>28}{'-':>10}"
            continue
        low, high = found["difference_ci"]
        difference = f"{found['difference']:+.3f} [{low:+.3f}, {high:+.3f}]"
        yield f"{name:14}{found['other']:>8.3f}{found['this']:>8.3f}{difference:>28}{found['p']:>10.4f}"
    if comparison["pages"]:
        yield "changed most, by reward"
    for row in comparison["pages"][:CHANGES]:
        rates = f"   cer {row['cer_other']:.3f} -> {row['cer']:.3f}" if "cer" in row else ""
        yield f"  {row['reward_other']:.3f} -> {row['reward']:.3f}{rates}   {row['id']}"


def _cell(summary: Mapping[str, Any], name: str) -> str:
    value = summary.get(name)
    if value is None:
        return "-"
    low, high = summary[f"{name}_ci"]
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def recipes_table(compared: Mapping[str, Any]) -> str:
    """The recipes of a comparison with their rates, best first."""
    rows = compared["recipes"]
    ended = [(label, rows[label]) for label in ranked(compared) if rows[label]["final"] is not None]
    lines = [f"{'':14}{'rate':>8}" + "".join(f"{name:>24}" for name in ("cer", "pass_rate", "exact"))]
    for label, row in [("start", {"rate": None, "final": compared["start"]}), *ended]:
        rate = "" if row["rate"] is None else f"{row['rate']:g}"
        lines.append(
            f"{label:14}{rate:>8}" + "".join(f"{_cell(row['final'], n):>24}" for n in ("cer", "pass_rate", "exact"))
        )
    return "\n".join(lines)
