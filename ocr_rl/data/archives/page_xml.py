"""PAGE-XML, as of 2013-07-15 to 2019-07-15: pages in, pages out.

http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15. Only text regions are read, those within tables
included; pictures and separators are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from statistics import fmean
from typing import Any

from ocr_rl.data.archives.identifiers import Identifiers, xml_text
from ocr_rl.data.archives.layout import (
    Layout,
    Line,
    Points,
    Region,
    Word,
    box_points,
    in_order,
    known_id,
    known_word,
    one_line,
    outline,
    parse_points,
    some_lines,
)
from ocr_rl.data.archives.words import confidences_of, placed_words
from ocr_rl.data.archives.xml import ArchiveError, below, check_lines, children, first, name_of

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
REGION_TYPES = frozenset(
    "paragraph heading caption header footer page-number drop-capital credit floating signature-mark catch-word "
    "marginalia footnote footnote-continued endnote TOC-entry list-label other".split()
)
"""What TextRegion/@type may be; any other kind is in @custom, as Transkribus and eScriptorium write it."""


def read_page_xml(root: Any) -> list[Layout]:
    """The one page of the file. Raises ArchiveError if it has none, or no size."""
    page = first(root, "Page")
    if page is None:
        raise ArchiveError("has no Page", root.sourceline)
    check_lines(len(below(page, "TextLine")))
    sides = [page.get(name, "") for name in ("imageWidth", "imageHeight")]
    if not all(re.fullmatch(r"0*[1-9]\d{0,5}", side) for side in sides):
        raise ArchiveError('Page has no size; write imageWidth="..." and imageHeight="..." in pixels', page.sourceline)
    size = int(sides[0]), int(sides[1])
    elements = below(page, "TextRegion")
    places = _reading_order(page) or _custom_order(elements)

    def place(element: Any) -> int | None:
        while element is not page:
            if element.get("id") in places:
                return places[element.get("id")]
            element = element.getparent()
        return None

    regions = tuple(_region(element, f"r{number}", size) for number, element in enumerate(elements, 1))
    order = in_order(range(len(elements)), lambda index: place(elements[index]))
    return [Layout(page.get("imageFilename", ""), size, tuple(regions[index] for index in order))]


def _reading_order(page: Any) -> dict[str, int]:
    """The position of each region that ReadingOrder names, groups within groups included."""
    order = next(children(page, "ReadingOrder"), None)
    names = [] if order is None else list(_references(order))
    return {name: position for position, name in reversed(list(enumerate(names)))}


def _references(group: Any) -> Iterator[str]:
    """The regions of a group: by index where its members have one, else as they stand."""
    members = [child for child in group if re.match(r"RegionRef|OrderedGroup|UnorderedGroup", name_of(child))]
    for member in in_order(members, lambda member: _whole(member.get("index"))):
        if name := member.get("regionRef"):
            yield name
        yield from _references(member)


def _custom_order(elements: list[Any]) -> dict[str, int]:
    """The positions in the attribute `index` or in Transkribus' `custom`, if every element has one."""
    places = {}
    for element in elements:
        custom = re.search(r"readingOrder\s*\{[^}]*index\s*:\s*(\d+)", element.get("custom", ""))
        place = _whole(element.get("index") or (custom[1] if custom else None))
        if place is None or element.get("id") is None:
            return {}
        places[element.get("id")] = place
    return places


def _whole(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"-?\d{1,9}", text) else None


def _region(element: Any, name: str, size: tuple[int, int]) -> Region:
    name = known_id(element.get("id"), name)
    custom = re.search(r"structure\s*\{[^}]*type\s*:\s*([^;}]+)", element.get("custom", ""))
    kind = custom[1].strip() if custom else element.get("type", "")
    polygon, problem = outline(lambda: _points(element, "Coords"), size)
    found = list(children(element, "TextLine"))
    places = _custom_order(found)
    numbered = in_order(list(enumerate(found, 1)), lambda one: places.get(one[1].get("id")))
    lines = tuple(_line(line, f"{name}l{number}", size) for number, line in numbered)
    nested = any(below(child, "TextRegion") for child in element)
    own_text = "" if any(line.text for line in lines) or nested else some_lines(_text(element))
    return Region(name, kind, polygon, lines, own_text, problem)


