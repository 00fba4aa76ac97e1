"""Opening page images: upright, on white, and a clear error where it cannot be done."""

import io
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from ocr_rl.data import images
from ocr_rl.data.cells import TableImage
from ocr_rl.data.images import EncodedImage, ImageError, ImageFile, PdfPage, open_pdf, tiff_frames


def png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def test_an_image_is_turned_as_its_exif_orientation_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("L", (30, 10)).save(tmp_path / "turned.jpg", exif=exif)
    assert ImageFile(tmp_path / "turned.jpg")().size == (10, 30)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_paper_is_white(mode):
    image = EncodedImage(png(Image.new(mode, (2, 2), 0)))()
    assert image.getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_keep_their_grey_levels():
    """Half of 65,536 is half of 256, not white."""
    level = np.full((4, 4), 128 * 256, dtype=np.uint16)
    assert EncodedImage(png(Image.fromarray(level)))().getpixel((0, 0)) == 128


def test_twelve_bits_in_sixteen_are_as_light_as_paper():
    levels = np.array([[0, 2048, 4095]], dtype=np.uint16)
    assert list(EncodedImage(png(Image.fromarray(levels)))().tobytes()) == [0, 128, 255]


@pytest.mark.parametrize(
    ("levels", "seen"),
    [
        (np.array([[0, 32768, 65535]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0, 100, 255]], dtype=np.int32), [0, 100, 255]),
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 127, 255]),
        (np.array([[0, 100, 255]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-1, 0, 1]], dtype=np.float32), [0, 127, 255]),
    ],
    ids=["16 bits in 32", "8 bits in 32", "float up to 1", "float up to 255", "negative numbers"],
)
def test_numbers_are_scaled_to_what_a_person_sees(tmp_path, levels, seen):
    Image.fromarray(levels).save(tmp_path / "page.tif")
    assert list(ImageFile(tmp_path / "page.tif")().tobytes()) == seen


def test_sixteen_bits_where_zero_is_white_are_not_shown_as_a_negative(tmp_path):
    Image.fromarray(np.array([[0, 65535]], dtype=np.uint16)).save(tmp_path / "page.tif", tiffinfo={262: 0})
    assert list(ImageFile(tmp_path / "page.tif")().tobytes()) == [255, 0]


def test_numbers_that_are_not_finite_are_no_image(tmp_path):
    Image.fromarray(np.array([[0, np.inf]], dtype=np.float32)).save(tmp_path / "page.tif")
    with pytest.raises(ImageError, match=r"page\.tif: holds numbers that are not finite"):
        ImageFile(tmp_path / "page.tif")()


def test_lab_colours_become_rgb(tmp_path):
    Image.new("LAB", (2, 2), (255, 128, 128)).save(tmp_path / "page.tif")
    assert min(ImageFile(tmp_path / "page.tif")().getpixel((0, 0))) >= 254


def test_a_frame_of_a_tiff_is_a_page_and_the_whole_file_is_none(tmp_path):
    first, *rest = [Image.new("L", (4, 4), grey) for grey in (10, 20, 30)]
    first.save(tmp_path / "book.tif", save_all=True, append_images=rest)
    assert ImageFile(tmp_path / "book.tif", 2)().getpixel((0, 0)) == 30
    with pytest.raises(ImageError, match=r"book\.tif: has 3 pages; write a row or text for each of them"):
        ImageFile(tmp_path / "book.tif")()


def test_a_thumbnail_within_a_tiff_is_not_a_page(tmp_path):
    small = Image.new("L", (2, 2), 10)
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.new("L", (4, 4), 20).save(tmp_path / "page.tif", save_all=True, append_images=[small])
    assert tiff_frames(tmp_path / "page.tif") == [0]
    assert ImageFile(tmp_path / "page.tif")().getpixel((0, 0)) == 20


@pytest.mark.parametrize("side", [100, 1288, 333])
def test_a_pdf_page_is_as_long_as_asked_for(tmp_path, side):
    """612 x 792 points, so the shorter side is 612 / 792 of the longer."""
    Image.new("L", (612, 792), 255).save(tmp_path / "letter.pdf")
    image = PdfPage(tmp_path / "letter.pdf", 0, side)()
    assert image.height == side
    assert image.width == pytest.approx(side * 612 / 792, abs=1)


def test_two_threads_do_not_use_pdfium_at_once(tmp_path):
    Image.new("L", (6, 8), 255).save(tmp_path / "page.pdf")
    with ThreadPoolExecutor(1) as other:
        with open_pdf(tmp_path / "page.pdf"):
            rendered = other.submit(PdfPage(tmp_path / "page.pdf", 0, 8))
            with pytest.raises(TimeoutError):
                rendered.result(0.2)
        assert rendered.result(60).height == 8


def test_every_opener_can_be_pickled(tmp_path):
    page = Image.new("L", (6, 8), 200)
    page.save(tmp_path / "page.png")
    page.save(tmp_path / "page.pdf")
    table = datasets.Dataset.from_dict({"image": [{"bytes": png(page), "path": None}]})
    openers = [
        ImageFile(tmp_path / "page.png"),
        PdfPage(tmp_path / "page.pdf", 0, 8),
        EncodedImage(png(page)),
        TableImage(table, "image", 0, "table:1"),
    ]
    for opener in openers:
        assert pickle.loads(pickle.dumps(opener))().convert("L").getpixel((3, 3)) == 200


def test_nothing_is_read_before_the_call():
    missing = ImageFile(Path("no/such.png"))
    with pytest.raises(ImageError, match=r"no/such.png: cannot be read as an image"):
        missing()


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "page.png").write_text("not an image")
    with pytest.raises(ValueError, match=r"page\.png: is not an image in a format that Pillow knows"):
        ImageFile(tmp_path / "page.png")()


def test_a_truncated_image_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (50, 50), dtype=np.uint8)
    (tmp_path / "page.png").write_bytes(png(Image.fromarray(noise))[:1000])
    with pytest.raises(ValueError, match=r"page\.png: cannot be read as an image: .*truncated"):
        ImageFile(tmp_path / "page.png")()


def test_a_decompression_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 99)
    bomb = EncodedImage(png(Image.new("1", (10, 10))), "bomb.png")
    with pytest.raises(ImageError, match=r"bomb\.png: is larger than 99 pixels; scale it down"):
        bomb()


def test_pillows_own_limit_gives_the_same_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(ImageError, match="is larger than 178,956,970 pixels"):
        EncodedImage(png(Image.new("1", (10, 10))))()


def test_a_file_that_is_no_pdf_is_named(tmp_path):
    (tmp_path / "book.pdf").write_text("nothing")
    with pytest.raises(ImageError, match=r"book\.pdf: cannot be read as a PDF"):
        PdfPage(tmp_path / "book.pdf", 0)()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_an_animation_is_refused_and_a_still_image_of_the_same_kind_is_read(tmp_path, suffix):
    frames = [Image.new("L", (8, 8), grey) for grey in (10, 90, 200)]
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / f"still.{suffix}")
    with pytest.raises(ImageError, match="is an animation of 3 frames; save the page as a still image"):
        ImageFile(tmp_path / f"moving.{suffix}")()
    assert ImageFile(tmp_path / f"still.{suffix}")().size == (8, 8)


def test_the_previews_of_a_photograph_are_no_animation(tmp_path):
    frames = [Image.new("RGB", size) for size in ((16, 8), (4, 2))]
    frames[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=frames[1:])
    assert ImageFile(tmp_path / "a.jpg")().size == (16, 8)
