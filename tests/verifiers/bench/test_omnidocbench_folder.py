"""The command that scores a folder of transcriptions of OmniDocBench."""

import json

import pytest
from click.testing import CliRunner

from ocr_verifiers.bench.omnidocbench import OmniDocBenchScore
from ocr_verifiers.cli.main import main
from ocr_verifiers.markup import katex
from verifiers.metrics.test_omnidocbench import record, scored, text


def bench(tmp_path, pages, outputs, *options):
    (tmp_path / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    (tmp_path / "mine").mkdir()
    for name, markdown in outputs.items():
        (tmp_path / "mine" / name).write_text(markdown, encoding="utf-8")
    command = ["bench", str(tmp_path / "pages.json"), "--predictions", str(tmp_path / "mine"), *options]
    return CliRunner().invoke(main, command)


def test_bench_reads_the_file_and_a_folder_of_transcriptions(tmp_path):
    pages = [record(text("abcd")), record(text("xyz"), image="b.jpg")]
    result = bench(tmp_path, pages, {"a.md": "abcx"}, "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 0, result.output
    assert "pages without a transcription, which count as empty: 1: b.jpg" in result.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["summary"]["all"]["text_edit"] == pytest.approx((1 / 4 + 1) / 2)
    assert report["pages"][0]["texts"] == [{"kind": "text_block", "reference": "abcd", "page": "abcx", "edit": 1 / 4}]


def test_formulas_are_scored_by_cdm_and_the_overall_score_is_the_published_one(tmp_path):
    r"""`$$`, `\[`, spaces and \tag do not count; one of six signs is wrong; a formula that
    nothing on the page is paired with counts twice, as it does in the benchmark."""
    pages = [
        record(
            text("abcd"),
            {"category_type": "equation_isolated", "latex": r"$$a + b = cd \tag{1}$$"},
            {"category_type": "equation_isolated", "latex": r"\frac{x}{y}"},
        )
    ]
    outputs = {"a.md": "abcd\n\n\\[ {a}+b = ce \\]\n"}
    result = bench(tmp_path, pages, outputs, "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert [formula["cdm"] for formula in report["pages"][0]["formulas"]] == pytest.approx([10 / 12, 0, 0])
    assert report["summary"]["all"]["formula_cdm"] == pytest.approx(10 / 36)
    assert report["summary"]["all"]["overall"] == pytest.approx((1 + 10 / 36) / 2)
    assert "formula_cdm" in result.output


def test_without_the_engine_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(katex, "installed", lambda: False)
    pages = [record(text("abcd"), {"category_type": "equation_isolated", "latex": "a + b"})]
    result = bench(tmp_path, pages, {"a.md": "abcd\n\n$$a + b$$"})
    assert "need a JavaScript engine: pip install 'ocr-rl[math]'" in result.output


def test_a_score_that_is_not_known_without_the_engine_is_not_too_low(tmp_path, monkeypatch):
    """Without formulas the engine is not needed: 1 - text edit = 1."""
    monkeypatch.setattr(katex, "installed", lambda: False)
    formula = {"category_type": "equation_isolated", "latex": "a + b"}
    options = ["--fail-under", "0.5", "--json", str(tmp_path / "out.json")]
    result = bench(tmp_path, [record(text("abcd"), formula)], {"a.md": "abcd\n\n$$a + b$$"}, *options)
    assert result.exit_code == 2
    assert "text_edit" not in result.output
    assert not (tmp_path / "out.json").exists()
    assert "--fail-under cannot be judged" in result.output
    assert "pip install 'ocr-rl[math]'" in result.output.partition("cannot be judged")[2]
    (tmp_path / "plain").mkdir()
    plain = bench(tmp_path / "plain", [record(text("abcd"))], {"a.md": "abcd"}, "--fail-under", "1")
    assert plain.exit_code == 0, plain.output


@pytest.mark.parametrize(
    ("items", "why"),
    [
        ([text("abcd"), {"category_type": "equation_isolated", "latex": r"\frac{a"}], "none of the reference's can be"),
        ([text("...")], "the reference has no text, formula or table that counts; add one"),
    ],
)
def test_a_score_that_is_not_known_for_another_reason_is_not_too_low(tmp_path, items, why):
    result = bench(tmp_path, [record(*items)], {"a.md": "..."}, "--fail-under", "0.5")
    assert result.exit_code == 2
    assert why in result.output


@pytest.mark.parametrize(
    ("pages", "options", "message"),
    [
        ({}, [], "not a list of pages; write the JSON file of OmniDocBench"),
        ([{"page_info": {}}], [], 'page 1: "page_info" has no "image_path"'),
        ([{"page_info": {"image_path": "a.jpg"}}], [], 'page 1: "layout_dets" is not a list of objects'),
        ([record(text("a"), image="c.jpg")], [], "mine has no transcription; write that of c.jpg as c.md"),
        (
            [record(text("a"), image=image) for image in ("c.jpg", "d.jpg")],
            [],
            "mine has no transcription; write that of c.jpg as c.md",
        ),
        ([record(text("a"), image="x/")], [], """page 1: "image_path" is 'x/'; write the file of the image"""),
        (
            [record(text("a"), image=image) for image in ("a.jpg", "a.png")],
            [],
            "a.md may be of a.jpg or of a.png; write a.jpg.md and a.png.md",
        ),
        ([record(text("a"), image="x" * 300)], [], "page 1: no transcription of xxx"),
        ([record(text("a"), text("b\ud800"))], [], 'page 1: half a surrogate pair in \'t_block", "text'),
        ([record(text(["abc"]))], [], """page 1: "layout_dets" 1: "text" is ['abc']; write a string"""),
        (
            [record(text("a"), {"html": {"a": 1}})],
            [],
            """page 1: "layout_dets" 2: "html" is {'a': 1}; write a string""",
        ),
        ([record(text("a")), record(text("b"))], [], "page 2: a.png is the image of page 1 too"),
        ([record({"category_type": "title", "order": "1"})], [], """page 1: "layout_dets" 1: "order" is '1'; write"""),
        ([record({"anno_id": [1]})], [], 'page 1: "layout_dets" 1: "anno_id" is [1], and not a number or a name'),
        ([record(text("a"), relations=[1])], [], 'page 1: "relation" in "extra" is not a list of objects'),
        ([record(text("a"))], ["--compat", "olmocr"], "--compat is of olmOCR-bench, and has no effect here"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, pages, options, message):
    result = bench(tmp_path, pages, {"a.md": "a"}, *options)
    assert result.exit_code == 2
    assert message in result.output


def test_json_that_is_nested_too_deeply_is_named(tmp_path):
    (tmp_path / "pages.json").write_text("[" * 200_000 + "]" * 200_000, encoding="utf-8")
    command = ["bench", str(tmp_path / "pages.json"), "--predictions", str(tmp_path)]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "pages.json: not valid JSON: maximum recursion depth" in result.output


def test_a_transcription_may_have_the_whole_name_of_the_image_and_a_byte_order_mark(tmp_path):
    pages = [record(text(written), image=image) for image, written in (("a.jpg", "one"), ("a.png", "two"))]
    outputs = {"a.jpg.md": "\ufeff$$x$$\n\none", "a.png.md": "two", "a.md": "neither"}
    result = bench(tmp_path, pages, outputs, "--json", str(tmp_path / "out.json"))
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["summary"]["all"]["text_edit"] == 0
    assert report["unused"] == ["a.md"]
    assert [block["page"] for page in report["pages"] for block in page["texts"]] == ["one", "two"]
    (tmp_path / "pages.json").write_text(json.dumps(pages), encoding="utf-8-sig")
    command = ["bench", str(tmp_path / "pages.json"), "--predictions", str(tmp_path / "mine")]
    assert CliRunner().invoke(main, command).exit_code == 0


def test_a_page_counts_once_for_a_value_that_it_has_twice():
    pages = [scored("ab", text("ab"), language=["english", "english"])]
    assert OmniDocBenchScore(pages, ()).summaries["language: english"].pages == 1


def test_scores_are_shown_by_attribute_and_by_kind_of_block(tmp_path):
    pages = [record(text("abcd"), text("Title", "title")), record(text("xy"), image="b.jpg", language="french")]
    result = bench(tmp_path, pages, {"a.md": "Title\n\nabcx", "b.md": "xy", "c.md": ""}, "--matching", "v1.6")
    assert result.exit_code == 0, result.output
    rows = {line.rpartition("  ")[0].split("  ")[0]: line.split() for line in result.output.splitlines()}
    assert rows["language: english"][3] == f"{1 / 9:.4f}"
    assert rows["language: french"][3] == "0.0000"
    assert rows["text_block"][1:] == ["2", f"{1 / 8:.4f}"]
    assert rows["title"][1:] == ["1", "0.0000"]
    assert "files that are the transcription of no page: 1: c.md" in result.output


def test_matching_is_of_omnidocbench(tmp_path):
    result = CliRunner().invoke(main, ["bench", str(tmp_path), "--matching", "v1.6"])
    assert result.exit_code == 2
    assert "--matching needs a JSON file of OmniDocBench" in result.output
