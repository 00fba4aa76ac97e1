"""Rendered pages: the same seed gives the same bytes, and a page's text is right about its page."""

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

import numpy as np
import pytest

from ocr_rl.data.check import check_dataset
from ocr_rl.data.loading import load_pages
from ocr_rl.data.synthetic import words
from ocr_rl.data.synthetic.render import STYLES, Layout, LayoutKind, render_collection, render_page
from ocr_rl.data.synthetic.typefaces import ALPHABET, FACES, face_alphabet, load_face
from ocr_verifiers import Rubric, parse_test

SAMPLE = Path(__file__).resolve().parents[3] / "data" / "sample"
DECORATED = [Layout(kind, header=1.0, page_number=1.0) for kind in get_args(LayoutKind)]
SEEDS = range(12)


def pixels(page):
    return np.asarray(page.image)


def test_the_same_seed_gives_the_same_files_to_the_byte(tmp_path):
    for folder in ("one", "two"):
        render_collection(tmp_path / folder, 6, seed=3, layouts=DECORATED, style=STYLES["carbon"])
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / n).rglob("*.*")} for n in ("one", "two"))
    assert len(one) == 6 + 2
    assert one == two


def test_another_seed_gives_other_pages():
    texts = {render_page(seed, Layout(), STYLES["print"]).text for seed in SEEDS}
    assert len(texts) == len(SEEDS)


def test_a_page_depends_on_the_seed_and_its_number_only(tmp_path):
    """Page 1 of two is page 1 of four, so a longer collection begins with the shorter one."""
    for count in (2, 4):
        render_collection(tmp_path / str(count), count, seed=0, layouts=[Layout()], style=STYLES["print"])
    short, long = ((tmp_path / n / "images" / "rendered_00001.png").read_bytes() for n in ("2", "4"))
    assert short == long


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("layout", DECORATED, ids=lambda layout: layout.kind)
def test_sides_are_multiples_of_16_and_the_image_is_grey(layout, style):
    for seed in SEEDS:
        image = render_page(seed, layout, STYLES[style]).image
        assert image.mode == "L"
        assert [side % 16 for side in image.size] == [0, 0]


@pytest.mark.parametrize("layout", [Layout(), *DECORATED], ids=repr)
def test_a_reference_passes_the_tests_of_its_page(layout):
    for seed in range(60):
        page = render_page(seed, layout, STYLES["clean"])
        record = {"pdf": "p", "page": 1}
        tests = [parse_test(record | {"id": str(i)} | test, "p") for i, test in enumerate(page.tests)]
        score = Rubric().score(page.text, tests=tests)
        assert [(test.type, verdict.why) for test, verdict in score.verdicts if not verdict.passed] == []


@pytest.mark.parametrize("layout", DECORATED, ids=lambda layout: layout.kind)
def test_headers_and_page_numbers_are_on_the_page_and_not_in_its_text(layout):
    for seed in range(40):
        page = render_page(seed, layout, STYLES["clean"])
        inked = "".join(character for character, _, _ in page.centers)
        absent = [test["text"] for test in page.tests if test["type"] == "absent"]
        assert 1 <= len(absent) <= 2  # a header whose capitals the face lacks gets no test
        for text in absent:
            assert text in inked
            assert text not in page.text


def test_a_page_without_decoration_has_its_text_and_nothing_else_on_it():
    for seed in SEEDS:
        page = render_page(seed, Layout(), STYLES["print"])
        assert "".join(character for character, _, _ in page.centers) == page.text.replace("\n", "")


def test_columns_read_left_then_right():
    """With n lines per column, characters of the second n lines stand to the right of those of the first."""
    for seed in SEEDS:
        page = render_page(seed, Layout("columns", lines=(3, 3)), STYLES["clean"])
        lines = page.text.split("\n")
        left = len("".join(lines[:3]))
        assert len(lines) == 6
        assert max(x for _, x, _ in page.centers[:left]) < min(x for _, x, _ in page.centers[left:])


def test_a_table_is_a_markdown_table_of_its_cells():
    page = render_page(0, Layout("table", lines=(4, 4)), STYLES["clean"])
    lines = page.text.split("\n")
    assert len(lines) == 5
    assert lines[1] == "| --- | --- | --- |"
    assert all(line.count("|") == 4 for line in lines)


def test_a_table_is_transcribed_in_html_on_request():
    """The same page, in other markup."""
    markdown, html = (render_page(0, Layout(kind, lines=(4, 4)), STYLES["clean"]) for kind in ("table", "html-table"))
    assert np.array_equal(pixels(markdown), pixels(html))
    assert html.text.startswith("<table>\n<tr><td>")
    assert Rubric(weights={"tables": 1.0}).score(html.text, reference=markdown.text).reward == 1.0


@pytest.mark.parametrize("face", ["serif", "typewriter"])
def test_formulas_are_transcribed_in_latex(face):
    """Every character that is drawn is in the formula, in order, and the rest of the formula is markup."""
    for seed in range(40):
        page = render_page(seed, Layout("formulas", lines=(2, 2)), replace(STYLES["clean"], faces=(face,)))
        plain = re.sub(r"\\frac|[{}$^_ \n]", "", page.text)
        assert "".join(character for character, _, _ in page.centers) == plain
        assert [test["math"] for test in page.tests[1:]] == page.text.replace("$", "").split("\n")


