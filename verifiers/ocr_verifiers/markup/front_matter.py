"""YAML front matter: what a page says about itself between two `---` lines before its text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import yaml

from ocr_verifiers.text.quoting import shown

Scalar = str | int | bool | None

LONGEST = 2000
"""Characters between the two lines: olmOCR's five fields take about 120, and what is removed is not compared."""
ROTATIONS = (0, 90, 180, 270)
FIELDS = ("primary_language", "is_rotation_valid", "rotation_correction", "is_table", "is_diagram")
"""What olmOCR's models write, in their order; a transcription with front matter has all of them and no others."""

_BLOCK = re.compile(r"\ufeff?---[ \t]{0,8}\r?\n(.*?)^---[ \t]{0,8}(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}", re.ASCII)
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
# The C parser where PyYAML was built with it; both give the same events.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FrontMatter(NamedTuple):
    """A completion, taken apart."""

    fields: Mapping[str, Scalar] | None
    """None where there is no front matter; then `why` says why not, and `body` is the whole text."""
    body: str
    """The transcription."""
    why: str = ""


def split_front_matter(text: str) -> FrontMatter:
    """Takes the front matter off a text.

    It is a `---` line at the very top (a byte order mark may come first), at most 2,000 characters of YAML, and a
    `---` line that closes them. The YAML is a flat mapping of names in lower case (`is_table`) to single values:
    no list, no nesting, no anchor, alias or tag, no name twice. A page that opens with a rule and prose stays whole.
    Unquoted true, false, null and integers are values, in any case; anything else is text (`no` is Norwegian).
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

    0 without front matter, with a field of FIELDS missing, another one added, or a value of the wrong kind;
    else 0.5 + 0.5 * share of the `expected` fields that have their value. Nothing expected is all met.
    """
    if front.fields is None:
        return 0.0, front.why
    for name in FIELDS:
        if name not in front.fields:
            return 0.0, f"front matter: {name} is missing"
        if not _fits(name, front.fields[name]):
            return 0.0, f"front matter: {name} may not be {shown(str(front.fields[name]))}"
    for name in front.fields:
        if name not in FIELDS:
            return 0.0, f"front matter: {shown(name)} is no field of it"
    if not expected:
        return 1.0, ""
    wrong = [name for name, value in expected.items() if name not in front.fields or front.fields[name] != value]
    why = f"front matter: {', '.join(wrong)} differ from the reference" if wrong else ""
    return 1.0 - 0.5 * len(wrong) / len(expected), why


class _NotFlatError(ValueError):
    """The YAML is more, or less, than a flat mapping."""


def _flat_mapping(block: str) -> dict[str, Scalar]:
    """The mapping, read event by event: an anchor, and so an alias bomb, ends the reading where it stands."""
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
                raise _NotFlatError(f"has the name {shown(event.value)}, which is not in lower case")
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
    """An unquoted scalar by the core schema of YAML 1.2, less its floats and other bases."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    return int(text) if _INTEGER.fullmatch(text) else text


def _fits(name: str, value: Scalar) -> bool:
    if name == "primary_language":
        return value is None or isinstance(value, str)
    if name == "rotation_correction":
        return not isinstance(value, bool) and value in ROTATIONS
    return isinstance(value, bool)
