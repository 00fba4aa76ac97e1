"""What type, print, paper and scanner do to a page: the same seed the same pixels, strength 0 nothing at all, and
never so much that nobody could read it."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_rl.data.synthetic import paper, printing, scanning, typing
from ocr_rl.data.synthetic.render import STYLES, Layout, render_page
from ocr_rl.data.synthetic.scan import LEGIBLE, PRINT, TYPESCRIPT, Effect, Frame, Look, applied, render_scan
from ocr_rl.data.synthetic.text import EVERYDAY, Line, make_line
from ocr_rl.data.synthetic.typefaces import load_face

INK = [
    typing.uneven_inking,
    typing.ribbon_fade,
    typing.ribbon_weave,
    typing.worn_type,
    typing.clogged_type,
    typing.double_stroke,
    printing.ink_spread,
    printing.thin_ink,
    printing.broken_letters,
]
PAGE = [
    printing.show_through,
    paper.texture,
    paper.stains,
    paper.folds,
    paper.gutter_shadow,
    paper.punched_holes,
    paper.rulings,
    paper.stamp,
    scanning.skew,
    scanning.warp,
    scanning.out_of_focus,
    scanning.grain,
    scanning.specks,
    scanning.low_contrast,
    scanning.jpeg,
    scanning.resample,
    scanning.binarise,
    scanning.masked_polygon,
]
EFFECTS = INK + PAGE
named = pytest.mark.parametrize("effect", EFFECTS, ids=lambda effect: effect.__name__)

FACE = load_face("typewriter", 24)
PLAIN = Look((), (), paper=(1, 1), ink=(0, 0), skew=(0, 0), warp=(0, 0), stretch=(1, 1))
LINES = [Line("Received 14 letters,", "Received 14 letters,"), Line("f i v e of them late.", "five of them late.")]


def array(effect, shape=(40, 200)):
    """Three upright strokes: ink on nothing for the ink's effects, dark on light grey for the page's."""
    strokes = np.zeros(shape, dtype=np.float32)
    for x in (0.2, 0.5, 0.7):
        strokes[shape[0] // 4 : 3 * shape[0] // 4, int(x * shape[1]) :][:, :4] = 1
    return strokes if effect in INK else np.float32(0.85) - np.float32(0.6) * strokes


@named
def test_strength_0_changes_nothing(effect):
    page = array(effect)
    assert np.array_equal(effect(page, 0.0, np.random.default_rng(1), 24.0), page)


@named
def test_the_same_seed_gives_the_same_pixels_and_the_page_that_went_in_is_left_alone(effect):
    page = array(effect)
    one, two = (effect(page, 0.8, np.random.default_rng(5), 24.0) for _ in range(2))
    assert np.array_equal(one, two)
    assert np.array_equal(page, array(effect))


@named
def test_full_strength_shows_on_some_page(effect):
    page = array(effect)
    assert any(not np.array_equal(effect(page, 1.0, np.random.default_rng(seed)), page) for seed in range(20))


@named
@settings(max_examples=15, deadline=None)
@given(st.tuples(st.integers(8, 90), st.integers(8, 300)), st.floats(0, 1), st.integers(0, 2**32), st.floats(8.0, 60.0))
def test_an_array_of_any_size_keeps_its_shape_type_and_range(effect, shape, strength, seed, em):
    out = effect(array(effect, shape), strength, np.random.default_rng(seed), em)
    assert out.shape == shape
    assert out.dtype == np.float32
    assert out.min() >= -1e-6
    assert out.max() <= 1 + 1e-6


@pytest.mark.parametrize("effect", [e for e in INK if e not in (typing.clogged_type, typing.double_stroke)])
def test_an_effect_that_wears_ink_off_leaves_a_stroke_visible(effect):
    """A tenth of the ink at the very least, on average, at full strength."""
    page = array(effect)
    assert effect(page, 1.0, np.random.default_rng(0), 24.0).sum() > 0.1 * page.sum()


def test_a_scan_keeps_a_share_of_every_stroke_whatever_the_ink_went_through():
    wiped = Effect(lambda ink, strength, rng, em: np.zeros_like(ink), 1.0)
    clean, faint = (
        np.asarray(render_scan(3, LINES, FACE, look).image, dtype=float)
        for look in (PLAIN, Look((wiped,), (), paper=(1, 1), ink=(0, 0), skew=(0, 0), warp=(0, 0), stretch=(1, 1)))
    )
    assert np.allclose(255 - faint, LEGIBLE * (255 - clean), atol=1.5)


def test_jumps_are_small_against_the_letter_and_none_at_strength_0():
    assert not typing.jumps(50, 0.0, np.random.default_rng(0)).any()
    assert np.abs(typing.jumps(1000, 1.0, np.random.default_rng(0), 24.0)).max() < 0.25 * 24


def test_a_lightly_struck_letter_keeps_two_fifths_of_its_ink():
    pressure = typing.strikes(1000, 1.0, np.random.default_rng(0))
    assert 0.4 <= pressure.min() < 0.5
    assert (typing.strikes(9, 0.0, np.random.default_rng(0)) == 1).all()


def test_a_displaced_column_moves_down_by_its_own_pixels():
    """A row of ink at 4; column 0 stays, column 1 moves by 2, column 2 is shared by two rows."""
    page = np.zeros((10, 3), dtype=np.float32)
    page[4] = 1
    moved = scanning.displaced(page, np.array([0, 2, 0.5], dtype=np.float32))
    assert [np.flatnonzero(moved[:, i]).tolist() for i in range(3)] == [[4], [6], [4, 5]]
    assert moved[4, 2] == moved[5, 2] == 0.5


def test_a_mask_keeps_the_middle_of_the_page():
    page = np.random.default_rng(1).random((50, 300)).astype(np.float32)
    for seed in range(20):
        masked = scanning.masked_polygon(page, 1.0, np.random.default_rng(seed))
        assert np.array_equal(masked[10:40], page[10:40])


def test_a_binarised_page_is_nearly_black_and_white():
    """At full strength, nine pixels of ten within a tenth of either."""
    grey = np.repeat(np.where(np.arange(400) % 8 < 2, 0.3, 0.8).astype(np.float32)[None], 30, axis=0)
    hard = scanning.binarise(grey, 1.0, np.random.default_rng(2))
    assert ((hard < 0.1) | (hard > 0.9)).mean() > 0.9


def test_effects_happen_as_often_as_their_chance():
    def darker(page, strength, rng, em):
        return page - np.float32(strength)

    rng = np.random.default_rng(0)
    one = np.ones((1, 1), dtype=np.float32)
    hit = [applied([Effect(darker, 0.25, (1, 1))], one, rng, 24.0)[0, 0] == 0 for _ in range(2000)]
    assert abs(np.mean(hit) - 0.25) < 0.03


@pytest.mark.parametrize("look", [TYPESCRIPT, PRINT])
def test_the_same_seed_gives_the_same_scan(look):
    one, two, other = (render_scan(seed, LINES, FACE, look) for seed in ("a", "a", "b"))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
    assert one.centers == two.centers
    assert one.image.size != other.image.size or not np.array_equal(np.asarray(one.image), np.asarray(other.image))


def test_the_text_closes_spaced_words_and_has_a_line_per_line():
    assert render_scan(0, LINES, FACE, TYPESCRIPT).text == "Received 14 letters,\nfive of them late."


def test_every_character_is_where_its_centre_says():
    """On a plain page each centre of a letter has ink within a quarter of its height, bent as much as a page may be."""
    look = Look((), (), paper=(1, 1), ink=(0, 0), skew=(1, 1), warp=(1, 1))
    for seed in range(10):
        scan = render_scan(seed, LINES, FACE, look)
        page = np.asarray(scan.image)
        assert len(scan.centers) == sum(len(line.drawn.replace(" ", "")) for line in LINES)
        for character, x, y in scan.centers:
            if character.isalnum():
                around = page[max(0, int(y) - 6) : int(y) + 7, max(0, int(x) - 6) : int(x) + 7]
                assert around.min() < 128, (seed, character, x, y)


def test_of_a_neighbouring_line_only_what_the_frame_reaches_is_seen():
    """Far enough away nothing is; the line itself is the same."""
    frames = [Frame(top=(0.3, 0.3), bottom=(0.3, 0.3), leading=(n, n)) for n in (0.9, 3.0)]
    near, far = (
        np.asarray(render_scan(7, LINES[:1], FACE, PLAIN, frame, ("above " * 4, "below " * 4)).image)
        for frame in frames
    )
    alone = np.asarray(render_scan(7, LINES[:1], FACE, PLAIN, frames[1]).image)
    assert np.array_equal(far, alone)
    assert (near[:4] < 128).any()
    assert not (far[:4] < 128).any()


def test_the_renderers_own_words_make_lines_of_a_typewriter():
    line = make_line(Random(4), EVERYDAY, sorted(set("abcdefghijklmnopqrstuvwxyz .,-0123456789")), 30, 40)
    assert line.text


@pytest.mark.parametrize("style", ["typescript", "old-print"])
@pytest.mark.parametrize("kind", ["lines", "columns", "table"])
def test_a_rendered_page_of_a_scanned_style_follows_from_its_seed(style, kind):
    one, two, other = (render_page(seed, Layout(kind), STYLES[style]) for seed in (1, 1, 2))
    assert np.array_equal(np.asarray(one.image), np.asarray(two.image))
    assert one.text == two.text != other.text
    assert one.image.width % 16 == one.image.height % 16 == 0


def test_a_scanned_style_has_the_text_and_tests_of_a_plain_one():
    """The look alone differs, so that what a page says does not depend on how it is scanned."""
    scanned = STYLES["typescript"]
    one, two = (render_page(3, Layout(), style) for style in (scanned, replace(scanned, look=None)))
    assert (one.text, one.tests) == (two.text, two.tests)
    assert not np.array_equal(np.asarray(one.image), np.asarray(two.image))
