"""ALTO 2 to 4: pages in, pages out.

https://www.loc.gov/standards/alto. Text blocks are read, those of margins and composed blocks included; pictures are
left out. A text is what is printed: a word that is divided at the end of a line stays divided, with its HYP.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

from ocr_rl.data.archives.identifiers import Identifiers, xml_text
from ocr_rl.data.archives.layout import (
    Layout,
    Line,
    Points,
    Region,
    Word,
    bounds,
    box_points,
    in_order,
    known_id,
    known_word,
    one_line,
    outline,
    parse_numbers,
    parse_points,
)
from ocr_rl.data.archives.words import confidences_of, placed_words
from ocr_rl.data.archives.xml import ArchiveError, below, check_lines, children, first, name_of

NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
UNITS = ("pixel", "mm10", "inch1200")
"""Coordinates and the page's size have the same unit, so that their ratio alone counts."""


def read_alto(root: Any) -> list[Layout]:
    """The pages of the file. Raises ArchiveError if it has none, or a page without a size that needs one."""
    pages = below(root, "Page")
    if not pages:
        raise ArchiveError("has no Page", root.sourceline)
    check_lines(len(below(root, "TextLine")))
    source = first(root, "sourceImageInformation")
    names = [] if source is None else [child.text or "" for child in children(source, "fileName")]
    unit = ((found := first(root, "MeasurementUnit")) is not None and (found.text or "").strip()) or "pixel"
    if unit not in UNITS:
        raise ArchiveError(f"MeasurementUnit is {unit}; write one of {', '.join(UNITS)}")
    tags = first(root, "Tags")
    labels = {} if tags is None else {tag.get("ID"): tag.get("LABEL", "") for tag in tags if name_of(tag)}
    order = next(children(root, "ReadingOrder"), None)
    named = [] if order is None else [one.get("REF") for one in below(order, "ElementRef")]
    places = {name: position for position, name in reversed(list(enumerate(named)))}
    return [_page(page, "".join(names[:1]).strip(), unit, labels, places) for page in pages]


def _page(page: Any, image: str, unit: str, labels: dict[str, str], places: dict[str, int]) -> Layout:
    try:
        sides = [round(one) for name in ("WIDTH", "HEIGHT") for one in parse_numbers(page.get(name, ""))]
    except ValueError as error:
        raise ArchiveError(f"WIDTH or HEIGHT of the Page {error}", page.sourceline) from None
    size = (sides[0], sides[1]) if len(sides) == 2 and min(sides) > 0 else (0, 0)
    if unit != "pixel" and not all(size):
        raise ArchiveError(f"Page has no size in {unit}; write its WIDTH and HEIGHT", page.sourceline)
    found = enumerate(below(page, "TextBlock"), 1)
    blocks = [_block(block, f"r{number}", size, labels, places) for number, block in found]

    def place(block: Region) -> int | None:
        names = (block.id, *(line.id for line in block.lines))
        return min((places[name] for name in names if name in places), default=None)

    return Layout(image, size, tuple(in_order(blocks, place)), known_id(page.get("ID"), ""))


def _block(block: Any, name: str, size: tuple[int, int], labels: dict[str, str], places: dict[str, int]) -> Region:
    name = known_id(block.get("ID"), name)
    kind = next((labels[tag] for tag in block.get("TAGREFS", "").split() if labels.get(tag)), "")
    polygon, problem = outline(lambda: _polygon(block), size)
    lines = [_line(line, f"{name}l{number}", size) for number, line in enumerate(children(block, "TextLine"), 1)]
    return Region(name, kind, polygon, tuple(in_order(lines, lambda line: places.get(line.id))), problem=problem)


def _line(line: Any, name: str, size: tuple[int, int]) -> Line:
    polygon, problem = outline(lambda: _polygon(line), size)
    try:
        baseline = _baseline(line, polygon)
    except ValueError as error:
        baseline, problem = (), problem or f'BASELINE {error}; write "x,y x,y"'
    words = tuple(filter(None, (_word(part, size) for part in children(line, "String", "HYP"))))
    return Line(known_id(line.get("ID"), name), one_line(_text(line)), polygon, baseline, problem, words=words)


def _word(part: Any, size: tuple[int, int]) -> Word | None:
    polygon, _ = outline(lambda: _polygon(part), size)
    text = part.get("CONTENT", "").strip()
    return known_word(text, polygon, part.get("ID", ""))


