"""Regions and lines as they are cut out of their page: by outline, turned to the baseline, padded."""

import math

import pytest
from PIL import Image, ImageDraw

from ocr_rl.data.archives.crops import Crop, CutImage, PageImage, baseline_angle
from ocr_rl.data.images import ImageError, ImageFile

GREY = 100
TRIANGLE = ((10, 10), (30, 10), (10, 30))


@pytest.fixture
def page(tmp_path):
    """100 x 80 pixels of grey."""
    Image.new("L", (100, 80), GREY).save(tmp_path / "a.png")
    return ImageFile(tmp_path / "a.png")


def cut(opener, polygon, baseline=(), size=(100, 80), **settings):
    return CutImage(PageImage(opener, size), polygon, baseline, Crop("line", **settings))()


def test_outside_of_the_outline_is_white_unless_the_box_is_asked_for(page):
    masked, box = cut(page, TRIANGLE), cut(page, TRIANGLE, mask=False)
    assert masked.size == box.size == (20, 20)
    assert [masked.getpixel(at)[0] for at in ((2, 2), (18, 18))] == [GREY, 255]
    assert [box.getpixel(at)[0] for at in ((2, 2), (18, 18))] == [GREY, GREY]


def test_padding_is_white_or_the_page(page):
    masked, box = cut(page, TRIANGLE, padding=5), cut(page, TRIANGLE, padding=12, mask=False)
    assert (masked.size, box.size) == ((30, 30), (44, 44))
    assert [masked.getpixel(at)[0] for at in ((2, 2), (7, 7))] == [255, GREY]
    # its left upper corner is at (-2, -2) of the page
    assert [box.getpixel(at)[0] for at in ((1, 1), (2, 2), (43, 43))] == [255, GREY, GREY]


def test_coordinates_follow_the_size_of_the_image(page):
    assert cut(page, ((20, 20), (60, 20), (60, 40), (20, 40)), size=(200, 160)).size == (20, 10)
    assert cut(page, ((20, 20), (60, 20), (60, 40), (20, 40)), size=(0, 0)).size == (40, 20)


def test_what_lies_outside_of_the_image_is_cut_off(page):
    assert cut(page, ((-10, -10), (30, -10), (30, 20), (-10, 20))).size == (30, 20)


def test_a_slanting_line_becomes_level(tmp_path):
    """A bar that rises by 1 in 2 on a page of 200 x 200: turned, it is a black box of its length and height."""
    image = Image.new("L", (200, 200), 255)
    ends, side = ((30, 120), (150, 60)), (5, 10)  # (5, 10) is at a right angle to (120, -60)
    bar = [*ends, (ends[1][0] + side[0], ends[1][1] + side[1]), (ends[0][0] + side[0], ends[0][1] + side[1])]
    ImageDraw.Draw(image).polygon(bar, fill=0)
    image.save(tmp_path / "a.png")
    found = cut(ImageFile(tmp_path / "a.png"), tuple(bar), ends, (200, 200), deskew=True)
    assert found.size == (pytest.approx(math.hypot(120, 60), abs=2), pytest.approx(math.hypot(5, 10), abs=2))
    dark = sum(found.convert("L").histogram()[:128])
    assert dark > 0.85 * found.width * found.height
    assert cut(ImageFile(tmp_path / "a.png"), tuple(bar), ends, (200, 200)).size == (125, 70)


@pytest.mark.parametrize(
    ("baseline", "degrees"),
    [
        ([(0, 0), (10, 0)], 0),
        ([(0, 0), (5, 9), (10, 10)], 45),
        ([(10, 0), (0, 0)], 0),  # drawn from right to left
        ([(20, 10), (0, 0)], math.degrees(math.atan(0.5))),
        ([(10, 0), (0, 1)], math.degrees(math.atan(-0.1))),
        ([(0, 10), (0, 0)], -90),  # runs up the page
        ([(0, 0), (0, 10)], 90),
        ([(3, 3)], 0),
        ([], 0),
    ],
)
def test_the_angle_of_a_baseline_never_turns_text_upside_down(baseline, degrees):
    assert math.degrees(baseline_angle(baseline)) == pytest.approx(degrees)


def test_an_image_of_another_shape_than_the_file_says_is_refused(page):
    message = "says that the page is 80 x 100, but its image is 100 x 80: another shape"
    with pytest.raises(ImageError) as error:
        PageImage(page, (80, 100))()
    assert error.value.reason == message
    with pytest.raises(ImageError, match=message):
        cut(page, TRIANGLE, size=(80, 100))


def test_an_outline_beyond_the_image_is_refused(page):
    with pytest.raises(ImageError) as error:
        cut(page, ((200, 10), (300, 10), (300, 20)), size=(0, 0))
    assert error.value.reason == "polygon is outside of the image, which is 100 x 80"


def test_a_page_that_changed_on_disk_is_read_again(page):
    assert cut(page, TRIANGLE).getpixel((2, 2))[0] == GREY
    Image.new("L", (100, 80), 7).save(page.path)
    assert cut(page, TRIANGLE).getpixel((2, 2))[0] == 7
