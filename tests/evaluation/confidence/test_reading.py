"""What samples and log probabilities say of characters, words and lines, by worked examples."""

from math import log

import numpy as np
import pytest

from ocr_rl.evaluation.confidence.reading import (
    LEVELS,
    LOWEST_LOGPROB,
    Reading,
    agreement,
    character_logprobs,
    correct,
    features,
    spans,
)

READING = Reading("Dear Sir\nyes", ["Dear Sir\nyes", "Bear Sir\nyes", "Dear Sirs\nyes", "Dear Sir yes"], [-0.5] * 12)
"""One of four samples has another D, one an s more after Sir; white space is white space."""


def units(level, text=READING.text):
    return [text[span.start : span.end] for span in spans(text, level)]


def test_units_have_no_white_space_around_them():
    assert units("word") == ["Dear", "Sir", "yes"]
    assert units("line") == ["Dear Sir", "yes"]
    assert units("line", " a b \n\n c\n") == ["a b", "c"]
    assert "".join(units("character")) == "DearSiryes"
    assert [units(level, " \n ") for level in LEVELS] == [[], [], []]


def test_agreement_is_the_share_of_samples_that_have_the_whole_unit():
    assert agreement(READING, "character").tolist() == [0.75, 1, 1, 1, 1, 1, 0.75, 1, 1, 1]
    assert agreement(READING, "word").tolist() == [0.75, 0.75, 1]
    assert agreement(READING, "line").tolist() == [0.5, 1]


def test_a_unit_is_right_if_all_of_it_is_and_nothing_is_missing_beside_it():
    assert correct("Dear Sir\nyes", "Dear Sir, yes", "word").tolist() == [True, False, True]
    assert correct("Dear Sir\nyes", "Dear Sir, yes", "line").tolist() == [False, True]
    assert correct("DearSir", "Dear Sir", "word").tolist() == [False]
    assert correct("Dear Si r", "Dear Sir", "word").tolist() == [True, False, True]
    assert correct("", "Dear", "word").tolist() == []


def test_features_are_two_log_odds_and_two_log_probabilities():
    """3 of 4 samples: (3 + 1/2) / 5 = .7; 2 of 4: .5. The line has nine characters with its line end."""
    odds = log(0.7 / 0.3)
    assert features(READING, "line")[0].tolist() == pytest.approx([0, odds, -4.5, -0.5])
    assert features(READING, "word")[1].tolist() == pytest.approx([odds, odds, -2, -0.5])
    assert features(Reading("", ["a"], []), "word").shape == (0, 4)


def test_an_impossible_token_is_only_very_improbable():
    reading = Reading("ab", ["ab"], [-np.inf, 0.0])
    assert features(reading, "word")[0].tolist()[2:] == [LOWEST_LOGPROB] * 2


def test_the_log_probability_of_a_token_is_shared_among_its_characters():
    """The first byte of é adds nothing, and the end token counts with the last character."""
    pieces, logprobs = ["ab", "", "é", ""], [-2.0, -0.25, -0.5, -0.125]
    assert character_logprobs(pieces, logprobs, "abé") == [-1, -1, -0.875]
    assert character_logprobs(pieces, logprobs, "a é!") == [-1, -1, -0.875, 0]
    assert character_logprobs(pieces, logprobs, "bé") == [-1, -0.875]
    assert character_logprobs([""], [-1.0], "") == []
