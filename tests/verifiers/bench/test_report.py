"""The HTML report of `ocr-verify bench`: one file, everything escaped, the best matches marked."""

import json
import shutil

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from helpers.html_tree import Tree
from ocr_verifiers.bench.highlights import Highlight, best_match, find_highlights, segments
from ocr_verifiers.bench.page_images import page_image
from ocr_verifiers.cli.main import main
from ocr_verifiers.unit_tests.records import parse_test

EVIL = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>&lt;\u0000\u202e"


@pytest.fixture
def report(tmp_path):
    """Makes a benchmark of one page per text and returns the file of its report."""

    def make(outputs, rows, *options, pdfs=()):
        folder = tmp_path / "bench"
        (folder / "pdfs").mkdir(parents=True)
        for name, content in pdfs:
            (folder / "pdfs" / name).write_bytes(content)
        (folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        for name, text in outputs.items():
            file = folder / name
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        result = CliRunner().invoke(main, ["bench", str(folder), "--html", str(tmp_path / "out.html"), *options])
        assert result.exit_code == 0, result.output
        return tmp_path / "out.html"

    return make


def row(id, type="present", pdf="a.pdf", **fields):
    return {"pdf": pdf, "page": 1, "id": id, "type": type, **fields}


def as_test(**fields):
    return parse_test(row("1", **fields), "test")


def marked(page, fields):
    """What the highlights of a test cover, with their tone."""
    fields = dict(fields)
    passed = fields.pop("passed")
    return [(page[h.start : h.end], h.tone) for h in find_highlights(page, [(0, as_test(**fields), passed)])]


TWO_PAGES = (
    {"it/a_pg1_repeat1.md": "one owl\nand a cat", "it/b_pg1_repeat1.md": "a dog", "you/a_pg1_repeat1.md": "one owl"},
    [
        row("owl", text="one owl"),
        row("hat", text="and a hat"),
        row("no-cat", "absent", text="cat"),
        row("dog", pdf="b.pdf", text="dog"),
    ],
)


def test_every_test_of_every_candidate_is_a_row_with_its_reason(report):
    """4 tests and 2 baselines, for 2 candidates; "you" has no output for b.pdf."""
    tree = Tree(report(*TWO_PAGES).read_text(encoding="utf-8"))
    rows = [e for e in tree.all("tr") if "data-test" in e]
    assert len(rows) == 12
    assert [e["text"].split()[0] for e in rows] == [e["class"] for e in rows]
    failed = [" ".join(e["words"]) for e in rows if e["class"] == "failed"]
    assert failed == [
        'failed present hat t text and a hat "and a hat" not found within 0 edits',
        'failed absent no-cat t text cat found "cat", 0 edits away',
        'failed present hat t text and a hat "and a hat" not found within 0 edits',
        "failed present dog t text dog no output",
        "failed baseline b.pdf_baseline baseline no output",
    ]


def test_the_summary_has_every_candidate_and_category(report):
    tree = Tree(report(*TWO_PAGES).read_text(encoding="utf-8"))
    (scores,) = tree.all("table", id="scores")
    heads = "candidate overall t 4 tests baseline 2 tests"
    assert " ".join(scores["words"]) == (
        f"{heads} it 0.750 0.667–1.000 0.500 0.333–1.000 1.000 1.000–1.000"
        " you 1 of 2 pages without output 0.500 0.000–0.833 0.500 0.000–0.667 0.500 0.000–1.000"
    )
    choices = [e["text"] for e in tree.all("option")]
    assert choices == ["all", "it", "you", "all", "t", "baseline", "all", "absent", "baseline", "present"]


def test_the_best_match_of_each_test_is_marked_in_the_text(report):
    tree = Tree(report(*TWO_PAGES, "--candidate", "it").read_text(encoding="utf-8"))
    marks = [(e["text"], e["class"], e["data-tests"]) for e in tree.all("mark") if "data-tests" in e]
    assert marks[:3] == [("one owl", "good", "0"), ("and a ", "near", "1"), ("cat", "bad", "1 2")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"type": "present", "text": "lazy dog", "passed": True}, [("lazy  dog", "good")]),
        ({"type": "present", "text": "QUICK", "case_sensitive": False, "passed": True}, [("quick", "good")]),
        ({"type": "present", "text": "brown ox jumped", "passed": False}, [("brown fox jumped", "near")]),
        ({"type": "present", "text": "nothing like it", "passed": False}, []),
        ({"type": "absent", "text": "lazy", "passed": True}, []),
        ({"type": "absent", "text": "fox", "passed": False}, [("fox", "bad")]),
        ({"type": "absent", "text": "The", "last_n": 3, "passed": False}, []),
        ({"type": "order", "before": "fox", "after": "dog", "passed": True}, [("fox", "good"), ("dog", "good")]),
        ({"type": "table", "cell": "12", "passed": True}, [("12", "good")]),
        ({"type": "math", "math": "x^2", "passed": True}, [("x^2", "good")]),
        ({"type": "format", "text": "quick", "format": "bold", "passed": True}, [("quick", "good")]),
        ({"type": "footnote", "marker": "1", "passed": True}, [("[^1]", "good")]),
        ({"type": "baseline", "passed": False}, []),
    ],
)
def test_each_kind_marks_what_it_looks_for(fields, expected):
    page = "The **quick** brown fox jumped\nover 112 lazy  dogs[^1] of size $x^2$ and more and more\n| 12 | b |"
    assert marked(page, fields) == expected


