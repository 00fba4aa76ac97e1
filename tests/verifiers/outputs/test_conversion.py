"""`to_markdown`, whatever the format: what is malformed stays, and no text makes it raise or run long."""

import doctest
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cpu_clock import CpuClock
from ocr_verifiers import OUTPUT_FORMATS, Rubric, load_rubric, to_markdown
from ocr_verifiers.cli.main import main
from ocr_verifiers.outputs.otsl import CELLS
from ocr_verifiers.outputs.result import MAX_DROPPED

PAGE = Path(__file__).parents[3] / "docs" / "verifiers" / "outputs.md"
MB = 1 << 20

FRAGMENTS = [
    *(f"<{cell}>" for cell in (*CELLS, "nl", "otsl", "/otsl", "loc_1", "link_1", "page_break", "_Python_")),
    *(
        f"<{slash}{name}>"
        for name in "doctag text title section_header_level_1 section_header_level_0 caption formula code inline "
        "ordered_list unordered_list list_item picture chart page_header checkbox_selected key_value_region key_1 "
        "document_index watermark page_number img signature".split()
        for slash in ("", "/")
    ),
    *("<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "[[1, 2, 3, 4]]", "<|ref|>text<|/ref|><|det|>[[1,2,3,4]]<|/det|>"),
    *(
        '[{"bbox": [1, 2, 3, 4], "category": "Text", "text": "',
        '"}]',
        "[",
        "]",
        "{",
        "}",
        '"',
        ",",
        ":",
        "NaN",
        "1e999",
    ),
    *(
        "\\u0000",
        "\\ud800",
        "```json\n",
        "```",
        "---\n",
        "a: b\n",
        "\n\n",
        "\n",
        " ",
        "a",
        "1. ",
        "• ",
        "$",
        "\\[",
        "#",
    ),
    *("<text a='b'>", "<text ", "<end_of_utterance>", "\ud800", "\x00", "<", ">", "<table><tr><td>a</td></tr></table>"),
]
texts = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=6), max_size=40).map("".join)
formats = st.sampled_from(OUTPUT_FORMATS)


@given(text=texts, output=formats)
@settings(max_examples=1500)
def test_any_text_is_converted_or_stays_with_a_reason(text, output):
    markdown = to_markdown(text, output)
    if markdown.problem is not None:
        assert (markdown.text, markdown.front_matter) == (text, "")
        assert 0 < len(markdown.problem) < 300
    assert to_markdown(text, output) == markdown


@given(text=texts | st.text())
def test_markdown_is_its_own_markdown(text):
    assert to_markdown(text) == to_markdown(text, "markdown") == (text, None, "")


@given(text=texts)
def test_front_matter_and_text_are_all_of_the_output(text):
    markdown = to_markdown(text, "front_matter")
    assert markdown.front_matter + markdown.text == text


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
elements = st.fixed_dictionaries(
    {},
    optional={
        "bbox": json_values,
        "category": st.sampled_from(["Title", "Text", "Formula", "Picture", "Page-header", "List-item", "?"]),
        "text": st.text(max_size=9) | json_values,
        "more": json_values,
    },
)


@given(data=st.lists(elements, max_size=5) | json_values)
def test_any_json_is_converted_or_stays_with_a_reason(data):
    text = json.dumps(data)
    markdown = to_markdown(text, "layout_json")
    assert markdown.problem is None or markdown.text == text


