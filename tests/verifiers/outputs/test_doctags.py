"""DocTags: what each element becomes, and what is malformed."""

import pytest

from ocr_verifiers import to_markdown


def markdown(elements):
    converted = to_markdown(f"<doctag>{elements}</doctag>", "doctags")
    assert converted.problem is None
    return converted.text


def problem(text):
    return to_markdown(text, "doctags").problem


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ("<text><loc_1><loc_2><loc_3><loc_4>Dear Sir,\nthank you.</text>", "Dear Sir,\nthank you."),
        ("<text>a</text><text>b</text>\n<page_break>\n<text>c</text>", "a\n\nb\n\nc"),
        ("<text>P < 0.05 & x > 1, H<sub>2</sub>O</text>", "P < 0.05 & x > 1, H<sub>2</sub>O"),
        ("<section_header_level_1>a</section_header_level_1>", "# a"),
        ("<section_header_level_3>a\nb</section_header_level_3>", "### a b"),
        ("<section_header_level_1>b</section_header_level_1><title>a</title>", "## b\n\n# a"),
        ("<title>t</title><section_header_level_9>a</section_header_level_9>", "# t\n\n###### a"),
        ("<formula>x^2</formula>", "$$x^2$$"),
        (r"<formula>\[ x^2 \]</formula>", r"\[ x^2 \]"),
        ("<text>so <formula>x</formula> holds</text>", "so $x$ holds"),
        ("<code><_Python_>if a:\n    b()</code>", "```\nif a:\n    b()\n```"),
        ("<inline><text>call</text>\n<code><_C++_>f()</code>\n<text>.</text></inline>", "call `f()`."),
        ("<inline><text>(</text><text>a</text><text>)</text></inline>", "(a)"),
        ("<section_header_level_1><inline><text>a</text><text>b</text></inline></section_header_level_1>", "# a b"),
        ("<checkbox_selected>a</checkbox_selected><checkbox_unselected>b</checkbox_unselected>", "☑ a\n\n☐ b"),
        ("<footnote>1 a</footnote><caption>b</caption><paragraph>c</paragraph>", "1 a\n\nb\n\nc"),
        ("<key_value_region><key_0>To<link_1></key_0><value_1>A. B.</value_1></key_value_region>", "To\n\nA. B."),
        ("<page_header>a</page_header><text>b</text><page_footer>7</page_footer>", "b"),
        ("<picture><loc_1><loc_2><loc_3><loc_4><logo></picture>", ""),
        ("<picture><smiles>CCO</smiles><caption>Figure 1</caption></picture>", "Figure 1"),
        ("<chart><bar_chart><ched>a<nl><fcel>1<nl><caption>Figure 1</caption></chart>", "Figure 1"),
        ("<text class='a'>b</text>", "b"),
        ("", ""),
    ],
)
def test_an_element_as_markdown(elements, text):
    assert markdown(elements) == text


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        ("<unordered_list><list_item>a</list_item>\n<list_item>b</list_item>\n</unordered_list>", "- a\n- b"),
        ("<ordered_list><list_item>a</list_item><list_item>b</list_item></ordered_list>", "1. a\n2. b"),
        ("<unordered_list><list_item>1. a</list_item><list_item>(b) c</list_item></unordered_list>", "1. a\n(b) c"),
        ("<ordered_list><list_item>3.1. a</list_item><list_item>b</list_item></ordered_list>", "3.1. a\n2. b"),
        ("<unordered_list><list_item>• a</list_item><list_item>-5 b</list_item></unordered_list>", "- a\n- -5 b"),
        ("<list_item>a</list_item><list_item>b</list_item>", "- a\n\n- b"),
        (
            "<ordered_list><list_item>a</list_item><list_item><unordered_list><list_item>b</list_item>"
            "</unordered_list></list_item><list_item>c</list_item></ordered_list>",
            "1. a\n    - b\n2. c",
        ),
        (
            "<ordered_list><list_item>a<ordered_list><list_item>b</list_item></ordered_list></list_item>"
            "<ordered_list><list_item>c</list_item></ordered_list></ordered_list>",
            "1. a\n    1. b\n    1. c",
        ),
        (
            "<unordered_list><list_item><inline><text>a</text><text>b</text></inline></list_item></unordered_list>",
            "- a b",
        ),
        ("<unordered_list><checkbox_selected>a</checkbox_selected></unordered_list>", "- ☑ a"),
    ],
)
def test_a_list_as_markdown(elements, text):
    assert markdown(elements) == text