@given(st.text(max_size=60), st.text(max_size=20))
def test_a_match_lies_in_the_text(text, query):
    match = best_match(query, text)
    if match is None:
        assert not query or query not in text
    else:
        assert 0 <= match[0] < match[1] <= len(text)


@given(st.text(max_size=30), st.data())
def test_the_segments_are_the_text_and_each_has_the_tests_that_cover_it(text, data):
    spans = st.tuples(st.integers(0, len(text)), st.integers(0, len(text))).map(sorted).filter(lambda s: s[0] < s[1])
    found = data.draw(st.lists(spans, max_size=5)) if text else []
    pieces = list(segments(text, [Highlight(*span, i, "good") for i, span in enumerate(found)]))
    assert "".join(piece.text for piece in pieces) == text
    at = 0
    for piece in pieces:
        assert piece.tests == tuple(i for i, (start, end) in enumerate(found) if start <= at < end)
        at += len(piece.text)


def test_what_pages_and_tests_say_is_escaped(report):
    """Also file names; a NUL is shown as a symbol, and a lone surrogate as U+FFFD."""
    rows = [row(EVIL, pdf=f"{EVIL[:20].replace('/', '')}.pdf", text=EVIL + "\ud800"), row("2", text="x")]
    html = report({"a&b<i>/a_pg1_repeat1.md": EVIL}, rows).read_text(encoding="utf-8")
    tree = Tree(html)
    assert len(tree.all("script")) == 1
    assert tree.all("img") == []
    assert EVIL.replace("\0", "␀") in tree.all("pre")[0]["text"]
    assert "a&b<i>" in tree.all("table", id="scores")[0]["text"]
    assert "\0" not in html


