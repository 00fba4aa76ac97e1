"""Calibrations fitted on pages whose errors are drawn with known probabilities."""

import json
import random

import numpy as np
import pytest

from ocr_rl.evaluation.confidence.calibration import Calibration, read_calibration, sigmoid
from ocr_rl.evaluation.confidence.fitting import Labelled, check_documents, fit_level
from ocr_rl.evaluation.confidence.measures import expected_calibration_error
from ocr_rl.evaluation.confidence.reading import FEATURES, LEVELS, Reading, correct, features

pytest.importorskip("sklearn", reason="scikit-learn is not installed")  # it is in requirements/train.txt


def drawn(seed, pages, lines=4):
    """Pages of words of four letters. Every letter has its own chance of being misread, in the text and in each sample,
    and its log probability is that of what was written."""
    rng = random.Random(seed)
    found = []
    for number in range(pages):
        reference = "\n".join(" ".join("abcd" for _ in range(3)) for _ in range(lines))
        chances = [rng.choice([0.0, 0.02, 0.3]) if c.isalpha() else 0.0 for c in reference]

        def read(reference=reference, chances=chances):
            return [c if rng.random() >= chance else "x" for c, chance in zip(reference, chances, strict=True)]

        text = read()
        logprobs = [
            float(np.log(1 - chance if c == own else chance))
            for c, own, chance in zip(reference, text, chances, strict=True)
        ]
        reading = Reading("".join(text), ["".join(read()) for _ in range(8)], logprobs)
        found.append(Labelled(reading, reference, f"document {number}"))
    return found


@pytest.fixture(scope="module")
def fitted():
    return Calibration("tiny", 8, 1.0, False, {level: fit_level(drawn(0, 60), level) for level in LEVELS})


@pytest.mark.parametrize("level", LEVELS)
def test_confidences_are_true_on_other_documents(fitted, level):
    others = drawn(1, 120)
    right = np.concatenate([correct(page.reading.text, page.reference, level) for page in others])
    confidences = np.concatenate([fitted(page.reading, level) for page in others])
    assert 0.02 < (~right).mean() < 0.8
    assert expected_calibration_error(confidences, right) < 0.05
    assert fitted.levels[level].ece < 0.1
    assert fitted.levels[level].brier < right.mean() * (1 - right.mean())  # better than the same for all


def test_it_is_what_scikit_learn_predicts():
    from sklearn.linear_model import LogisticRegression

    pages = drawn(0, 20)
    x = np.concatenate([features(page.reading, "word") for page in pages])
    right = np.concatenate([correct(page.reading.text, page.reference, "word") for page in pages])
    level = fit_level(pages, "word")
    columns = [FEATURES.index(name) for name in level.weights]
    model = LogisticRegression(max_iter=1000).fit(x[:, columns], right)
    expected = model.predict_proba(x[:, columns])[:, 1]
    if level.steps:
        expected = np.interp(expected, *zip(*level.steps, strict=True))
    assert level(x) == pytest.approx(np.clip(expected, 0.001, 0.999), abs=1e-6)
    assert sigmoid(np.array([0.0, 1e9])).tolist() == pytest.approx([0.5, 1])


def test_a_file_holds_the_same_calibration(fitted, tmp_path):
    fitted.write(tmp_path / "c.json")
    read = read_calibration(tmp_path / "c.json")
    reading = drawn(2, 1)[0].reading
    for level in LEVELS:
        assert read(reading, level).tolist() == fitted(reading, level).tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda stated: "no", "is no JSON"),
        (
            lambda stated: json.dumps({"model": "tiny"}),
            "samples: Field required; write it anew with `ocr-rl calibrate`",
        ),
        (lambda stated: json.dumps(stated | {"samples": "many"}), "samples: Input should be a valid integer"),
        (lambda stated: json.dumps(stated | {"levels": {}}), "levels has no character"),
    ],
)
def test_a_damaged_file_is_refused(fitted, tmp_path, change, message):
    fitted.write(tmp_path / "c.json")
    stated = json.loads((tmp_path / "c.json").read_text())
    (tmp_path / "c.json").write_text(change(stated))
    with pytest.raises(ValueError, match=r"c\.json: ") as error:
        read_calibration(tmp_path / "c.json")
    assert message in str(error.value)


def test_where_all_is_right_every_confidence_is_the_rule_of_succession():
    right = [Labelled(Reading("ab", ["ab"], [0, 0]), "ab", f"d{i}") for i in range(3)]
    level = fit_level(right, "word")
    assert level(features(right[0].reading, "word")).tolist() == pytest.approx([4 / 5])
    assert (level.units, level.wrong) == (3, 0)
    assert (level.ece, level.brier) == (None, None)


def test_one_right_and_one_wrong_document_are_too_few_to_tell():
    """Without the one all others are wrong, without the other all are right: nothing can be fitted and left out."""
    pages = [Labelled(Reading(text, [text], [0, 0]), "ab", text) for text in ("ab", "xy")]
    level = fit_level(pages, "word")
    assert level(features(pages[0].reading, "word")).tolist() == pytest.approx([2 / 4])
    assert (level.units, level.wrong, level.ece, level.brier) == (2, 1, None, None)


def test_one_document_is_refused():
    with pytest.raises(ValueError, match="all pages are of the document one"):
        check_documents(["one", "one"])