@pytest.mark.parametrize(
    ("elements", "text"),
    [
        (
            "<otsl><loc_1><loc_2><loc_3><loc_4><ched>a<nl><fcel>1<nl><caption><loc_1>T 1</caption></otsl>",
            "T 1\n\n<table><tr><th>a</th></tr><tr><td>1</td></tr></table>",
        ),
        (
            "<otsl><caption>T 1</caption><fcel>1<nl><footnote>n</footnote></otsl>",
            "T 1\n\n<table><tr><td>1</td></tr></table>\n\nn",
        ),
        ("<otsl><fcel>a<fcel>b</otsl>", "<table><tr><td>a</td><td>b</td></tr></table>"),
        ("<otsl><fcel><text>a</text>\n<text>b</text><nl></otsl>", "<table><tr><td>a\nb</td></tr></table>"),
        (
            "<otsl><fcel><otsl><fcel>a<nl></otsl><nl></otsl>",
            "<table><tr><td><table><tr><td>a</td></tr></table></td></tr></table>",
        ),
        ("<otsl></otsl><text>a</text>", "a"),
        ("<document_index>1 Introduction 3</document_index>", "1 Introduction 3"),
        ("<document_index><fcel>a<fcel>3<nl></document_index>", "<table><tr><td>a</td><td>3</td></tr></table>"),
    ],
)
def test_a_table_as_html(elements, text):
    assert markdown(elements) == text


@pytest.mark.parametrize(
    "text",
    [
        "<text>a</text>",  # without <doctag>
        " \n<doctag><text>a</text>\n</doctag><end_of_utterance>\n",
        "<doctag><text>a</text></doctag><|end_of_text|>",
    ],
)
def test_the_ends_of_an_output(text):
    assert to_markdown(text, "doctags") == ("a", None, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no DocTags; keep special tokens when decoding"),
        ("Dear Sir", "it has no DocTags; keep special tokens when decoding"),
        ("<doctag><text>Dear S", "<text> is not closed"),
        ("<doctag><text>Dear Sir</text>", "<doctag> is not closed"),
        ("<doctag><text>a</code></doctag>", "</code> closes <text>"),
        ("<text>a</text></text>", "</text> closes no element"),
        ("<doctag>Dear Sir<text>a</text></doctag>", '"Dear Sir" stands outside an element'),
        ("<ordered_list>Dear Sir</ordered_list>", '"Dear Sir" stands outside an element'),
        ("<otsl>Dear Sir<fcel>a<nl></otsl>", '"Dear Sir" stands outside a table cell'),
        ("<otsl><fcel>a<lcel>b<nl></otsl>", "<lcel> has text, and is part of another cell"),
        ("<text><fcel>a</text>", "<fcel> stands outside a table"),
        ("<text>a</text><nl>", "<nl> stands outside a table"),
        ("<text>" * 21 + "a" + "</text>" * 21, "more than 20 elements stand within each other"),
        ("<text>" + "<loc_1>" * 9 + "a</text>", "9 locations and links stand in 1 elements and cells"),
        (
            "<doctag>" + "<text></text>" * 201 + "</doctag>",
            "2,010 characters are not part of the transcription (page headers, boxes, empty elements and so on); "
            "at most 2,000 are left out",
        ),
    ],
)
def test_what_is_malformed_and_why(text, why):
    assert to_markdown(text, "doctags") == (text, why, "")