def _polygon(element: Any) -> Points | None:
    """Its Shape, else its box; None if it has neither. Raises ValueError."""
    for shape in children(element, "Shape"):
        for polygon in children(shape, "Polygon"):
            return parse_points(polygon.get("POINTS", ""))
    box = [element.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if None in box:
        return None
    left, top, width, height = parse_numbers(" ".join(value or "x" for value in box))
    return box_points(left, top, left + width, top + height)


def _baseline(line: Any, polygon: Points) -> Points:
    """Points as of ALTO 4.1, or one height over the line's width as before. Raises ValueError."""
    stated = line.get("BASELINE", "")
    numbers = parse_numbers(stated)
    if len(numbers) != 1:
        return parse_points(stated)
    if not polygon:
        return ()
    left, _, right, _ = bounds(polygon)
    return (left, round(numbers[0])), (right, round(numbers[0]))


def _text(line: Any) -> str:
    """Words, spaces and the hyphen at the end. Where a file has no spaces, each word is followed by one."""
    parts = list(children(line, "String", "SP", "HYP"))
    implied = not any(name_of(part) == "SP" for part in parts)
    text = ""
    for part in parts:
        if name_of(part) == "SP":
            text += " "
            continue
        if implied and text and name_of(part) == "String":
            text += " "
        text += part.get("CONTENT", "")
    return text


def write_alto(page: Layout, creator: str = "ocr-rl") -> bytes:
    """A page as ALTO 4.4. Words have the boxes that the page has for them; how sure they are is their WC.

    A region whose lines have no text gets a line without a place for each line of its text.
    """
    from lxml import etree

    def add(parent: Any, name: str, text: str | None = None, **attributes: str) -> Any:
        child = etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
        child.text = text
        return child

    width, height = page.size
    names = (name for region in page.regions for name in (region.id, *(line.id for line in region.lines)))
    ids = Identifiers(names)
    kinds = {kind: ids.new(f"tag_{kind}") for kind in dict.fromkeys(region.kind for region in page.regions) if kind}
    root = etree.Element(f"{{{NAMESPACE}}}alto", nsmap={None: NAMESPACE}, SCHEMAVERSION="4.4")
    description = add(root, "Description")
    add(description, "MeasurementUnit", "pixel")
    add(add(description, "sourceImageInformation"), "fileName", xml_text(page.image))
    software = add(add(description, "Processing", ID=ids.new("processing_1")), "processingSoftware")
    add(software, "softwareName", creator)
    if kinds:
        tags = add(root, "Tags")
        for kind, name in kinds.items():
            add(tags, "OtherTag", ID=name, LABEL=xml_text(kind))
    sides = {"WIDTH": str(width), "HEIGHT": str(height)}
    body = add(add(root, "Layout"), "Page", ID=ids.new(page.id or "page_1"), PHYSICAL_IMG_NR="1", **sides)
    space = add(body, "PrintSpace", HPOS="0", VPOS="0", **sides)
    for region in page.regions:
        tag = {"TAGREFS": kinds[region.kind]} if region.kind else {}
        block = add(space, "TextBlock", ID=ids[region.id], **tag, **_box(region.polygon))
        _add_shape(block, region.polygon, add)
        for line in region.lines:
            baseline = {"BASELINE": _written(line.baseline)} if line.baseline else {}
            _add_line(block, line, {"ID": ids[line.id], **baseline}, ids, add)
        if region.text == region.own_text != "":
            sure = iter(region.confidences)
            for number, text in enumerate(region.own_text.split("\n"), 1):
                line = Line("", text, confidences=tuple(islice(sure, len(text.split()))))
                _add_line(block, line, {"ID": ids.new(f"{region.id}l{number}")}, ids, add)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _add_line(block: Any, line: Line, attributes: dict[str, str], ids: Identifiers, add: Any) -> None:
    element = add(block, "TextLine", **attributes, **_box(line.polygon))
    _add_shape(element, line.polygon, add)
    texts = xml_text(line.text).split(" ")
    words = [text for text in texts if text.strip()]
    places = zip(placed_words(words, line.words), confidences_of(words, line.confidences), strict=True)
    for number, text in enumerate(texts):
        if number:
            add(element, "SP")
        if not text.strip():
            add(element, "String", CONTENT=text)
            continue
        word, confidence = next(places)
        name = {"ID": ids.new(word.id)} if word.id else {}
        known = {} if confidence is None else {"WC": f"{confidence:.3f}"}
        string = add(element, "String", **name, **_box(word.polygon), CONTENT=text, **known)
        _add_shape(string, word.polygon, add)


def _add_shape(element: Any, polygon: Points, add: Any) -> None:
    """The polygon, unless it is the box that the element states anyway."""
    if polygon and polygon != box_points(*bounds(polygon)):
        add(add(element, "Shape"), "Polygon", POINTS=_written(polygon))


def _box(polygon: Points) -> dict[str, str]:
    if not polygon:
        return {}
    left, top, right, bottom = bounds(polygon)
    return {"HPOS": str(left), "VPOS": str(top), "WIDTH": str(right - left), "HEIGHT": str(bottom - top)}


def _written(points: Points) -> str:
    return " ".join(f"{x},{y}" for x, y in points)
