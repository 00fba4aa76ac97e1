"""Files that want to do harm, or are damaged: one message each, and nothing is read that was not asked for."""

import pytest

from ocr_rl.data.archives.pages import READERS
from ocr_rl.data.archives.xml import MAX_BYTES, MAX_LINES, ArchiveError, kind_of, parse_xml

PAGE = '<Page imageFilename="a.png" imageWidth="9" imageHeight="9">'


def refused(data, kind=None):
    with pytest.raises(ArchiveError) as error:
        READERS["page-xml" if kind is None else kind](parse_xml(data, kind or kind_of(data)))
    return str(error.value)


def test_an_entity_is_refused_before_anything_is_expanded(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("do not read")
    entity = "declares an entity, which is never read; write the text itself"
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 40))
    for declared in (
        f'<!ENTITY l0 "ha">{laughs}',
        f'<!ENTITY x SYSTEM "{secret.as_uri()}">',
        '<!ENTITY % p SYSTEM "http://x/">',
    ):
        xml = f'<?xml version="1.0"?><!DOCTYPE PcGts [{declared}]><PcGts>{PAGE}&l39;</Page></PcGts>'
        assert refused(xml.encode()) == entity
        assert refused(xml.replace("?>", ' encoding="UTF-16"?>', 1).encode("utf-16")) == entity


def test_a_document_type_is_refused_but_that_of_html():
    xml = f'<!DOCTYPE PcGts SYSTEM "http://example.org/x.dtd"><PcGts>{PAGE}</Page></PcGts>'
    assert refused(xml.encode()) == "has a document type (<!DOCTYPE), which is never read; delete it"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<PcGts><Page>", "is not well-formed: "),
        (b'<?xml version="1.0" encoding="UTF-8"?><PcGts>\xe9\xff</PcGts>', "is not well-formed: "),
        (b'<?xml version="1.0" encoding="martian"?><PcGts></PcGts>', "is not well-formed: "),
        (b"<PcGts>\x00</PcGts>", "is not well-formed: "),
        (b"<PcGts>" + b"<a>" * 5000, "is not well-formed: "),
        (b"<PcGts/>", "has no Page"),
    ],
)
def test_what_is_broken_is_one_message(data, message):
    assert refused(data).startswith(message)


def test_html_that_is_not_what_its_charset_says_is_one_message():
    html = b'<html><meta charset="utf-8"><div class="ocr_page" title="bbox 0 0 9 9">\xe9</div></html>'
    assert refused(html, "hocr").startswith("is not utf-8: ")
    latin = html.replace(b"utf-8", b"latin-1")
    [layout] = READERS["hocr"](parse_xml(latin, "hocr"))
    assert layout.size == (9, 9)


def test_deeply_nested_html_is_one_message():
    html = b'<html><div class="ocr_page" title="bbox 0 0 9 9">' + b"<span class='ocr_line'>" * 30_000 + b"x"
    assert refused(html, "hocr").startswith("is not well-formed: ")


def test_a_million_lines_are_one_message():
    xml = b"<PcGts>" + PAGE.encode() + b"<TextRegion>" + b"<TextLine/>" * 1_000_000 + b"</TextRegion></Page></PcGts>"
    assert refused(xml) == f"has 1,000,000 lines; at most {MAX_LINES:,} are read: write a file for each page"


def test_a_file_that_is_too_large_is_not_parsed():
    assert refused(b"<PcGts>" + b" " * MAX_BYTES).startswith("has 67,108,871 bytes; at most 67,108,864 are read")


def test_a_file_is_known_by_its_root_whatever_comes_before_it():
    assert kind_of(b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- <b/> --><pc:PcGts xmlns:pc="x">') == "page-xml"
    assert kind_of('<?xml version="1.0" encoding="UTF-16"?><alto>'.encode("utf-16")) == "alto"
    assert kind_of(b"<html><p>no OCR</p></html>") is None
    assert kind_of(b"<TrpDocMetadata>") is None