def _line(element: Any, name: str, size: tuple[int, int]) -> Line:
    problem = ""
    try:
        baseline = _points(element, "Baseline") or ()
    except ValueError as error:
        baseline, problem = (), f'baseline {error}; write "x,y x,y"'
    polygon: Points = ()
    if not baseline or _coords(element) != baseline:
        polygon, polygon_problem = outline(lambda: _points(element, "Coords"), size)
        problem = polygon_problem or problem
    words = tuple(filter(None, (_word(word, size) for word in children(element, "Word"))))
    return Line(known_id(element.get("id"), name), one_line(_text(element)), polygon, baseline, problem, words=words)


def _word(element: Any, size: tuple[int, int]) -> Word | None:
    polygon, _ = outline(lambda: _points(element, "Coords"), size)
    text = one_line(_text(element))
    return known_word(text, polygon, element.get("id", ""))


def _coords(element: Any) -> Points | None:
    try:
        return _points(element, "Coords")
    except ValueError:
        return None


def _points(element: Any, name: str) -> Points | None:
    """The points of Coords or Baseline; None if the element has none. Raises ValueError."""
    holder = next(children(element, name), None)
    return None if holder is None else parse_points(holder.get("points", ""))


def _text(element: Any) -> str:
    """The TextEquiv with the lowest index, its Unicode before its PlainText; without one, the words or glyphs."""
    equivalents = in_order(list(children(element, "TextEquiv")), lambda one: _whole(one.get("index")) or 0)
    for name in ("Unicode", "PlainText"):
        for holder in children(equivalents[0], name) if equivalents else ():
            if text := (holder.text or "").strip(" \t\r\n"):
                return str(text)
    words = [_text(word).strip() for word in children(element, "Word")]
    return " ".join(filter(None, words)) or "".join(_text(glyph) for glyph in children(element, "Glyph"))


def write_page_xml(page: Layout, creator: str = "ocr-rl") -> bytes:
    """A page as PAGE-XML 2019-07-15. Its schema wants an outline everywhere: without one, a line gets its baseline,
    or like a region what surrounds it; and the words of a line are written where all of them have one."""
    from lxml import etree

    def add(parent: Any, name: str, text: str | None = None, **attributes: str) -> Any:
        child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
        child.text = text
        return child

    def add_text(parent: Any, text: str, confidence: float | None = None) -> None:
        if text:
            sure = {} if confidence is None else {"conf": f"{confidence:.3f}"}
            add(add(parent, "TextEquiv", **sure), "Unicode", xml_text(text))

    def add_words(parent: Any, line: Line) -> None:
        texts = [text for text in xml_text(line.text).split(" ") if text.strip()]
        words = placed_words(texts, line.words) if line.words else []
        if not all(word.polygon for word in words):
            return
        for number, (word, sure) in enumerate(zip(words, confidences_of(texts, line.confidences), strict=False), 1):
            element = add(parent, "Word", id=ids.new(word.id or f"{line.id}w{number}"))
            add(element, "Coords", points=_written(word.polygon))
            add_text(element, word.text, sure)

    width, height = page.size
    ids = Identifiers(name for region in page.regions for name in (region.id, *(line.id for line in region.lines)))
    root = etree.Element(f"{{{NAMESPACE}}}PcGts", nsmap={None: NAMESPACE})
    metadata = add(root, "Metadata")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    for name, value in (("Creator", creator), ("Created", now), ("LastChange", now)):
        add(metadata, name, value)
    sides = {"imageWidth": str(width), "imageHeight": str(height)}
    body = add(root, "Page", imageFilename=xml_text(page.image), **sides)
    if page.regions:
        group = add(add(body, "ReadingOrder"), "OrderedGroup", id=ids.new("ro"))
        for index, region in enumerate(page.regions):
            add(group, "RegionRefIndexed", index=str(index), regionRef=ids[region.id])
    for region in page.regions:
        kind = {"type": region.kind} if region.kind in REGION_TYPES else {}
        if region.kind and not kind:
            kind = {"type": "other", "custom": f"structure {{type:{re.sub(r'[;{}]', '', xml_text(region.kind))};}}"}
        box = add(body, "TextRegion", id=ids[region.id], **kind)
        place = region.polygon or box_points(0, 0, width, height)
        add(box, "Coords", points=_written(place))
        for line in region.lines:
            element = add(box, "TextLine", id=ids[line.id])
            add(element, "Coords", points=_written(line.polygon or line.baseline or place))
            if line.baseline:
                add(element, "Baseline", points=_written(line.baseline))
            add_words(element, line)
            add_text(element, line.text, line.confidence)
        sure = region.confidences if region.text == region.own_text else ()
        add_text(box, region.text, fmean(sure) if sure else None)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _written(points: Points) -> str:
    return " ".join(f"{max(0, x)},{max(0, y)}" for x, y in points)