def test_the_report_needs_no_network_and_no_other_file(report):
    tree = Tree(report(*TWO_PAGES).read_text(encoding="utf-8"))
    assert tree.all("link") == []
    assert all(not e["src"].startswith(("http", "/", ".")) for e in tree.found if "src" in e)
    (policy,) = [e["content"] for e in tree.all("meta") if e.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_pages_with_the_most_failures_come_first_and_the_rest_is_left_out(report):
    """Pages without any output come last, because there is nothing to look at."""
    rows = [
        row(f"{pdf}{i}", pdf=f"{pdf}.pdf", text="owl") for pdf, n in (("a", 1), ("b", 3), ("c", 5)) for i in range(n)
    ]
    outputs = {"it/a_pg1_repeat1.md": "cat", "it/b_pg1_repeat1.md": "cat"}
    html = report(outputs, rows, "--max-pages", "2").read_text(encoding="utf-8")
    heads = [e["text"].split()[0] for e in Tree(html).all("h3")]
    assert heads == ["b.pdf", "a.pdf"]
    assert "The 2 of 3 pages with the most failures" in html


def test_the_repeat_with_the_most_failures_is_shown(report):
    outputs = {"it/a_pg1_repeat1.md": "owl", "it/a_pg1_repeat2.md": "a cat"}
    tree = Tree(report(outputs, [row("1", text="owl")]).read_text(encoding="utf-8"))
    assert tree.all("pre")[0]["text"] == "a cat"
    assert "repeat 2 of 2" in tree.all("summary")[0]["text"]
    assert "failed 1/2" in next(e["text"] for e in tree.all("tr") if "data-test" in e)


def test_a_long_output_is_cut_and_counted(report):
    html = report({"it/a_pg1_repeat1.md": "word and " * 5000}, [row("1", text="owl")]).read_text(encoding="utf-8")
    assert "and 25,000 more characters" in html
    assert len(html) < 50_000


def test_an_image_page_is_inlined_and_made_smaller(report, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (3000, 1500), 255).save(tmp_path / "a.png")
    rows = [row("1", pdf="a.png", text="owl")]
    html = report({"it/a_pg1_repeat1.md": "owl"}, rows, pdfs=[("a.png", (tmp_path / "a.png").read_bytes())])
    (img,) = Tree(html.read_text(encoding="utf-8")).all("img")
    assert img["src"].startswith("data:image/jpeg;base64,")
    assert img["alt"] == "a.png, page 1"


def test_a_pdf_page_is_rendered(tmp_path):
    pytest.importorskip("PIL")
    pypdfium2 = pytest.importorskip("pypdfium2")
    pdf = pypdfium2.PdfDocument.new()
    pdf.new_page(200, 100)
    pdf.save(tmp_path / "a.pdf")
    assert page_image(tmp_path, "a.pdf", 1).startswith("data:image/jpeg;base64,")
    assert page_image(tmp_path, "a.pdf", 2) is None


@pytest.mark.parametrize(
    "name", ["none.pdf", "broken.pdf", "broken.png", "../outside.png", "nul\0.pdf", "folder", "x" * 5000]
)
def test_a_page_without_a_readable_image_in_the_folder_has_none(tmp_path, name):
    folder = tmp_path / "pdfs"
    (folder / "folder").mkdir(parents=True)
    for broken in (folder / "broken.pdf", folder / "broken.png"):
        broken.write_bytes(b"%PDF-1.4 not")
    if shutil.which("true") and pytest.importorskip("PIL"):
        pytest.importorskip("PIL.Image").new("L", (9, 9)).save(tmp_path / "outside.png")
    assert page_image(folder, name, 1) is None


def test_in_chromium_rows_are_shown_filtered_and_chosen_and_the_console_stays_silent(report, browse):
    """The last line of the script causes the only error, which shows that errors would be seen.

    Of the two failures of "it", one is of kind present; b.pdf has none left.
    """
    tree, console = browse(
        report(*TWO_PAGES),
        """
        document.title = form.elements.count.value;
        document.querySelector('tr[data-test="1"]').click();
        form.elements.candidate.value = "it";
        form.elements.kind.value = "present";
        form.elements.failed.checked = true;
        form.dispatchEvent(new Event("change"));
        the.last.line;
        """,
    )
    assert ["the is not defined" in line for line in console] == [True]
    assert tree.all("title")[0]["text"] == "12 verdicts"
    assert [e["text"] for e in tree.all("mark") if "chosen" in e["class"]] == ["and a ", "cat"]
    assert tree.all("output")[0]["text"] == "1 verdict"
    assert [e["words"][2] for e in tree.all("tr") if "data-test" in e and "hidden" not in e][:1] == ["hat"]
    assert ["hidden" in e for e in tree.all("article")] == [False, True]
