"""The model's image processor leaves a fitted page unchanged, and makes as many image tokens as `tokens` counts."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from PIL import Image
from transformers import PixtralImageProcessorPil, Qwen2VLImageProcessorPil
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from helpers.tiny_models import ARCHITECTURES, IMAGE, make_page, make_policy, make_processor
from ocr_rl.models.checkpoints.loading import pixel_budget
from ocr_rl.models.pixels import PixelBudget

page_sizes = st.tuples(st.integers(1, 4000), st.integers(1, 4000)).filter(lambda s: max(s) <= 40 * min(s))


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((64, 32), (64, 32)),  # multiples of 16 within the budget stay
        ((50, 17), (64, 32)),  # 3.1 and 1.1 image tokens: rounded up, like Pixtral
        ((128, 64), (64, 32)),  # halved: the longest edge is 64
        ((640, 100), (64, 16)),  # 10 : 1.6
        ((6400, 10), (64, 16)),  # at least one image token
    ],
)
def test_a_longest_edge(size, fitted):
    assert PixelBudget(16, longest_edge=64).fitted_size(*size) == fitted


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((64, 64), (64, 64)),
        ((70, 50), (64, 48)),  # 4.4 and 3.1 tokens: rounded to the nearest, like Qwen
        ((256, 256), (64, 64)),  # at most 4096 pixels
        ((200, 100), (80, 32)),  # scaled by sqrt(4096 / 20000): 90.5 x 45.3, rounded down
        ((16, 16), (32, 32)),  # at least 1024 pixels
        ((20, 30), (32, 48)),  # scaled by sqrt(1024 / 600): 26.1 x 39.2, rounded up
    ],
)
def test_a_number_of_pixels(size, fitted):
    assert PixelBudget(16, max_pixels=4096, min_pixels=1024).fitted_size(*size) == fitted


def test_max_pixels_also_limits_a_budget_with_a_longest_edge():
    """(64, 64) within 2048 pixels: scaled by sqrt(1/2) to 45.3, rounded down to 32."""
    assert PixelBudget(16, longest_edge=64, max_pixels=2048).fitted_size(64, 64) == (32, 32)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((1200, 60), (640, 32)),  # a line of a scan: 20 times as wide as high, so the longest edge binds
        ((480, 60), (384, 48)),  # lowered to a line's height
        ((480, 48), (480, 48)),
        ((320, 40), (384, 48)),  # enlarged to it
        ((320, 32), (480, 48)),  # by half
        ((320, 20), (512, 32)),  # by more, to two thirds of it
        ((200, 18), (368, 32)),
        ((50, 20), (80, 32)),
        ((640, 30), (640, 32)),  # as wide as can be
        ((320, 64), (320, 64)),  # less than six times as wide as high: a short line with its neighbours, or a page
        ((1280, 100), (624, 48)),
        ((2000, 300), (320, 48)),
    ],
)
def test_a_line_is_brought_to_the_height_that_the_model_reads(size, fitted):
    assert PixelBudget(16, longest_edge=640, line_height=48).fitted_size(*size) == fitted


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        ((160, 96), (288, 176)),  # 15,360 pixels; 1.77 times as large
        ((300, 100), (384, 128)),
        ((240, 200), (240, 208)),  # exactly as many pixels
        ((320, 208), (320, 208)),  # more
        ((50, 600), (64, 640)),  # as long as can be
        ((320, 64), (320, 64)),  # a short line between its neighbours
        ((640, 96), (320, 48)),  # a line
        ((3000, 2000), (640, 432)),
    ],
)
def test_a_small_page_is_enlarged_where_the_model_wants_it(size, fitted):
    assert PixelBudget(16, longest_edge=640, line_height=48, page_pixels=48_000).fitted_size(*size) == fitted


@given(page_sizes, st.sampled_from([None, 48_000]))
def test_a_fitted_line_or_page_is_not_enlarged_by_more_than_half_again_and_never_beyond_the_longest_edge(size, pixels):
    budget = PixelBudget(16, longest_edge=640, line_height=48, page_pixels=pixels)
    fitted = budget.fitted_size(*size)
    assert max(fitted) <= 640
    again = budget.fitted_size(*fitted)
    assert again == fitted or (fitted[1] == 32 and again[1] in (32, 48))


@given(page_sizes, st.sampled_from([(28, 1540), (16, 640), (14, 1024), (16, 700)]))
@example((1650, 2200), (28, 1540))
def test_pixtral_leaves_a_fitted_page_unchanged(size, model):
    multiple, longest_edge = model
    width, height = PixelBudget(multiple, longest_edge=longest_edge).fitted_size(*size)
    theirs = get_resize_output_image_size(
        np.zeros((height, width, 3)), (longest_edge, longest_edge), (multiple, multiple)
    )
    assert theirs == (height, width)


@given(page_sizes, st.sampled_from([(28, 4 * 784, 1280 * 784), (28, 4 * 784, 1003520), (32, 65536, 16777216)]))
@example((1650, 2200), (28, 4 * 784, 1280 * 784))
@example((1288, 1000), (28, 4 * 784, 1280 * 784))
def test_qwen_leaves_a_fitted_page_unchanged(size, model):
    multiple, min_pixels, max_pixels = model
    assume(min(size) > multiple * max(1.0, (size[0] * size[1] / max_pixels) ** 0.5))  # at least one image token
    width, height = PixelBudget(multiple, max_pixels=max_pixels, min_pixels=min_pixels).fitted_size(*size)
    assert smart_resize(height, width, multiple, min_pixels, max_pixels) == (height, width)
    assert min_pixels <= width * height <= max_pixels


@given(page_sizes, st.integers(20_000, 3_000_000))
def test_a_lowered_budget_is_kept(size, max_pixels):
    assume(min(size) > 28 * max(1.0, (size[0] * size[1] / max_pixels) ** 0.5))  # at least one image token
    budget = PixelBudget(28, max_pixels=max_pixels, min_pixels=3136)
    width, height = budget.fitted_size(*size)
    assert width * height <= max_pixels
    assert budget.fitted_size(width, height) == (width, height)


@given(page_sizes)
def test_the_shape_of_a_page_is_kept_up_to_one_image_token_per_side(size):
    budget = PixelBudget(28, max_pixels=1003520, min_pixels=3136)
    scale = min(1.0, (1003520 / (size[0] * size[1])) ** 0.5)
    assume(min(size) * scale > 3 * 28)
    for side, fitted in zip(size, budget.fitted_size(*size), strict=True):
        assert (
            min(abs(fitted - side), abs(fitted - side * scale)) <= 28
        )  # rounding alone can bring it under the maximum


@given(st.tuples(st.integers(8, 200), st.integers(8, 200)), st.sampled_from(ARCHITECTURES))
def test_the_processor_makes_as_many_image_tokens_as_are_counted(size, architecture):
    policy = POLICIES[architecture]
    assert policy.prompt(make_page(0, size)).token_ids.count(IMAGE) == policy.budget.tokens(*size)


POLICIES = {name: make_policy(name) for name in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_processor_normalises_the_fitted_pixels_and_does_not_resample_them(architecture):
    policy = POLICIES[architecture]
    image = policy.budget.fit(make_page(0, (150, 90)).image)
    prompted = policy.prompt(make_page(0, (150, 90))).inputs["pixel_values"]
    alone = policy.processor.image_processor(images=[image], do_resize=False, return_tensors="pt")["pixel_values"]
    assert prompted.equal(alone.reshape(prompted.shape))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_max_pixels_lowers_the_budget_and_never_raises_it(architecture):
    processor = make_processor(architecture)
    own, lower, higher = (pixel_budget(processor, pixels).fitted_size(64, 64) for pixels in (None, 2048, 10**6))
    assert own == higher == (64, 64)
    assert lower == (32, 32)


def test_the_budget_is_read_from_the_image_processor():
    class Processor:
        image_processor = Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056)

    assert pixel_budget(Processor, None) == PixelBudget(28, max_pixels=12845056, min_pixels=3136)
    assert pixel_budget(Processor, 1003520) == PixelBudget(28, max_pixels=1003520, min_pixels=3136)
    Processor.image_processor = PixtralImageProcessorPil(
        size={"longest_edge": 1540}, patch_size={"height": 28, "width": 28}
    )
    assert pixel_budget(Processor, None) == PixelBudget(28, longest_edge=1540)
    Processor.image_processor = PixtralImageProcessorPil(
        size={"longest_edge": 640}, patch_size={"height": 16, "width": 16}, line_height=32, page_pixels=9000
    )
    assert pixel_budget(Processor, None) == PixelBudget(16, longest_edge=640, line_height=32, page_pixels=9000)


def test_sizes_of_lines_and_pages_are_saved_with_the_image_processor(tmp_path):
    PixtralImageProcessorPil(line_height=32, page_pixels=48_000).save_pretrained(tmp_path)
    images = PixtralImageProcessorPil.from_pretrained(tmp_path)
    assert (images.line_height, images.page_pixels) == (32, 48_000)


def test_a_page_that_fits_is_not_resampled():
    image = make_page(0, (48, 32)).image
    assert list(PixelBudget(16, longest_edge=64).fit(image).getdata()) == list(image.getdata())


def test_a_grey_page_becomes_rgb():
    assert PixelBudget(16, longest_edge=64).fit(Image.new("L", (16, 16))).mode == "RGB"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9000), (9000, 20), (3, 2)])
def test_pages_of_one_pixel_and_very_long_ones_are_read(architecture, size):
    policy = make_policy(architecture)
    image = policy.budget.fit(Image.new("L", size))
    assert image.size == policy.budget.fitted_size(*size)
    assert len(policy.prompt(make_page(0, size))) > 0


def test_a_page_longer_than_image_processors_accept_gets_white_beside_it():
    budget = PixelBudget(28, min_pixels=3136, max_pixels=12845056)
    image = budget.fit(Image.new("L", (10, 9000), 0))
    assert image.size == (84, 8988)
    assert image.getpixel((2, 4000)) == (0, 0, 0)
    assert image.getpixel((80, 4000)) == (255, 255, 255)
    assert smart_resize(8988, 84, 28, 3136, 12845056) == (8988, 84)