def test_lines_have_the_length_asked_for():
    for seed in SEEDS:
        page = render_page(seed, Layout(lines=(2, 4), characters=(5, 9)), STYLES["print"])
        lines = page.text.split("\n")
        assert 2 <= len(lines) <= 4
        assert all(5 <= len(line) <= 9 for line in lines)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        ({"lines": (6, 3)}, "lines from 6 to 3; write the lower number, at least 1, and then the higher"),
        ({"lines": (0, 3)}, "lines from 0 to 3; write the lower number, at least 1, and then the higher"),
        ({"characters": (0, 0)}, "characters from 0 to 0; write the lower number, at least 1, and then the higher"),
    ],
)
def test_an_empty_range_is_an_error(ranges, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        Layout(**ranges)


def test_styles_look_different():
    """The same text: carbon copies are on grey paper, scans are not straight, clean pages are nearly white."""
    pages = {name: [pixels(render_page(seed, Layout(), style)) for seed in SEEDS] for name, style in STYLES.items()}
    paper = {name: np.mean([np.median(page) for page in of]) for name, of in pages.items()}
    assert paper["carbon"] < 205 < 215 < paper["print"] < paper["clean"]
    contrast = {name: np.mean([np.ptp(np.percentile(page, [1, 99])) for page in of]) for name, of in pages.items()}
    assert contrast["carbon"] < 0.75 * contrast["scan"]


@pytest.mark.parametrize("style", STYLES)
def test_ink_is_where_the_characters_are(style):
    """A page has ink at its characters: darker there than its paper, whatever the style."""
    for seed in SEEDS:
        page = render_page(seed, Layout(random_strings=0.0), STYLES[style])
        grey = pixels(page).astype(float)
        spots = [(int(y), int(x)) for character, x, y in page.centers if character.isalnum()]
        darkest = [grey[y - 4 : y + 5, x - 4 : x + 5].min() for y, x in spots]
        assert np.median(darkest) < np.median(grey) - 30


@pytest.mark.parametrize("face", FACES)
def test_every_character_of_a_face_has_a_glyph(face):
    font = load_face(face, 32)

    def glyph(character):
        mask = font.getmask(character)
        return mask.size, bytes(mask)

    missing = {glyph("\u4e00"), glyph("\ufffe")}
    for character in face_alphabet(face).replace(" ", ""):
        size, ink = glyph(character)
        assert any(ink), f"{face} draws {character!r} blank"
        assert (size, ink) not in missing, f"{face} has no glyph for {character!r}"


def test_alphabets_name_each_character_once_and_lie_within_the_whole():
    for face in FACES:
        alphabet = face_alphabet(face)
        assert len(alphabet) == len(set(alphabet))
        assert set(alphabet) <= set(ALPHABET)


def test_invented_lines_keep_to_the_alphabet():
    rng = Random(0)
    for _ in range(300):
        assert set(words.line(rng, face_alphabet("typewriter"), 1, 40)) <= set(face_alphabet("typewriter"))


def test_a_collection_loads_as_pages_and_has_no_problem(tmp_path):
    render_collection(tmp_path, 9, seed=1, layouts=DECORATED, style=STYLES["scan"], name="mill")
    pages = load_pages(tmp_path)
    assert [page.id for page in pages] == [f"images/mill_{n:05d}.png" for n in range(9)]
    assert all(page.text and page.tests and page.image.mode == "RGB" for page in pages)
    assert {page.metadata["source"] for page in pages} == {"mill"}
    assert len({page.metadata["doc"] for page in pages}) == 9
    report = check_dataset(tmp_path)
    assert list(report.problems) == []


def test_the_sample_is_what_its_card_says(tmp_path):
    """40 pages without a problem, and the command of data/README.md still gives their text and tests."""
    report = check_dataset(SAMPLE)
    assert list(report.problems) == []
    assert report.summary["pages"] == 40
    layouts = [Layout(kind, header=0.5, page_number=0.5) for kind in ("lines", "columns", "table")]
    render_collection(tmp_path, 40, seed=2026, layouts=layouts, style=STYLES["print"], name="sample")
    for name in ("metadata.jsonl", "tests.jsonl"):
        assert (tmp_path / name).read_text() == (SAMPLE / name).read_text()


def test_every_row_of_the_sample_says_where_it_is_from():
    rows = [json.loads(line) for line in (SAMPLE / "metadata.jsonl").read_text().splitlines()]
    assert all(set(row) == {"file_name", "text", "source", "level", "doc"} for row in rows)


def test_without_texts_the_pages_and_their_tests_are_the_same(tmp_path):
    for folder, texts in (("with", True), ("without", False)):
        render_collection(tmp_path / folder, 3, seed=5, layouts=[Layout()], style=STYLES["clean"], texts=texts)
    (rows, bare), tests = (
        [
            [json.loads(line) for line in (tmp_path / folder / file).read_text().splitlines()]
            for folder in ("with", "without")
        ]
        for file in ("metadata.jsonl", "tests.jsonl")
    )
    assert bare == [{key: value for key, value in row.items() if key != "text"} for row in rows]
    assert all(row["text"] for row in rows)
    assert tests[0] == tests[1]
