"""YAML front matter: fields about the page, between two `---` lines before its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import yaml

from ocr_verifiers.text.quoting import quoted

Scalar = str | int | bool | None

LONGEST = 2000
"""Characters between the two lines. olmOCR's five fields take about 120; removed text is not compared."""
ROTATIONS = (0, 90, 180, 270)
FIELDS = ("primary_language", "is_rotation_valid", "rotation_correction", "is_table", "is_diagram")
"""The fields that olmOCR's models write, in their order. Correct front matter has exactly these."""

_BLOCK = re.compile(r"\ufeff?---[ \t]{0,8}\r?\n(.*?)^---[ \t]{0,8}(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
# The C parser if PyYAML was built with it; both give the same events.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FrontMatter(NamedTuple):
    """A completion, split into front matter and text."""

    fields: Mapping[str, Scalar] | None
    """None without front matter; then `why` gives the reason and `body` is the whole text."""
    body: str
    """The transcription."""
    why: str = ""


def split_front_matter(text: str) -> FrontMatter:
    """Splits the front matter from a text.

    It is a `---` line at the very top (after an optional byte order mark), at most 2,000 characters of YAML, and a
    closing `---` line. The YAML is a flat mapping of lower-case names (`is_table`) to single values: no lists, no
    nesting, no anchors, aliases or tags, no duplicate names. A page that starts with a rule and prose stays whole.
    Unquoted true, false and null (in any case) and integers are values; anything else is text (`no` is Norwegian).
    """
    if not text.startswith(("---", "\ufeff---")):
        return FrontMatter(None, text, "the text does not open with a --- line")
    block = _BLOCK.match(text, 0, LONGEST + 64)
    if block is None or len(block[1]) > LONGEST:
        return FrontMatter(None, text, f"no --- line closes the front matter within {LONGEST} characters")
    try:
        fields = _flat_mapping(block[1])
    except (yaml.YAMLError, UnicodeError) as error:
        trouble = getattr(error, "problem", None) or str(error)
        return FrontMatter(None, text, f"the front matter is not YAML: {trouble}")
    except _NotFlatError as error:
        return FrontMatter(None, text, f"the front matter {error}")
    return FrontMatter(fields, text[block.end() :])


def front_matter_score(front: FrontMatter, expected: Mapping[str, Scalar] | None = None) -> tuple[float, str]:
    """A score in [0, 1] and, below 1, the reason.

    0 without front matter, or if a field of FIELDS is missing, another one is added or a value has the wrong type;
    otherwise 0.5 + 0.5 * share of the `expected` fields with the expected value, or 1 if nothing is expected.
    """
    if front.fields is None:
        return 0.0, front.why
    for name in FIELDS:
        if name not in front.fields:
            return 0.0, f"front matter: {name} is missing"
        if not _fits(name, front.fields[name]):
            return 0.0, f"front matter: {name} may not be {quoted(str(front.fields[name]))}"
    for name in front.fields:
        if name not in FIELDS:
            return 0.0, f"front matter: {quoted(name)} is not one of its fields"
    if not expected:
        return 1.0, ""
    wrong = [name for name, value in expected.items() if name not in front.fields or front.fields[name] != value]
    why = f"front matter: {', '.join(wrong)} differ from the reference" if wrong else ""
    return 1.0 - 0.5 * len(wrong) / len(expected), why


class _NotFlatError(ValueError):
    """The YAML is not a flat mapping."""


def _flat_mapping(block: str) -> dict[str, Scalar]:
    """The mapping, read event by event: reading stops at the first anchor, and so before an alias bomb."""
    fields: dict[str, Scalar] = {}
    name: str | None = None
    inside = False
    for event in yaml.parse(block, Loader=_LOADER):
        if isinstance(event, yaml.MappingStartEvent) and not inside and not event.anchor and not event.tag:
            inside = True
        elif isinstance(event, yaml.ScalarEvent) and inside and not event.anchor and not event.tag:
            if name is not None:
                fields[name] = _value(event.value) if not event.style else event.value
                name = None
            elif not _NAME.fullmatch(event.value):
                raise _NotFlatError(f"has the name {quoted(event.value)}, which is not in lower case")
            elif event.value in fields:
                raise _NotFlatError(f"has {event.value} twice")
            else:
                name = event.value
        elif isinstance(event, yaml.NodeEvent):
            raise _NotFlatError("is not a flat mapping of names to values")
        elif isinstance(event, yaml.DocumentStartEvent) and inside:
            raise _NotFlatError("is more than one document")
    if not fields:
        raise _NotFlatError("is empty")
    return fields


def _value(text: str) -> Scalar:
    """An unquoted scalar by the core schema of YAML 1.2, without floats and other number bases."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return int(text) if _INTEGER.fullmatch(text) else text


def _fits(name: str, value: Scalar) -> bool:
    if name == "primary_language":
        return value is None or isinstance(value, str)
    if name == "rotation_correction":
        return not isinstance(value, bool) and value in ROTATIONS
    return isinstance(value, bool)
