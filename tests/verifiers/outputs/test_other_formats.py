"""Layout JSON, grounding, tags and front matter: what each becomes, and what is malformed."""

import json

import pytest

from ocr_verifiers import to_markdown

BOX = [1, 2, 3, 4]


def layout(*elements):
    return json.dumps([{"bbox": BOX, "category": category, "text": text} for category, text in elements])


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("[]", ""),
        (layout(("Title", "# A")), "# A"),
        (layout(("Title", "A\nB"), ("Section-header", "C"), ("Section-header", "#### D")), "# A B\n\n## C\n\n#### D"),
        (layout(("Text", "a\n\nb "), ("Caption", "c"), ("Footnote", "d")), "a\n\nb \n\nc\n\nd"),
        (
            layout(("List-item", "- a"), ("List-item", "  - b"), ("Text", "c"), ("List-item", "d")),
            "- a\n  - b\n\nc\n\nd",
        ),
        (layout(("Formula", "x^2"), ("Formula", "$$y$$"), ("Formula", r"\[z\]")), "$$x^2$$\n\n$$y$$\n\n\\[z\\]"),
        (layout(("Page-header", "a"), ("Text", "b"), ("Page-footer", "c")), "b"),
        (json.dumps([{"bbox": BOX, "category": "Picture"}, {"category": "Text", "text": "a"}]), "a"),
        (layout(("Stamp", "a")), "a"),
        (f"```json\n{layout(('Text', 'a'))}\n```<|im_end|>", "a"),
        (f"```\n{layout(('Text', 'a'))}\n```\n", "a"),
        (json.dumps([{"bbox": [1.5, 2], "category": "Text", "text": "a", "score": 0.9}]), "a"),
        (layout(("Text", "\ud800")), "\ud800"),
    ],
)
def test_layout_json_as_markdown(text, markdown):
    assert to_markdown(text, "layout_json") == (markdown, None, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is not JSON: Expecting value at character 1"),
        ("Dear Sir", "it is not JSON: Expecting value at character 1"),
        ('[{"bbox": [1, 2', "it is not JSON: Expecting ',' delimiter at character 16"),
        ('[{"category": "Text", "text": "Dear S', "it is not JSON: Unterminated string starting at character 31"),
        (f"{layout(('Text', 'a'))} and more", "it is not JSON: Extra data at character 59"),
        ('{"category": "Text", "text": "a"}', "it is not a JSON array of elements"),
        ("NaN", "it is not JSON: NaN is not a number"),
        ('[{"bbox": [NaN], "category": "Text", "text": ""}]', "it is not JSON: NaN is not a number"),
        ("[1" + "0" * 5000 + "]", "a number has 5,001 digits"),
        ("[" * 100_000, "its JSON is nested too deeply"),
        ('[{"text": "a"}]', 'element 1 is not an object with "bbox", "category" and "text"'),
        ('[{"category": "Text", "text": "a"}, 7]', 'element 2 is not an object with "bbox", "category" and "text"'),
        ('[{"category": "Text"}]', 'element 1, "Text", has no "text"'),
        ('[{"category": "Text", "text": 7}]', 'element 1, "Text", has no "text"'),
        ('[{"category": "Text", "text": "a", "text": "b"}]', "an object has a field twice"),
    ],
)
def test_malformed_layout_json_and_why(text, why):
    assert to_markdown(text, "layout_json") == (text, why, "")


def block(label, text):
    return f"<|ref|>{label}<|/ref|><|det|>[[1, 2, 3, 4]]<|/det|>{text}"


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("", ""),
        (block("title", "\n# A  \n\n") + block("text", "\nb\n\nc"), "# A  \n\nb\n\nc"),
        (block("text", "a<｜end▁of▁sentence｜>"), "a"),
        ("a\n" + block("text", "b"), "a\n\nb"),
        (block("image", "\n") + block("image_caption", "\n<center>Figure 1</center>"), "Figure 1"),
        (block("text", "<center>a</center>"), "<center>a</center>"),
        (block("header", "a") + block("text", "b") + block("page_number", "7"), "b"),
        (block("seal", "a"), "a"),
        ("<|ref|>table<|/ref|><|det|>[[1, 2, 3, 4], [5, 6, 7, 8]]<|/det|>\n<table></table>", "<table></table>"),
        (block("text", "1 < 2 [[1, 2, 3, 4]]"), "1 < 2 [[1, 2, 3, 4]]"),
    ],
)
def test_grounding_as_markdown(text, markdown):
    assert to_markdown(text, "grounding") == (markdown, None, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("title[[1, 2, 3, 4]]\n# A", "it has no <|ref|>; keep special tokens when decoding"),
        ("<|ref|>title", "<|ref|> is not part of <|ref|>label<|/ref|><|det|>[[boxes]]<|/det|>"),
        (block("text", "a") + "<|ref|>text<|/ref|>b", "<|ref|> is not part of "),
        (block("text", "a<|/det|>"), "<|/det|> is not part of "),
        ("<|ref|>text<|/ref|><|det|>[[1, 2, 3", "<|ref|> is not part of "),
    ],
)
def test_malformed_grounding_and_why(text, why):
    markdown = to_markdown(text, "grounding")
    assert markdown.text == text
    assert markdown.problem.startswith(why)


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("# A\n\n☑ b ☐ c", "# A\n\n☑ b ☐ c"),
        ("a\n<page_number>9/22</page_number>", "a\n"),
        ("<watermark>COPY</watermark>a", "a"),
        ("<signature>A. B.</signature>\n<img>Figure 1</img>", "A. B.\nFigure 1"),
        ("<img src='a.png'>", "<img src='a.png'>"),
        ("<img></img>", ""),
        ("", ""),
    ],
)
def test_tags_as_markdown(text, markdown):
    assert to_markdown(text, "tags") == (markdown, None, "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<watermark>COPY", "<watermark> is not closed"),
        ("COPY</watermark>", "</watermark> stands without an opening tag"),
        ("<img>a</signature>", "</signature> stands inside <img>"),
        ("<img>a<page_number>7</page_number></img>", "<page_number> stands inside <img>"),
    ],
)
def test_malformed_tags_and_why(text, why):
    assert to_markdown(text, "tags") == (text, why, "")


FRONT = "---\nis_table: False\n---\n"


def test_front_matter_is_taken_off_and_kept_apart():
    assert to_markdown(FRONT + "\n# A", "front_matter") == ("\n# A", None, FRONT)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# A", "the text does not open with a --- line"),
        ("---\nis_table: [1]\n---\n# A", "the front matter is not a flat mapping of names to values"),
    ],
)
def test_without_front_matter_the_text_stays(text, why):
    assert to_markdown(text, "front_matter") == (text, why, "")
