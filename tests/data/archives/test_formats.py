"""What programs write is read as they mean it; each snippet is written after what one of them writes."""

import pytest

from helpers.layouts import WRITERS
from ocr_rl.data.archives.layout import Line, Word, box_points
from ocr_rl.data.archives.pages import READERS
from ocr_rl.data.archives.xml import ArchiveError, kind_of, parse_xml

PAGE = "http://schema.primaresearch.org/PAGE/gts/pagecontent"
COORDS = '<Coords points="10,10 90,10 90,20 10,20"/>'
BOX = box_points(10, 10, 90, 20)


def read(text):
    data = text.encode()
    kind = kind_of(data)
    [layout] = READERS[kind](parse_xml(data, kind))
    return layout


def refusal(call):
    with pytest.raises(ArchiveError) as error:
        call()
    return str(error.value)


def page_xml(body, version="2019-07-15", attributes='imageFilename="a.jpg" imageWidth="100" imageHeight="80"'):
    return read(f'<?xml version="1.0"?><PcGts xmlns="{PAGE}/{version}"><Page {attributes}>{body}</Page></PcGts>')


def text_line(name, text="", custom="", more=""):
    equivalent = f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>" if text else ""
    return f'<TextLine id="{name}" custom="{custom}">{COORDS}{more}{equivalent}</TextLine>'


def text_region(name, *lines, attributes=""):
    return f'<TextRegion id="{name}" {attributes}>{COORDS}{"".join(lines)}</TextRegion>'


def ids(layout):
    return [region.id for region in layout.regions]


# PAGE-XML


def test_transkribus_keeps_order_and_kinds_in_custom_and_repeats_the_text_in_the_region():
    """PAGE 2013: the lines are not in their order, and the region's own TextEquiv repeats them."""
    lines = [text_line("l2", "second", "readingOrder {index:1;}"), text_line("l1", "first", "readingOrder {index:0;}")]
    repeated = "<TextEquiv><Unicode>first\nsecond</Unicode></TextEquiv>"
    note = text_region(
        "r2", text_line("l3", "note"), attributes='custom="readingOrder {index:0;} structure {type:marginalia;}"'
    )
    body = text_region("r1", *lines, repeated, attributes='type="paragraph" custom="readingOrder {index:1;}"')
    layout = page_xml(body + note, "2013-07-15")
    assert layout.text == "note\n\nfirst\nsecond"
    assert [(region.id, region.kind) for region in layout.regions] == [("r2", "marginalia"), ("r1", "paragraph")]
    assert (layout.image, layout.size) == ("a.jpg", (100, 80))


def test_escriptorium_names_kinds_in_custom_and_leaves_texts_that_nobody_wrote_empty():
    empty = f'<TextLine id="l2">{COORDS}<TextEquiv><Unicode></Unicode></TextEquiv></TextLine>'
    line = text_line("l1", "Incipit", "structure {type:default;}", '<Baseline points="10,18 50,19 90,18"/>')
    layout = page_xml(text_region("r1", line, empty, attributes='custom="structure {type:MainZone;}"'))
    assert layout.regions[0].kind == "MainZone"
    assert layout.lines == [Line("l1", "Incipit", BOX, ((10, 18), (50, 19), (90, 18))), Line("l2", "", BOX)]


def test_groups_within_groups_give_the_reading_order_of_ocr_d():
    """Order by index, not as it stands; r4 is in no group and comes last, r3 is in an unordered one."""
    order = """<ReadingOrder><OrderedGroup id="g">
      <UnorderedGroupIndexed id="g2" index="1">
        <RegionRef regionRef="r3"/><RegionRef regionRef="r1"/>
      </UnorderedGroupIndexed>
      <OrderedGroupIndexed id="g1" index="0">
        <RegionRefIndexed index="5" regionRef="r5"/><RegionRefIndexed index="2" regionRef="r2"/>
      </OrderedGroupIndexed></OrderedGroup></ReadingOrder>"""
    layout = page_xml(order + "".join(text_region(f"r{n}", text_line(f"l{n}", str(n))) for n in (1, 2, 3, 4, 5)))
    assert ids(layout) == ["r2", "r5", "r3", "r1", "r4"]


def test_without_a_reading_order_regions_stay_as_they_stand():
    assert ids(page_xml(text_region("b") + text_region("a"))) == ["b", "a"]


def test_cells_of_a_table_are_where_the_table_is_in_the_order():
    order = """<ReadingOrder><OrderedGroup id="g"><RegionRefIndexed index="0" regionRef="t"/>
      <RegionRefIndexed index="1" regionRef="r1"/></OrderedGroup></ReadingOrder>"""
    table = f'<TableRegion id="t">{COORDS}{text_region("c1", text_line("l1", "x"))}{text_region("c2")}</TableRegion>'
    assert ids(page_xml(order + text_region("r1") + table)) == ["c1", "c2", "r1"]


