"""Formulas of several lines, cut into their lines as OmniDocBench v1.6 cuts them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ocr_verifiers.metrics.omnidocbench.v16.latex import undelimited, without_tags

_NAMES = "array aligned align align* alignedat alignedat* split gather gather* gathered multline multline* flalign "
_NAMES += "flalign* eqnarray eqnarray* cases"
ENVIRONMENT = re.compile(
    rf"\\begin\{{(?P<name>{'|'.join(map(re.escape, _NAMES.split()))})\}}\s*(?P<extra>(?:\{{[^{{}}]*\}}\s*)*)"
)
_NESTED = re.compile(
    r"\\begin\{(?:array|aligned|align\*?|alignedat\*?|split|gathered?|multline\*?|flalign\*?|eqnarray\*?|cases)\}"
)
_OPENING = re.compile(r"(?:\\left\s*\\\{|\\left\.)\s*")
_CLOSING = re.compile(r"\s*\\right(?:\.|\\\})\s*$")
_SPACING = r"(?:\\qquad|\\quad|\\,|\\;|\\!|\\>|\\:|~)"
_LAST_SPACING = re.compile(_SPACING + r"\s*$")
_LABEL = re.compile(r"\\label\s*\{[^{}]*\}")
_LAST_TAG = re.compile(r"\\tag\*?\s*\{[^{}]*\}$")
_LOGIC = re.compile(
    r"\\(?:Rightarrow|Leftrightarrow|Longrightarrow|Longleftrightarrow|longrightarrow|longleftrightarrow|implies|"
    r"therefore|because|uparrow|downarrow|Updownarrow|forall|exists)\b|单调|否定"
)
_CASE_LEAD = re.compile(
    r"(?:\(?\d+\)?|\\(?:Rightarrow|Leftrightarrow|Longrightarrow|Longleftrightarrow|implies|therefore|uparrow|"
    r"downarrow|Updownarrow|leftarrow|rightarrow))"
)
_EXPLAINED = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{")
_BEFORE_SPEC = re.compile(r"\s+|\||[@!]\{[^}]*\}")


class Line(NamedTuple):
    """A line of a formula."""

    latex: str
    start: int
    """Where it begins in the formula."""
    end: int


class _Body(NamedTuple):
    text: str
    start: int
    after: str
    """What stands after the environment, without equation numbers."""
    after_end: int | None


def formula_lines(latex: str) -> list[Line]:
    """The lines of a formula that is one environment or has line breaks of its own; empty if it is left whole."""
    if r"\\" not in latex:
        return []
    body = _environment(latex)
    if body is None:
        text = undelimited(latex)
        if len(rows(text)) < 2:
            return []
        body = _Body(text, max(0, latex.find(text)), "", None)
    written = [line for row in rows(body.text) if (line := without_tags(row).strip())]
    if len(written) < 2:
        return []
    lines, position = [], 0
    for line in written:
        found = body.text.find(line, position)
        at = position if found < 0 else found
        position = at + len(line)
        lines.append(Line(line, body.start + at, body.start + position - 1))
    after = without_tags(body.after).strip()
    if after:
        lines[-1] = lines[-1]._replace(latex=f"{lines[-1].latex} {after}")
    if body.after_end:
        lines[-1] = lines[-1]._replace(end=body.after_end - 1)
    return lines


def rows(body: str) -> list[str]:
    r"""What stands between line breaks `\\` outside braces and environments; empty ones are left out."""
    return _cut(body, r"\\", braces=True)


def _cells(row: str) -> list[str]:
    return _cut(row, "&", braces=False)


def _cut(text: str, separator: str, braces: bool) -> list[str]:
    parts: list[str] = []
    start = index = depth = environments = 0
    if separator not in text:
        index = len(text)
    while index < len(text):
        token = next((token for token in (r"\begin{", r"\end{") if text.startswith(token, index)), None)
        end = text.find("}", index + len(token)) if token else -1
        if token and end >= 0:
            environments = environments + 1 if token == r"\begin{" else max(0, environments - 1)
            index = end + 1
        elif text.startswith(separator, index) and not depth and not environments and not _escaped(text, index, braces):
            parts.append(text[start:index].strip())
            index += len(separator)
            if braces:
                index = _after_break(text, index)
            start = index
        else:
            if braces and text[index] in "{}" and not _escaped(text, index, False):
                depth = depth + 1 if text[index] == "{" else max(0, depth - 1)
            index += 1
    parts.append(text[start:].strip())
    return [part for part in parts if part] if braces else parts


def _after_break(text: str, index: int) -> int:
    r"""After the star and the distance of a line break: `\\*[2pt]`."""
    while index < len(text) and text[index].isspace():
        index += 1
    index += text.startswith("*", index)
    end = text.find("]", index + 1) if text.startswith("[", index) else -1
    return end + 1 if end >= 0 else index


def _escaped(text: str, index: int, never: bool) -> bool:
    before = text[:index]
    return not never and (len(before) - len(before.rstrip("\\"))) % 2 == 1


def _environment(latex: str) -> _Body | None:
    """The body of the environment that the formula consists of, if it is to be cut."""
    text = undelimited(latex)
    opening, core = _OPENING.match(text), text
    if opening:
        core = text[opening.end() :].lstrip()
    closing = _CLOSING.search(core)
    if closing:
        core = core[: closing.start()].rstrip()
    begin = ENVIRONMENT.match(core)
    end = begin and environment_end(core, begin["name"], begin.end())
    if begin is None or end is None:
        return None
    body, closed = core[begin.end() : end], end + len(rf"\end{{{begin['name']}}}")
    after = _without_labels(core[closed:]).strip()
    if not _is_cut(begin["name"], begin["extra"], body, bool(opening or closing)) or len(rows(after)) > 1:
        return None
    start = max(0, latex.find(body))
    after_end = None
    if after:
        tag = rf"\end{{{begin['name']}}}"
        closed = latex.find(tag, start + len(body))
        found = latex.find(after, closed + len(tag)) if closed >= 0 else -1
        after_end = found + len(after) if found >= 0 else None
    return _Body(body, start, after, after_end)


def environment_end(text: str, name: str, start: int) -> int | None:
    r"""Where the `\end` of an environment begins whose body starts at `start`; None if there is none."""
    depth = 1
    for found in re.compile(rf"\\(begin|end)\{{{re.escape(name)}\}}").finditer(text, start):
        depth += 1 if found[1] == "begin" else -1
        if depth == 0:
            return found.start()
    return None


def _is_cut(name: str, extra: str, body: str, in_braces: bool) -> bool:
    lines = rows(body)
    nested = bool(_NESTED.search(body))
    cases_follow = any(_has_case_lead(line) for line in lines[1:])
    if name == "cases":
        return _are_logical_cases(body, lines)
    if name.startswith("align"):
        if nested and cases_follow:
            return False
        explained = any(_is_explained(line) for line in lines[1:])
        own_sides = sum(len(cells) > 1 and bool(without_tags(cells[0]).strip()) for cells in map(_cells, lines))
        return not (in_braces and (nested or own_sides >= 2 or explained or cases_follow))
    if name == "array":
        given = re.findall(r"\{([^{}]*)\}", extra)
        columns = _BEFORE_SPEC.sub("", given[0]) if given else ""
        if not columns or set(columns) - set("lcr") or len(columns) > 2 or columns in ("cc",):
            return False
        return not (nested and cases_follow) and not (in_braces and set(columns) == {"l"} and len(lines) > 1)
    return True


def _are_logical_cases(body: str, lines: Sequence[str]) -> bool:
    return len(lines) > 1 and are_without_columns(lines) and has_logic(body)


def are_without_columns(lines: Sequence[str]) -> bool:
    return all(len(_cells(line)) < 2 for line in lines)


def has_logic(latex: str) -> bool:
    return bool(_LOGIC.search(latex))


def _unmarked(line: str) -> str:
    line = line.lstrip()
    while line.startswith("&"):
        line = line[1:].lstrip()
    return line


def _has_case_lead(line: str) -> bool:
    return bool(_CASE_LEAD.match(without_tags(_unmarked(line)).strip()))


def _is_explained(line: str) -> bool:
    return bool(_EXPLAINED.search(_unmarked(line)))


def _without_labels(text: str) -> str:
    text = _LABEL.sub("", text).rstrip()
    while text:
        tag = _LAST_TAG.search(text)
        if tag:
            text = _without_last_spacing(text[: tag.start()].rstrip())
            continue
        start = text.rfind({")": "(", "]": "["}.get(text[-1], "\0"))
        if start < 0 or not _is_label(text[start + 1 : -1].strip(), text[:start]):
            break
        text = _without_last_spacing(text[:start])
    return text


def _is_label(label: str, before: str) -> bool:
    apart = not before or before[-1].isspace() or re.search(_SPACING, before[-10:])
    word = re.fullmatch(r"[a-z]{1,3}", label)
    return bool(apart and not word and re.fullmatch(r"[A-Za-z0-9.\-#]+|(?:\\[A-Za-z#]+)+", label))


def _without_last_spacing(text: str) -> str:
    before = None
    while text != before:
        before, text = text, _LAST_SPACING.sub("", text.rstrip()).rstrip()
    return text
