"""Invented lines of scans: what is drawn, and what a transcription of it says."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ocr_rl.data.synthetic.text import EVERYDAY, Lexicon, Line, heading, make_line, name, number
from ocr_rl.data.synthetic.typefaces import ALPHABET

seeds = st.integers(0, 2**32)


@given(seeds, st.integers(1, 40), st.integers(0, 50))
def test_a_line_fits_and_has_only_characters_of_the_alphabet(seed, least, more):
    line = make_line(Random(seed), EVERYDAY, ALPHABET, least, least + more)
    assert 1 <= len(line.drawn) <= least + more
    assert set(line.drawn) <= set(ALPHABET)


@given(seeds)
def test_a_transcription_has_the_letters_of_the_line_and_single_spaces(seed):
    line = make_line(Random(seed), EVERYDAY, ALPHABET, 10, 80)
    assert line.text.replace(" ", "") == line.drawn.replace(" ", "")
    assert line.text == " ".join(line.text.split())


def test_some_lines_space_a_word_out_and_the_transcription_closes_it():
    lines = [make_line(Random(i), EVERYDAY, ALPHABET, 30, 60) for i in range(400)]
    assert 3 <= sum(len(line.drawn.split()) > len(line.text.split()) + 2 for line in lines) <= 60


def test_the_same_seed_gives_the_same_line():
    one, two = (make_line(Random(9), EVERYDAY, ALPHABET, 20, 60) for _ in range(2))
    assert one == two


def test_a_lexicon_draws_by_frequency():
    """Nine of ten draws are the word with nine tenths of the frequency; a rare word is drawn evenly."""
    lexicon = Lexicon.of("en", ["the", "zymurgy"], [0.9, 0.1])
    rng = Random(0)
    assert abs(sum(lexicon.word(rng) == "the" for _ in range(5000)) / 5000 - 0.9) < 0.02
    assert abs(sum(lexicon.rare_word(rng) == "the" for _ in range(5000)) / 5000 - 0.5) < 0.03


def test_numbers_follow_the_language():
    """A decimal comma outside English."""
    french, english = ({number(Random(i), language) for i in range(300)} for language in ("fr", "en"))
    assert any(n.replace(".", "").isdigit() and "." in n[-3:] for n in english)
    assert any(n.replace(",", "").isdigit() and "," in n[-3:] for n in french)


def test_names_begin_with_a_capital():
    assert all(name(Random(i), EVERYDAY)[0].isupper() for i in range(200))


def test_a_heading_is_a_page_number_or_a_name_in_capitals():
    other = Line("other", "other")
    headings = {heading(Random(i), EVERYDAY, ALPHABET, other).text for i in range(100)}
    assert all(text == text.upper() for text in headings)
    assert any(text.strip("- .()").isdigit() for text in headings)


def test_a_heading_that_the_face_lacks_letters_for_is_another_line():
    assert heading(Random(0), EVERYDAY, "", Line("x", "x")).text == "x"
