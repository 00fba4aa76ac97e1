"""hOCR 1.2: pages in, pages out.

http://kba.github.io/hocr-spec/1.2. A paragraph (ocr_par), else an area (ocr_carea), is a region. HTML knows no two
spaces in a row, so that a text with several comes back with one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    known_id,
    known_word,
    outline,
    parse_numbers,
    parse_points,
)
from ocr_rl.data.archives.words import confidences_of, placed_words
from ocr_rl.data.archives.xml import ArchiveError, check_lines, text_of

XHTML = "http://www.w3.org/1999/xhtml"
LINES = frozenset({"ocr_line", "ocrx_line", "ocr_header", "ocr_footer", "ocr_caption", "ocr_textfloat"})
REGIONS = frozenset({"ocr_par", "ocr_carea", "ocrx_block"})
PROPERTY = re.compile(r"""\s*([A-Za-z_]\w*)\s*((?:"[^"]*"|'[^']*'|[^;"',]|,(?!\s*[A-Za-z_]\w*\s))*)[;,]?""")
"""A name and its value, up to a semicolon that is not quoted, or a comma before another name."""


def read_hocr(root: Any) -> list[Layout]:
    """The pages of the file. Raises ArchiveError if it has none."""
    pages = [element for element in root.iter() if "ocr_page" in _classes(element)]
    if not pages:
        raise ArchiveError('has no page; write an element of class="ocr_page"')
    check_lines(sum(1 for element in root.iter() if _classes(element) & LINES))
    several = len(pages) > 1
    return [_page(page, f"page_{number}" if several else "") for number, page in enumerate(pages, 1)]


def _page(page: Any, name: str) -> Layout:
    title = _properties(page)
    try:
        box = parse_numbers(title.get("bbox", ""))
    except ValueError as error:
        raise ArchiveError(f"bbox of the page {error}", page.sourceline) from None
    if len(box) != 4 or box[2] <= box[0] or box[3] <= box[1]:
        raise ArchiveError('the page has no size; write title="bbox 0 0 WIDTH HEIGHT"', page.sourceline)
    size = round(box[2]), round(box[3])
    name = known_id(page.get("id"), name)
    found: dict[Any, list[Any]] = {}
    for element in page.iter():
        classes = _classes(element)
        if classes & REGIONS:
            found.setdefault(element, [])
        if classes & LINES:
            found.setdefault(_container(element, page), []).append(element)
    regions: list[Region] = []
    outer = {ancestor for holder in found for ancestor in holder.iterancestors()}
    for holder, lines in found.items():
        if lines or holder not in outer:
            regions.append(_region(holder, lines, f"r{len(regions) + 1}", holder is page, size))
    return Layout(title.get("image", "").strip("\"' "), size, tuple(regions), name)


def _container(line: Any, page: Any) -> Any:
    """The paragraph, else the area, else the page that a line is in."""
    holder = line.getparent()
    while holder is not page and not _classes(holder) & REGIONS:
        holder = holder.getparent()
    return holder


def _region(holder: Any, found: list[Any], name: str, is_page: bool, size: tuple[int, int]) -> Region:
    name = name if is_page else known_id(holder.get("id"), name)
    polygon, problem = ((), "") if is_page else outline(lambda: _polygon(_properties(holder)), size)
    lines = tuple(_line(line, f"{name}l{number}", size) for number, line in enumerate(found, 1))
    kinds = {kind for line in found for kind in _classes(line) & LINES} or {""}
    kind = holder.get("data-type") or (kinds.pop() if len(kinds) == 1 else "")
    kind = "" if kind in ("ocr_line", "ocrx_line") else kind.removeprefix("ocr_")
    own_lines = [] if any(line.text for line in lines) else text_of(holder, "\f").split("\f")
    own_text = "\n".join(filter(None, map(_spaced, own_lines)))
    return Region(name, kind, polygon, lines, own_text, problem)


def _line(line: Any, name: str, size: tuple[int, int]) -> Line:
    title = _properties(line)
    polygon, problem = outline(lambda: _polygon(title), size)
    try:
        baseline = _baseline(title)
    except ValueError as error:
        baseline, problem = (), problem or f"baseline {error}"
    found = (_word(element, size) for element in line.iter() if "ocrx_word" in _classes(element))
    words = tuple(filter(None, found))
    return Line(known_id(line.get("id"), name), _spaced(text_of(line)), polygon, baseline, problem, words=words)


def _word(element: Any, size: tuple[int, int]) -> Word | None:
    polygon, _ = outline(lambda: _polygon(_properties(element)), size)
    text = _spaced(text_of(element))
    return known_word(text, polygon, element.get("id", ""))


def _classes(element: Any) -> set[str]:
    return set(element.get("class", "").split()) if isinstance(element.tag, str) else set()


def _properties(element: Any) -> dict[str, str]:
    """`bbox 0 0 9 9; image "a.png"` as {"bbox": "0 0 9 9", "image": ...}; some write a comma for the semicolon."""
    return {name: value.strip() for name, value in PROPERTY.findall(element.get("title", ""))}


def _polygon(title: dict[str, str]) -> Points | None:
    """Its `poly`, else its `bbox`. Raises ValueError."""
    if "poly" in title:
        return parse_points(title["poly"])
    if "bbox" not in title:
        return None
    box = parse_numbers(title["bbox"])
    if len(box) != 4:
        raise ValueError(f"is a bbox of {len(box)} numbers, not 4")
    return box_points(*box)


def _baseline(title: dict[str, str]) -> Points:
    """`x_baseline`, its points as ocr-rl writes them, else the polynomial `baseline` at both ends of the line's box.

    The polynomial counts from the lower left corner of the box. Raises ValueError.
    """
    if "x_baseline" in title:
        return parse_points(title["x_baseline"])
    box, coefficients = parse_numbers(title.get("bbox", "")), parse_numbers(title.get("baseline", ""))
    if len(box) != 4 or not coefficients:
        return ()

    def height(x: float) -> float:
        return sum(factor * x**power for power, factor in enumerate(reversed(coefficients)))

    return tuple((round(x), round(box[3] + height(x - box[0]))) for x in (box[0], box[2]))


def _spaced(text: str) -> str:
    return re.sub(r"[ \t\r\n\f]+", " ", text).strip(" ")


def write_hocr(page: Layout, creator: str = "ocr-rl") -> bytes:
    """A page as XHTML. A baseline is written as hOCR has it, straight, and with all of its points."""
    from lxml import etree

    def add(parent: Any, tag: str, attributes: dict[str, str], text: str | None = None) -> Any:
        child = etree.SubElement(parent, f"{{{XHTML}}}{tag}", attributes)
        child.text = text
        return child

    ids = Identifiers(name for region in page.regions for name in (region.id, *(line.id for line in region.lines)))
    root = etree.Element(f"{{{XHTML}}}html", nsmap={None: XHTML})
    head = add(root, "head", {})
    add(head, "title", {}, xml_text(page.image))
    add(head, "meta", {"http-equiv": "Content-Type", "content": "text/html; charset=utf-8"})
    add(head, "meta", {"name": "ocr-system", "content": creator})
    add(head, "meta", {"name": "ocr-capabilities", "content": "ocr_page ocr_par ocr_line ocrx_word"})
    image = re.sub("[\"';]", "_", xml_text(page.image))
    title = f'image "{image}"; bbox 0 0 {page.size[0]} {page.size[1]}'
    body = add(add(root, "body", {}), "div", {"class": "ocr_page", "id": ids.new(page.id or "page_1"), "title": title})
    for region in page.regions:
        attributes = {"class": "ocr_par", "id": ids[region.id]} | _title(region.polygon)
        paragraph = add(body, "p", attributes | ({"data-type": xml_text(region.kind)} if region.kind else {}))
        if region.text == region.own_text:
            sure = iter(region.confidences)
            for number, text in enumerate(xml_text(region.own_text).split("\n")):
                if number:
                    add(paragraph, "br", {})
                _add_words(paragraph, text, (), sure, ids, add)
        for line in region.lines:
            attributes = {"class": "ocr_line", "id": ids[line.id]} | _title(line.polygon, line.baseline)
            element = add(paragraph, "span", attributes)
            element.tail = "\n"
            _add_words(element, xml_text(line.text), line.words, iter(line.confidences), ids, add)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _add_words(
    parent: Any, text: str, old: Sequence[Word], confidences: Iterator[float], ids: Identifiers, add: Any
) -> None:
    """The text at the end of an element; as words where it is known where they are, or how sure."""
    parts = re.split(r"([ \t\r\n\f]+)", text)
    words = [part for part in parts if part.strip()]
    places = zip(placed_words(words, old), confidences_of(words, confidences), strict=True)
    for part in parts:
        word, confidence = next(places) if part.strip() else (Word(part), None)
        known = (
            _title(word.polygon).get("title", ""),
            "" if confidence is None else f"x_wconf {round(100 * confidence)}",
        )
        if title := "; ".join(filter(None, known)):
            name = {"id": ids.new(word.id)} if word.id else {}
            add(parent, "span", {"class": "ocrx_word", **name, "title": title}, part)
        elif len(parent):
            parent[-1].tail = (parent[-1].tail or "") + part
        else:
            parent.text = (parent.text or "") + part


def _title(polygon: Points, baseline: Points = ()) -> dict[str, str]:
    """The attribute that has the place of an element, if anything is known of it."""
    parts = []
    if polygon:
        box = bounds(polygon)
        parts.append(f"bbox {' '.join(map(str, box))}")
        if polygon != box_points(*box):
            parts.append(f"poly {_written(polygon)}")
        if len(baseline) > 1 and baseline[0][0] != baseline[-1][0]:
            (x0, y0), (x1, y1) = baseline[0], baseline[-1]
            slope = (y1 - y0) / (x1 - x0)
            parts.append(f"baseline {slope:.4f} {y0 - box[3] - slope * (x0 - box[0]):.1f}")
    parts += [f"x_baseline {_written(baseline)}"] if baseline else []
    return {"title": "; ".join(parts)} if parts else {}


def _written(points: Points) -> str:
    return " ".join(f"{x} {y}" for x, y in points)
