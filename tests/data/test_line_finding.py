"""Lines that are found on the image of a page, against pages whose characters have known places."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from ocr_rl.data.archives.layout import bounds
from ocr_rl.data.lines.finding import find_lines
from ocr_rl.data.synthetic.render import Layout, Style, render_page
from ocr_rl.data.synthetic.typefaces import load_face

PLAIN = Style(font_size=(14, 20), paper=(190, 255), ink=(0, 100))
LINES = Layout(lines=(5, 12), characters=(12, 45), random_strings=0.0)


def lines_of_characters(page):
    """The places of the characters of each line of text, which has as many as its places are."""
    texts, centers = page.text.split("\n"), [one for one in page.centers if one[0] != " "]
    found = []
    for text in texts:
        count = len(text.replace(" ", ""))
        found.append(centers[:count])
        centers = centers[count:]
    assert not centers
    return found


def inside(line, characters):
    left, top, right, bottom = bounds(line.polygon)
    return [c for c, x, y in characters if left <= x <= right and top <= y <= bottom]


@pytest.mark.parametrize("seed", range(12))
def test_each_line_of_a_page_is_found_with_all_its_characters_and_no_others(seed):
    page = render_page(seed, LINES, PLAIN)
    expected = lines_of_characters(page)
    found = find_lines(page.image).lines
    assert len(found) == len(expected)
    everything = [one for line in expected for one in line]
    for line, characters in zip(found, expected, strict=True):
        assert inside(line, everything) == [c for c, _, _ in characters]


@pytest.mark.parametrize("degrees", [-3, -1, 0.5, 2.5])
def test_lines_of_a_page_that_is_askew_are_as_many_and_their_baselines_as_steep(degrees):
    page = render_page(3, replace(LINES, lines=(9, 9), characters=(35, 45)), PLAIN)
    turned = page.image.convert("L").rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=230)
    lines = find_lines(turned).lines
    assert len(lines) == 9
    for line in lines:
        (x0, y0), (x1, y1) = line.baseline
        assert np.degrees(np.arctan2(y1 - y0, x1 - x0)) == pytest.approx(degrees, abs=0.5)


def test_of_two_columns_the_left_one_comes_first():
    page = render_page(5, Layout(kind="columns", lines=(8, 8), characters=(14, 20), random_strings=0.0), PLAIN)
    layout = find_lines(page.image)
    assert [len(region.lines) for region in layout.regions] == [8, 8]
    left, right = ([bounds(line.polygon) for line in region.lines] for region in layout.regions)
    assert max(box[2] for box in left) < min(box[0] for box in right)
    assert [line.id for line in layout.lines] == [f"r{r}l{n}" for r in (1, 2) for n in range(1, 9)]


def test_outlines_are_in_pixels_of_the_image_however_large_it_is():
    page = render_page(4, LINES, PLAIN)
    scale = 4000 / max(page.image.size)
    large = page.image.resize(tuple(round(scale * n) for n in page.image.size), Image.Resampling.BICUBIC)
    small, found = find_lines(page.image).lines, find_lines(large).lines
    assert len(small) == len(found)
    for one, other in zip(small, found, strict=True):
        tolerance = 8 * scale
        assert bounds(other.polygon) == pytest.approx([scale * n for n in bounds(one.polygon)], abs=tolerance)


def test_rules_frames_holes_and_specks_are_no_text():
    page = render_page(6, replace(LINES, lines=(6, 6)), PLAIN)
    width, height = (n + 160 for n in page.image.size)
    canvas = Image.new("L", (width, height), 230)
    canvas.paste(page.image.convert("L"), (80, 80))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((4, 4, width - 5, height - 5), outline=20, width=4)
    draw.line((90, 70, width - 90, 70), fill=20, width=2)
    for y in (height // 3, 2 * height // 3):
        draw.ellipse((20, y - 20, 60, y + 20), fill=10)
    for x in range(30, width - 30, 90):
        draw.point((x, 30), fill=0)
    assert len(find_lines(canvas).lines) == 6


@pytest.mark.parametrize("number", ["-2-", "- 7 -", "– 1 –", "- 12 -"])
@pytest.mark.parametrize("face", ["serif", "typewriter"])
def test_a_page_number_between_dashes_is_a_line_and_a_stroke_alone_is_none(number, face):
    text = "among the papers of the late\nsecretary was a note of the\nmeeting, and two letters that\nnobody answered\n"
    font = load_face(face, 24)
    page = Image.new("L", (600, 400), 235)
    draw = ImageDraw.Draw(page)
    draw.multiline_text((60, 120), text, 20, font)
    draw.text((300, 350), "|", 20, font)
    assert len(find_lines(page).lines) == 4
    draw.text((260, 40), number, 20, font)
    assert len(find_lines(page).lines) == 5


@pytest.mark.parametrize("size", [(1, 1), (3, 400), (400, 3), (600, 800)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_page_without_text_has_no_lines(size, level):
    layout = find_lines(Image.new("L", size, level))
    assert layout.lines == []
    assert layout.size == size


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_lines_are_within_the_image_whatever_is_on_it(width, height, seed, share):
    rng = np.random.default_rng(seed)
    pixels = np.where(rng.random((height, width)) < share, rng.integers(0, 256, (height, width)), 255)
    for line in find_lines(Image.fromarray(pixels.astype(np.uint8))).lines:
        left, top, right, bottom = bounds(line.polygon)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
