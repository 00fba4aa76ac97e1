"""The pages of an OmniDocBench file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Version = Literal["v1.5", "v1.6"]
"""Of the benchmark."""
TEXTS = (
    "text_block title code_txt code_txt_caption reference equation_caption figure_caption figure_footnote "
    "table_caption table_footnote code_algorithm code_algorithm_caption header footer page_footnote page_number"
).split()
"""Kinds of blocks with text, in the order of the benchmark."""
IGNORED = frozenset(
    "figure_caption figure_footnote table_caption table_footnote code_algorithm code_algorithm_caption header footer "
    "page_footnote page_number equation_caption".split()
)
"""Those that are matched and do not count: systems may leave them out."""


def kind_of(kinds: Sequence[str]) -> str:
    """The kind of blocks that are joined: the most frequent one that counts; empty for none."""
    counted = Counter([kind for kind in kinds if kind not in IGNORED] or kinds)
    return counted.most_common(1)[0][0] if counted else ""


_TEXT = (str, type(None))


class Expected(NamedTuple):
    """A block of the reference."""

    kind: str
    text: str
    """Of a table its HTML, of a formula its LaTeX."""
    order: float
    """Its place in reading order; 0 if it has none."""


@dataclass(frozen=True)
class ReferencePage:
    """A page of the benchmark."""

    image: str
    """The name of its file."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """`language` and others."""
    texts: Sequence[Expected] = ()
    formulas: Sequence[Expected] = ()
    tables: Sequence[Expected] = ()


def reference_page(record: Mapping[str, Any], version: Version = "v1.5") -> ReferencePage:
    """A page from its record. Raises ValueError, naming the field, if it is not one."""
    info = _mapping(record, "page_info")
    image = info.get("image_path")
    if image is None:
        raise ValueError('"page_info" has no "image_path"')
    name = image.replace("\\", "/").rsplit("/", 1)[-1] if isinstance(image, str) else ""
    if not name:
        raise ValueError(f'"image_path" is {image!r}; write the file of the image')
    items = record.get("layout_dets")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ValueError('"layout_dets" is not a list of objects')
    relations = _mapping(record, "extra").get("relation") or []
    if not isinstance(relations, list) or not all(isinstance(relation, dict) for relation in relations):
        raise ValueError('"relation" in "extra" is not a list of objects')
    for number, item in enumerate(items, 1):
        _check(item, f'"layout_dets" {number}')
    for number, relation in enumerate(relations, 1):
        _check(relation, f'"relation" {number}')
    typed = [item for item in items if "category_type" in item]
    joined = _joined(typed, relations) if version == "v1.5" else _joined_once(typed, relations)
    return ReferencePage(
        name,
        _mapping(info, "page_attribute"),
        _sorted(joined, TEXTS, "text"),
        _sorted(joined, ["equation_isolated"], "latex"),
        _sorted(joined, ["table"], "html"),
    )


def _mapping(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = record.get(name) or {}
    if not isinstance(value, dict):
        raise ValueError(f'"{name}" is not an object')
    return value


def _check(item: Mapping[str, Any], name: str) -> None:
    """Raises ValueError for an id that cannot be one, a text that is not one, or a place or a kind that is not one."""
    for key in ("anno_id", "source_anno_id", "target_anno_id"):
        if not isinstance(item.get(key), Hashable):
            raise ValueError(f'{name}: "{key}" is {item[key]!r}, and not a number or a name')
    for key in ("text", "latex", "html", "content"):
        if not isinstance(item.get(key), _TEXT):
            raise ValueError(f'{name}: "{key}" is {item[key]!r:.60}; write a string')
    order, kind = item.get("order"), item.get("category_type", "")
    if order is not None and (isinstance(order, bool) or not isinstance(order, int | float) or order != order):
        raise ValueError(f'{name}: "order" is {order!r}; write its place in reading order, a number, or null')
    if not isinstance(kind, str):
        raise ValueError(f'{name}: "category_type" is {kind!r}, and not a name such as "text_block"')


def _sorted(items: Sequence[Mapping[str, Any]], kinds: Sequence[str], key: str) -> list[Expected]:
    """The blocks of some kinds in reading order; those without a place come first, in the order of the kinds."""
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    found = [
        Expected(item["category_type"], str(item.get("content") or item.get(key) or ""), item.get("order") or 0)
        for item in items
        if item["category_type"] in ranks
    ]
    return sorted(found, key=lambda block: (block.order, ranks[block.kind]))


def _joined(items: Sequence[Mapping[str, Any]], relations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The items, with those that a column or page break cuts in one; they come after the others.

    As in the benchmark, the middle one of three has its text twice.
    """
    groups: list[list[Any]] = []
    for relation in relations:
        if relation.get("relation_type") == "truncated":
            ends = [relation.get("source_anno_id"), relation.get("target_anno_id")]
            known = [group for group in groups if ends[0] in group or ends[1] in group]
            for group in known:
                group += ends
            if not known:
                groups.append(ends)
    cut = {end for group in groups for end in group}
    by_id = {item.get("anno_id"): item for item in items}
    whole = [item for item in items if item.get("anno_id") not in cut]
    for group in groups:
        parts = sorted((by_id[end] for end in group if end in by_id), key=lambda item: item.get("order") or 0)
        if parts:
            whole.append({**parts[0], "text": "".join(str(part.get("text") or "") for part in parts)})
    return whole


def _joined_once(items: Sequence[Mapping[str, Any]], relations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """As in version 1.6: each part once, and without the items that are to be ignored."""
    groups: list[set[Any]] = []
    for relation in relations:
        if relation.get("relation_type") == "truncated":
            ends = {relation.get("source_anno_id"), relation.get("target_anno_id")}
            known = [group for group in groups if group & ends]
            groups = [group for group in groups if not group & ends] + [ends.union(*known)]
    cut = set().union(*groups)
    by_id = {item.get("anno_id"): item for item in items}
    whole = [item for item in items if item.get("anno_id") not in cut and not item.get("ignore")]
    for group in groups:
        parts = sorted((by_id[end] for end in group if end in by_id), key=lambda item: item.get("order") or 0)
        if parts and not any(part.get("ignore") for part in parts):
            whole.append({**parts[0], "text": "".join(str(part.get("text") or "") for part in parts)})
    return whole