def alternative(text, index=None):
    number = "" if index is None else f'index="{index}"'
    return f"<TextEquiv {number}><Unicode>{text}</Unicode></TextEquiv>"


@pytest.mark.parametrize(
    ("equivalents", "text"),
    [
        (alternative("no", 1) + alternative("yes", 0), "yes"),
        (alternative("no", 2) + alternative("yes", 1), "yes"),
        (alternative("yes") + alternative("no"), "yes"),
        ("<TextEquiv><PlainText>no</PlainText><Unicode>yes</Unicode></TextEquiv>", "yes"),
        ("<TextEquiv><PlainText>yes</PlainText><Unicode></Unicode></TextEquiv>", "yes"),
        ("<TextEquiv><Unicode>\n   yes \n and\u00a0no\n </Unicode></TextEquiv>", "yes and\u00a0no"),
        ("", ""),
    ],
)
def test_the_text_of_a_line_is_its_first_alternative(equivalents, text):
    assert page_xml(text_region("r", f'<TextLine id="l">{COORDS}{equivalents}</TextLine>')).text == text


def test_a_line_without_a_text_has_that_of_its_words_and_a_word_that_of_its_glyphs():
    def word(text):
        return f'<Word id="w{text}">{COORDS}<TextEquiv><Unicode>{text}</Unicode></TextEquiv></Word>'

    def glyph(text):
        return f"<Glyph>{COORDS}<TextEquiv><Unicode>{text}</Unicode></TextEquiv></Glyph>"

    words = word("two") + f"<Word>{COORDS}{glyph('w')}{glyph('o')}</Word>" + word("words")
    assert page_xml(text_region("r", f'<TextLine id="l">{COORDS}{words}</TextLine>')).text == "two wo words"


def test_elements_without_an_id_are_numbered():
    line = f"<TextLine>{COORDS}</TextLine>"
    layout = page_xml(f"<TextRegion>{COORDS}</TextRegion><TextRegion>{COORDS}{line}{line}</TextRegion>")
    assert (ids(layout), [line.id for line in layout.lines]) == (["r1", "r2"], ["r2l1", "r2l2"])


def test_an_id_cannot_lead_to_another_folder():
    assert ids(page_xml(text_region("../../x y"))) == [".._.._x_y"]


@pytest.mark.parametrize("height", ["", 'imageHeight="0"', 'imageHeight="nan"'])
def test_a_page_needs_a_size(height):
    assert refusal(lambda: page_xml("", attributes=f'imageWidth="9" {height}')) == (
        'Page has no size; write imageWidth="..." and imageHeight="..." in pixels'
    )


# ALTO


def alto(body, unit="pixel", sides='WIDTH="100" HEIGHT="80"', more="", version="4"):
    return read(
        f'<alto xmlns="http://www.loc.gov/standards/alto/ns-v{version}#"><Description><MeasurementUnit>{unit}'
        "</MeasurementUnit><sourceImageInformation><fileName>C:\\scans\\a.tif</fileName></sourceImageInformation>"
        f'</Description>{more}<Layout><Page ID="p1" PHYSICAL_IMG_NR="1" {sides}>{body}</Page></Layout></alto>'
    )


HERE = 'HPOS="10" VPOS="10" WIDTH="80" HEIGHT="10"'


def alto_line(strings, attributes=HERE):
    line = f'<TextLine ID="l1" {attributes}>{strings}</TextLine>'
    return f'<PrintSpace><TextBlock ID="b1" {HERE}>{line}</TextBlock></PrintSpace>'


def test_abbyy_alto_2_has_words_spaces_and_hyphens_and_millimetres():
    """mm10: a page of 210 x 297 mm; the divided word is read as it is printed."""
    strings = (
        '<String CONTENT="the" WC="0.9"/><SP WIDTH="3"/>'
        '<String CONTENT="trans" SUBS_TYPE="HypPart1" SUBS_CONTENT="transcription"/><HYP CONTENT="-"/>'
    )
    layout = alto(alto_line(strings), "mm10", 'WIDTH="2100" HEIGHT="2970"', version="2")
    assert (layout.text, layout.size, layout.image) == ("the trans-", (2100, 2970), "C:\\scans\\a.tif")
    assert layout.lines[0].polygon == BOX
    assert layout.scaled((4200, 5940)).lines[0].polygon == box_points(20, 20, 180, 40)


