"""Confusion tables: totals are those of CER and WER, and each confusion says what was read as what."""

import json

import jiwer
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers import char_edits, word_edits
from ocr_verifiers.cli.main import main
from ocr_verifiers.metrics import Confusion, error_table

TEXT = st.text(alphabet="ab1. é中").map(lambda text: " ".join(text.split()))


def test_each_edit_is_a_confusion_with_its_class_and_an_example():
    table = error_table([("p1", "Dear Sir 12.", "Deer Sir 1.x"), ("p2", "ear", "eer")])
    assert table.characters == {
        Confusion("a", "e"): 2,
        Confusion("2", "."): 1,
        Confusion(".", "x"): 1,
    }
    assert table.words == {Confusion("Dear", "Deer"): 1, Confusion("12.", "1.x"): 1, Confusion("ear", "eer"): 1}
    assert table.examples[Confusion("a", "e")] == ("p1", "Dear Sir 12.")
    assert {name: (c.errors, c.occurrences) for name, c in table.classes.items()} == {
        "letters": (2, 10),
        "spaces": (0, 2),
        "digits": (1, 2),
        "punctuation": (1, 1),
    }


def test_graphemes_are_confused_as_a_whole():
    assert error_table([("p", "ಕಿ", "ಕ")], "grapheme").characters == {Confusion("ಕಿ", "ಕ"): 1}


@settings(deadline=None)
@given(st.lists(st.tuples(st.just("p"), TEXT, TEXT), max_size=4))
def test_totals_are_those_of_cer_and_wer(pages):
    table = error_table(pages)
    assert table.characters.total() == sum(char_edits(r, c).distance for _, r, c in pages)
    assert table.words.total() == sum(word_edits(r, c).distance for _, r, c in pages)
    assert sum(c.errors for c in table.classes.values()) == table.characters.total()
    assert sum(c.occurrences for c in table.classes.values()) == sum(len(r) for _, r, _ in pages)
    if pages and all(r for _, r, _ in pages):
        assert (
            abs(table.character_edits.error_rate - jiwer.cer([r for _, r, _ in pages], [c for _, _, c in pages])) < 1e-9
        )


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.jsonl").write_text('{"file_name": "p", "text": "Dear  Sir,\\nyou"}\n')
    (tmp_path / "p.jsonl").write_text('{"file_name": "p", "text": "Deer Sir, you"}\n')
    result = CliRunner().invoke(main, ["errors", "p.jsonl", "--references", "r.jsonl", "--json", "e.json"])
    assert (result.exit_code, "a → e" in result.output) == (0, True)
    report = json.loads((tmp_path / "e.json").read_text())
    assert report["characters"]["rate"] == 1 / 13
    assert report["character_confusions"] == [{"reference": "a", "completion": "e", "count": 1, "page": "p"}]
    same = CliRunner().invoke(main, ["errors", "p.jsonl", "--references", "r.jsonl", "--json", "r.jsonl"])
    assert same.exit_code == 2
