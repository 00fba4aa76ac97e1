"""Fields of a form or an invoice: each key with its value."""

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
    """Which expected fields the page has."""

    right: tuple[str, ...]
    wrong: Mapping[str, str | None]
    """The other keys, with what the page says instead; None where the key is not on the page."""

    @property
    def accuracy(self) -> float:
        """right / (right + wrong); 1 where nothing is expected."""
        total = len(self.right) + len(self.wrong)
        return len(self.right) / total if total else 1.0


def key_values(expected: Mapping[str, str], completion: str) -> KeyValueScore:
    """Compares the expected fields with those that the completion writes (`written_fields`).

    Keys are equal in any case, with or without a colon; values are equal after the `strict` normalisation.
    """
    written = written_fields(completion)
    right, wrong = [], {}
    for key, value in expected.items():
        said = written.get(_key(key))
        if said is not None and said == strict(value):
            right.append(key)
        else:
            wrong[key] = said
    return KeyValueScore(tuple(right), wrong)


def written_fields(text: str) -> dict[str, str]:
    """The fields of a text by key, in lower case; where a key comes twice, its first value counts.

    A field is a member of a JSON object, where the whole text is one (fenced or not; nested ones are looked into),
    a line `Key: value`, or two neighbouring cells in a row of a markdown or HTML table.
    """
    members = _json_members(text)
    fields: dict[str, str] = {}
    for key, value in members if members is not None else _in_text(text):
        key, value = _key(key), strict(value)
        if key and value:
            fields.setdefault(key, value)
    return fields


def _in_text(text: str) -> Iterator[tuple[str, str]]:
    """The fields of lines and tables, in the order in which they stand on the page."""
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
    """Every member of the JSON object that the text is; None if it is none."""
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
    """A JSON object as it is written: a key may come twice."""


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