def test_escriptorium_alto_4_has_outlines_baselines_and_kinds_by_tag():
    tags = '<Tags><OtherTag ID="BT1" LABEL="MainZone"/><OtherTag ID="LT1" LABEL="DefaultLine"/></Tags>'
    shape = '<Shape><Polygon POINTS="10 10 90 12 88 20 10 21"/></Shape>'
    attributes = f'ID="l1" TAGREFS="LT1" BASELINE="10 18 90 19" {HERE}'
    line = f'<TextLine {attributes}>{shape}<String CONTENT="Incipit liber"/></TextLine>'
    layout = alto(f'<PrintSpace><TextBlock ID="b1" TAGREFS="BT1">{line}</TextBlock></PrintSpace>', more=tags)
    polygon = ((10, 10), (90, 12), (88, 20), (10, 21))
    assert layout.lines == [Line("l1", "Incipit liber", polygon, ((10, 18), (90, 19)))]
    assert (layout.regions[0].kind, layout.regions[0].polygon) == ("MainZone", ())


def test_words_of_alto_have_their_boxes_and_a_hyphen_is_part_of_its_word():
    strings = (
        '<String ID="s1" CONTENT="trans" HPOS="10" VPOS="10" WIDTH="30" HEIGHT="8"/>'
        '<HYP CONTENT="-" HPOS="42" VPOS="12" WIDTH="4" HEIGHT="2"/>'
    )
    layout = alto(alto_line(strings))
    assert layout.lines[0].words == (
        Word("trans", box_points(10, 10, 40, 18), "s1"),
        Word("-", box_points(42, 12, 46, 14)),
    )
    [back] = READERS["alto"](parse_xml(WRITERS["alto"](layout), "alto"))
    assert back.lines[0].words == (Word("trans-", box_points(10, 10, 46, 18)),)


def test_a_string_that_holds_a_whole_line_is_no_word():
    assert alto(alto_line(f'<String CONTENT="Incipit liber" {HERE}/>')).lines[0].words == ()


def test_words_of_page_xml_have_their_outlines():
    word = '<Word id="w1"><Coords points="1,1 9,1 5,8"/><TextEquiv><Unicode>Dear</Unicode></TextEquiv></Word>'
    odd = '<Word id="w2"><Coords points="1,1"/><TextEquiv><Unicode>Sir</Unicode></TextEquiv></Word>'
    layout = page_xml(f'<TextRegion id="r1"><TextLine id="l1">{word}{odd}</TextLine></TextRegion>')
    assert layout.lines == [Line("l1", "Dear Sir", words=(Word("Dear", ((1, 1), (9, 1), (5, 8)), "w1"),))]


def test_words_without_spaces_between_them_are_followed_by_one():
    assert alto(alto_line('<String CONTENT="two"/><String CONTENT="words"/><HYP CONTENT="-"/>')).text == "two words-"


def test_a_baseline_of_one_number_is_level_over_the_whole_line():
    layout = alto(alto_line('<String CONTENT="a"/>', f'{HERE} BASELINE="18.4"'), version="3")
    assert layout.lines[0].baseline == ((10, 18), (90, 18))


def test_margins_and_composed_blocks_are_read_in_the_order_of_the_file_or_of_its_reading_order():
    def block(name):
        return f'<TextBlock ID="{name}"><TextLine><String CONTENT="{name}"/></TextLine></TextBlock>'

    body = (
        f"<TopMargin>{block('head')}</TopMargin><PrintSpace><ComposedBlock>{block('a')}</ComposedBlock>"
        f'<Illustration ID="i"/>{block("b")}</PrintSpace>'
    )
    assert alto(body).text == "head\n\na\n\nb"
    order = '<ReadingOrder><OrderedGroup><ElementRef REF="b"/><ElementRef REF="a"/></OrderedGroup></ReadingOrder>'
    assert alto(body, more=order).text == "b\n\na\n\nhead"


def test_units_need_a_size_of_the_page_and_other_units_are_refused():
    assert refusal(lambda: alto("", "inch1200", "")) == "Page has no size in inch1200; write its WIDTH and HEIGHT"
    assert refusal(lambda: alto("", "furlong")) == "MeasurementUnit is furlong; write one of pixel, mm10, inch1200"
    assert alto("", sides="").size == (0, 0)


# hOCR


