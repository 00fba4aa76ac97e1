"""The fields of a form or an invoice: keys with values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

from ocr_verifiers.text.normalize import markdown, references, strict

_HTML_ROW = re.compile(r"<tr\b[^<>]*>((?:[^<]|<(?!/?tr\b))*)", re.IGNORECASE)
_HTML_CELL = re.compile(r"<t[dh]\b[^<>]*>((?:[^<]|<(?!/?t[dhr]\b))*)", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_FENCE = re.compile(r"\A\s*```\w*[ \t]*\n(.*)\n```\s*\Z", re.DOTALL)
_DEEPEST = 20


@dataclass(frozen=True)
class KeyValueScore:
    """Which of the expected fields the page has."""

    right: tuple[str, ...]
    wrong: Mapping[str, str | None]
    """The other keys, each with the value on the page; None if the key is not on the page."""

    @property
    def accuracy(self) -> float:
        """right / (right + wrong); 1 if nothing is expected."""
        total = len(self.right) + len(self.wrong)
        return len(self.right) / total if total else 1.0


def key_values(expected: Mapping[str, str], completion: str) -> KeyValueScore:
    """Compares the expected fields with those of the completion (`written_fields`).

    Keys are compared ignoring case and a colon at the end; values are compared after the `strict` normalisation.
    """
    written = written_fields(completion)
    right, wrong = [], {}
    for key, value in expected.items():
        found = written.get(_key(key))
        if found is not None and found == strict(value):
            right.append(key)
        else:
            wrong[key] = found
    return KeyValueScore(tuple(right), wrong)


def written_fields(text: str) -> dict[str, str]:
    """The fields of a text by lower-case key. If a key occurs twice, its first value counts.

    If the whole text is a JSON object (fenced or not), its members are the fields, including those of nested objects.
    Otherwise a field is a line `Key: value` or two neighbouring cells in a row of a markdown or HTML table.
    """
    members = _json_members(text)
    fields: dict[str, str] = {}
    for key, value in members if members is not None else _in_text(text):
        key, value = _key(key), strict(value)
        if key and value:
            fields.setdefault(key, value)
    return fields


def _in_text(text: str) -> Iterator[tuple[str, str]]:
    """The fields of lines and tables, in page order."""
    found: list[tuple[int, str, str]] = []
    start = 0
    for line in text.split("\n"):
        key, colon, value = markdown(line).partition(":")
        if "|" in line:
            found += _neighbours(start, line.strip().strip("|").split("|"))
        elif colon and "<" not in key:
            found.append((start, key.strip().lstrip("-*+• "), value))
        start += len(line) + 1
    for row in _HTML_ROW.finditer(text):
        found += _neighbours(row.start(), [references(_TAG.sub(" ", cell)) for cell in _HTML_CELL.findall(row[1])])
    for _, key, value in sorted(found, key=lambda field: field[0]):
        yield key, _TAG.sub(" ", value)


def _neighbours(start: int, cells: list[str]) -> list[tuple[int, str, str]]:
    return [(start, key, value) for key, value in pairwise(cells)]


def _json_members(text: str) -> list[tuple[str, str]] | None:
    """All members of the text as a JSON object; None if it is not a JSON object."""
    fenced = _FENCE.match(text)
    written = fenced[1] if fenced else text
    if not written.lstrip().startswith("{"):
        return None
    try:
        members = json.loads(written, object_pairs_hook=_Members, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return list(_flattened(members, 0))


class _Members(list[tuple[str, object]]):
    """A JSON object as written: a key may occur twice."""


def _flattened(value: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        return
    if isinstance(value, _Members):
        for key, member in value:
            if isinstance(member, list):
                yield from _flattened(member, depth + 1)
            elif member is not None:
                yield key, member if isinstance(member, str) else json.dumps(member)
    elif isinstance(value, list):
        for member in value:
            yield from _flattened(member, depth + 1)


def _key(text: str) -> str:
    return strict(text).rstrip(": ").lower()
