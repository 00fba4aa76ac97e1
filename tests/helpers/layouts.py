"""Pages of invented regions and lines, and their files and images on disk."""

from hypothesis import strategies as st
from PIL import Image

from ocr_rl.data.archives.alto import write_alto
from ocr_rl.data.archives.hocr import write_hocr
from ocr_rl.data.archives.layout import Layout, Line, Region, Word
from ocr_rl.data.archives.page_xml import write_page_xml

WRITERS = {"page-xml": write_page_xml, "alto": write_alto, "hocr": write_hocr}
SIZE = (900, 1200)

words = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=8,
)
texts = st.lists(words, max_size=6).map(" ".join)
names = st.from_regex(r"[A-Za-z_äλ][A-Za-z0-9_.\-é]{0,9}", fullmatch=True)


def points(least):
    """Points on the page that enclose something; a baseline needs only two."""
    one = st.tuples(st.integers(1, SIZE[0]), st.integers(1, SIZE[1]))
    corner = st.tuples(st.integers(0, 200), st.integers(0, 200))
    far = st.tuples(st.integers(300, SIZE[0]), st.integers(300, SIZE[1]))
    if least == 2:
        return st.tuples(corner, far)
    boxes = st.builds(lambda a, b: (a, (b[0], a[1]), b, (a[0], b[1])), corner, far)
    outlines = st.builds(lambda a, b, rest: (a, b, *rest), corner, far, st.lists(one, min_size=1, max_size=5))
    return boxes | outlines.filter(lambda found: len(set(found)) > 2)


@st.composite
def lines_of(draw, name):
    """A line of that name, with or without the places of its words."""
    text = draw(texts)
    placed = draw(st.booleans())
    found = enumerate(text.split(" ") if text and placed else (), 1)
    own = tuple(Word(word, draw(points(3)), f"word-{name}-{number}") for number, word in found)
    return Line(name, text, draw(points(3)), draw(st.just(()) | points(2)), words=own)


@st.composite
def layouts(draw):
    """A page with up to four regions in an order that is not that of their ids."""
    ids = iter(draw(st.lists(names, min_size=24, max_size=24, unique=True)))
    regions = []
    for _ in range(draw(st.integers(0, 4))):
        lines = tuple(draw(lines_of(next(ids))) for _ in range(draw(st.integers(1, 4))))
        kind = draw(st.sampled_from(["", "paragraph", "heading", "Margin:left", "κεφάλαιο"]))
        regions.append(Region(next(ids), kind, draw(points(3)), lines))
    return Layout("0042.png", SIZE, tuple(regions), next(ids))


def write_page(folder, name, layout, kind="page-xml", size=None):
    """The layout file `name` and its image beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(WRITERS[kind](layout))
    Image.new("L", size or layout.size, 255).save(folder / layout.image)


def letter(prefix="", image="0042.png"):
    """A page with a heading of one line and a paragraph of two; 100 x 80 pixels."""
    heading = Line(f"{prefix}r1l1", "Dear Sir", ((10, 5), (60, 5), (60, 15), (10, 15)), ((10, 13), (60, 13)))
    first = Line(f"{prefix}r2l1", "thank you for", ((10, 30), (90, 30), (90, 40), (10, 40)))
    second = Line(f"{prefix}r2l2", "your letter.", ((10, 45), (80, 45), (80, 55), (10, 55)))
    return Layout(
        image,
        (100, 80),
        (
            Region(f"{prefix}r1", "heading", ((5, 0), (95, 0), (95, 20), (5, 20)), (heading,)),
            Region(f"{prefix}r2", "paragraph", ((5, 25), (95, 25), (95, 60), (5, 60)), (first, second)),
        ),
    )