def test_tesseract_hocr_is_xhtml_with_a_document_type_and_words():
    """The baseline is -1 px at the left end of the box's lower edge and falls by 0.05 px for each to the right."""
    layout = read(
        """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en"><head><title></title>
<meta name='ocr-system' content='tesseract 5.3.0'/></head><body>
<div class='ocr_page' id='page_1' title='image "scans/a.png"; bbox 0 0 100 80; ppageno 0; scan_res 300 300'>
 <div class='ocr_carea' id='block_1_1' title="bbox 10 10 90 20">
  <p class='ocr_par' id='par_1_1' lang='eng' title="bbox 10 10 90 20">
   <span class='ocr_header' id='line_1_1' title="bbox 10 10 90 20; baseline 0.05 -1; x_size 9">
    <span class='ocrx_word' id='word_1_1' title='bbox 10 10 40 20; x_wconf 96'>Dear</span>
    <span class='ocrx_word' id='word_1_2' title='bbox 45 10 90 20; x_wconf 90'>S&amp;S&nbsp;<strong>Sir</strong></span>
   </span>
  </p></div></div></body></html>"""
    )
    assert (layout.image, layout.size, layout.id) == ("scans/a.png", (100, 80), "page_1")
    words = (
        Word("Dear", box_points(10, 10, 40, 20), "word_1_1"),
        Word("S&S\u00a0Sir", box_points(45, 10, 90, 20), "word_1_2"),
    )
    assert layout.lines == [Line("line_1_1", "Dear S&S\u00a0Sir", BOX, ((10, 19), (90, 23)), words=words)]
    assert (ids(layout), layout.regions[0].kind) == (["par_1_1"], "header")


def test_kraken_hocr_is_html_with_commas_and_lines_without_paragraphs():
    layout = read(
        """<!DOCTYPE html><html><head><meta charset="utf-8"/><meta name="ocr-system" content="kraken"/></head><body>
<div class="ocr_page" title="bbox 0 0 100 80, image a.png">
<span class="ocr_line" id="line_0" title="bbox 10 10 90 20; cuts 1 2"><span class="ocrx_word">été</span>
<span class="ocrx_word"> </span><span class="ocrx_word">chaud</span></span><br/>
<span class="ocr_line" id="line_1" title="bbox 10 30 90 40">b</span></div></body></html>"""
    )
    assert (layout.image, layout.size, layout.text) == ("a.png", (100, 80), "été chaud\nb")
    assert layout.lines[0] == Line("line_0", "été chaud", BOX)


def test_a_paragraph_without_lines_has_a_text_of_its_own():
    layout = read(
        '<html><body><div class="ocr_page" title="bbox 0 0 100 80"><div class="ocr_carea">'
        '<p class="ocr_par">one<br>two  x</p><p class="ocr_par" title="bbox 10 10 90 20">three</p></div></div>'
    )
    assert layout.text == "one\ntwo x\n\nthree"
    assert layout.regions[1].polygon == BOX


def test_a_page_of_hocr_needs_a_size():
    assert refusal(lambda: read('<html><body class="ocr_page">x</body></html>')) == (
        'the page has no size; write title="bbox 0 0 WIDTH HEIGHT"'
    )


# Coordinates


@pytest.mark.parametrize(
    ("points", "problem"),
    [
        ("", 'polygon has 0 points; write three or more, as "x,y x,y x,y"'),
        ("1,1 2,2 1,1", 'polygon has 2 points; write three or more, as "x,y x,y x,y"'),
        ("1,1 5,1 9,1", "polygon encloses nothing; write its outline"),
        ("1,1 nan,5 9,9", 'polygon holds nan, which is no coordinate; write "x,y x,y x,y"'),
        ("1,1 5,inf 9,9", 'polygon holds inf, which is no coordinate; write "x,y x,y x,y"'),
        ("1,1 5,1e9 9,9", 'polygon holds 1e9, which is no coordinate; write "x,y x,y x,y"'),
        ("1,1 5,x 9,9", 'polygon holds x, which is no coordinate; write "x,y x,y x,y"'),
        ("1,1 5,5 9", 'polygon holds 5 numbers, which are no pairs x,y; write "x,y x,y x,y"'),
        ("101,1 120,1 120,9", "polygon is outside of the page, which is 100 x 80; write it in the page's units"),
    ],
)
def test_an_outline_that_cannot_be_one_is_a_problem_of_its_element(points, problem):
    [line] = page_xml(text_region("r", f'<TextLine id="l"><Coords points="{points}"/></TextLine>')).lines
    assert (line.problem, line.polygon) == (problem, ())


def test_points_may_lie_a_little_outside_and_have_fractions():
    [line] = page_xml(text_region("r", '<TextLine id="l"><Coords points="-3,1.6 50,1 50,90"/></TextLine>')).lines
    assert (line.polygon, line.problem) == (((-3, 2), (50, 1), (50, 90)), "")