@pytest.mark.parametrize("output", OUTPUT_FORMATS)
def test_an_eighth_of_a_megabyte_of_any_fragment_takes_a_moment(output):
    """In CPU seconds: 0.1 at most here, and minutes if it grew with the square of the length."""
    for fragment in FRAGMENTS:
        with CpuClock() as clock:
            to_markdown(fragment * (MB // 8 // len(fragment)), output)
        assert clock.seconds < 3, fragment


WRAPPED = {
    "a megabyte of cells in one row": ("otsl", "<fcel>" * (MB // 6) + "<nl>"),
    "a megabyte of rows": ("otsl", "<fcel>a<nl>" * (MB // 11)),
    "a cell of 500 rows and 300 columns": (
        "otsl",
        "<fcel>a" + "<lcel>" * 300 + "<nl>" + ("<ucel>" + "<xcel>" * 300 + "<nl>") * 500,
    ),
    "cells that nearly span the rows below": (
        "otsl",
        ("<fcel>" + "<lcel>" * 400 + "<nl><ucel>" + "<xcel>" * 399 + "<fcel><nl>") * 200,
    ),
    "half a million brackets": ("layout_json", "[" * (MB // 2) + "]" * (MB // 2)),
    "a number of a million digits": ("layout_json", "[" + "1" * MB + "]"),
    "20,000 list items": ("layout_json", json.dumps([{"category": "List-item", "text": "a"}] * 20_000)),
    "nested lists": (
        "doctags",
        "<ordered_list><list_item>a" * 9 + "a\n" * (MB // 2) + "</list_item></ordered_list>" * 9,
    ),
    "a list of 40,000 items": ("doctags", "<ordered_list>" + "<list_item>a</list_item>" * 40_000 + "</ordered_list>"),
    "a hundred thousand elements, none closed": ("doctags", "<text>" * 100_000),
    "boxes without end": ("grounding", "<|ref|>text<|/ref|><|det|>[" + "[1, 2, 3, 4], " * (MB // 14)),
    "labels without boxes": ("grounding", "<|ref|>text<|/ref|>" * (MB // 19)),
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_megabyte_takes_seconds(name):
    output, text = WRAPPED[name]
    with CpuClock() as clock:
        to_markdown(text, output)
    assert clock.seconds < 10


@pytest.mark.parametrize(
    ("output", "left_out"),
    [
        ("doctags", "<doctag><page_header>{}</page_header><text>a</text></doctag>"),
        ("doctags", '<doctag><text title="{}">a</text></doctag>'),
        ("layout_json", '[{{"category": "Page-footer", "text": "{}"}}, {{"category": "Text", "text": "a"}}]'),
        ("layout_json", '[{{"category": "Text", "text": "a", "why": "{}"}}]'),
        ("grounding", "<|ref|>{}<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>a"),
        ("grounding", "<|ref|>text<|/ref|><|det|>{}<|/det|>a"),
        ("tags", "a<watermark>{}</watermark>"),
    ],
)
def test_only_so_much_is_dropped(output, left_out):
    """As of front matter: what is dropped is compared with nothing."""
    assert to_markdown(left_out.format("x" * 1900), output) == ("a", None, "")
    too_much = left_out.format("x" * (MAX_DROPPED + 1))
    text, problem, _ = to_markdown(too_much, output)
    assert text == too_much
    assert "characters are not part of the transcription" in problem
    assert "at most 2,000 are left out" in problem


# Names


def test_an_unknown_format_is_an_error_that_names_the_nearest():
    for wrong in (lambda: to_markdown("", "doctag"), lambda: Rubric(output="doctag")):
        with pytest.raises(ValueError, match=r'^unknown output format "doctag"; did you mean "doctags"\?$'):
            wrong()


def test_a_rubric_file_may_name_a_format(tmp_path):
    (tmp_path / "r.toml").write_text('output = "tags"\n')
    assert load_rubric(tmp_path / "r.toml").output == "tags"
    (tmp_path / "r.toml").write_text("output = 7\n")
    with pytest.raises(ValueError, match="output is 7; write a name"):
        load_rubric(tmp_path / "r.toml")


# The documentation


def documented():
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [
        (output, text, markdown)
        for (output, text), (language, markdown) in pairwise(blocks)
        if output in OUTPUT_FORMATS and language == "markdown"
    ]


def test_every_format_has_an_example():
    assert [output for output, _, _ in documented()] == list(OUTPUT_FORMATS[1:])


@pytest.mark.parametrize(("output", "text", "markdown"), documented())
def test_an_example_converts_to_the_markdown_that_is_shown(output, text, markdown):
    converted = to_markdown(text, output)
    assert (converted.text.strip(), converted.problem) == (markdown.strip(), None)


def test_the_commands_of_the_documentation_print_what_is_shown(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    for name, content in re.findall(r"^<!-- file: (\S+) -->\n```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        Path(name).write_text(content, encoding="utf-8")
    ((command, output),) = re.findall(
        r"^```sh\nocr-verify (.*?)\n```\n\n<!-- output -->\n```text\n(.*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    assert CliRunner().invoke(main, command.split()).stdout == output


def test_the_interpreter_answers_what_is_shown():
    (session,) = re.findall(r"^```pycon\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    example = doctest.DocTestParser().get_doctest(session, {}, PAGE.name, PAGE.name, 0)
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0
