"""XML from strangers: no entities, no document types, nothing from the network, and limits on size.

lxml reads it, since it names the line of every element, keeps libxml2's limits on depth and expansion, and also reads
the HTML that some hOCR is. An entity is refused even where it would do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["page-xml", "alto", "hocr", "mets"]
ROOTS: dict[str, Kind] = {"pcgts": "page-xml", "alto": "alto", "html": "hocr", "mets": "mets"}
LAYOUT_KINDS = frozenset({"page-xml", "alto", "hocr"})
SUFFIXES = frozenset({".xml", ".hocr", ".html", ".htm", ".xhtml", ".alto", ".page"})
"""Of files that are looked into."""
HEAD = 65_536
"""Bytes in which the root element must begin."""
MAX_BYTES = 64 * 2**20
MAX_ELEMENTS = 2_000_000
MAX_LINES = 100_000
"""Lines of text in one file."""


class ArchiveError(ValueError):
    """A file that cannot be read. The message continues a sentence that begins with its name and `line`."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def kind_of(head: bytes) -> Kind | None:
    """What a file is by its root element, whatever its encoding; None if it is none of these."""
    ascii_part = head.replace(b"\0", b"")
    root = re.search(rb"<(?:[\w.-]+:)?(PcGts|alto|mets|html)[\s/>]", ascii_part, re.IGNORECASE)
    kind = ROOTS[root[1].decode().lower()] if root else None
    return None if kind == "hocr" and not re.search(rb"ocr_page|ocr_line|ocr-system", ascii_part) else kind


def parse_xml(data: bytes, kind: Kind) -> Any:
    """The root element. Raises ArchiveError for XML that is broken, too large, or holds an entity or document type."""
    from lxml import etree

    if len(data) > MAX_BYTES:
        raise ArchiveError(f"has {len(data):,} bytes; at most {MAX_BYTES:,} are read: write a file for each page")
    if b"<!ENTITY" in data.replace(b"\0", b""):
        raise ArchiveError("declares an entity, which is never read; write the text itself")
    safe = {"no_network": True, "huge_tree": False, "remove_comments": True, "remove_pis": True}
    html = kind == "hocr" and not re.match(rb"(\xef\xbb\xbf)?\s*<\?xml|.{0,1000}xmlns=", data, re.DOTALL)
    parser = etree.HTMLParser(**safe) if html else etree.XMLParser(resolve_entities=False, load_dtd=False, **safe)
    text = _decoded(data) if html else data
    try:
        root = etree.fromstring(text, parser)
        for error in parser.error_log.filter_from_fatals() if html else ():  # where it stopped reading
            raise ArchiveError(f"is not well-formed: {error.message}", error.line)
    except etree.XMLSyntaxError as error:
        raise ArchiveError(f"is not well-formed: {error.msg}; save it again as UTF-8", error.lineno) from None
    except ArchiveError:
        raise
    except ValueError as error:  # a null character
        raise ArchiveError(f"cannot be read: {error}") from None
    document = root.getroottree().docinfo
    if document.internalDTD is not None and (kind != "hocr" or any(document.internalDTD.iterentities())):
        raise ArchiveError("has a document type (<!DOCTYPE), which is never read; delete it")
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise ArchiveError(f"has more than {MAX_ELEMENTS:,} elements; write a file for each page")
    return root


def _decoded(data: bytes) -> str:
    stated = re.search(rb"charset=[\"']?([\w-]+)", data[:HEAD])
    encoding = stated[1].decode() if stated else "utf-8"
    try:
        return data.decode("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise ArchiveError(f"is not {encoding}: {error}; save it as UTF-8") from None


def name_of(element: Any) -> str:
    """The tag without its namespace; empty for what is no element."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def children(element: Any, *names: str) -> Iterator[Any]:
    """Its children with one of these tags, in any namespace."""
    return (child for child in element if name_of(child) in names)


def below(element: Any, name: str) -> list[Any]:
    """All elements below it with this tag, in any namespace, in document order."""
    return list(element.iter(f"{{*}}{name}"))


def first(element: Any, name: str) -> Any:
    return next(element.iter(f"{{*}}{name}"), None)


def text_of(element: Any, line_end: str = "\n") -> str:
    """All text in an element, with `line_end` for `<br>`; `&nbsp;` is what it means."""
    from html import unescape

    from lxml import etree

    parts = [element.text or ""]
    for child in element:
        if child.tag is etree.Entity:
            parts.append(unescape(child.text))
        elif name_of(child) == "br":
            parts.append(line_end)
        else:
            parts.append(text_of(child, line_end))
        parts.append(child.tail or "")
    return "".join(parts)


def check_lines(count: int) -> None:
    """Raises ArchiveError if there are too many lines for one file."""
    if count > MAX_LINES:
        raise ArchiveError(f"has {count:,} lines; at most {MAX_LINES:,} are read: write a file for each page")
