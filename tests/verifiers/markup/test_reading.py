"""What is read of a page is the same in any markup; what is hidden is counted."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocr_verifiers.markup.reading import formula_content, read


def words(text):
    return " ".join(read(text).text.split())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("# Title\n\ntext", "<h1>Title</h1><p>text</p>"),
        ("**bold** *it*", "<b>bold</b> <em class='x'>it</em>"),
        ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
        ("* a\n+ b", "- a\n- b"),
        ("> quoted\n> twice", "quoted\ntwice"),
        ("$x^{2}$ holds", r"\( x^2 \) holds"),
        ("$$a \\le b$$", "\\[\na \\leq b\n\\]"),
        ("AT&amp;T, snake\\_case", "AT&T, snake_case"),
        (
            "| a | b |\n|---|---|\n| 1 | 2 |",
            "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
        ),
        ("| $1 \\pm 2$ |\n|---|", '<table><tr><td style="color:red">1 ± 2</td></tr></table>'),
        ("> | a |\n> |---|", "| a |\n|---|"),
        ("see[^1]", "see<sup>1</sup>"),
        ("[^1]: The note.", "¹ The note."),
        ("1. one\n2. two\n\n- a", "<ol><li>one</li><li>two</li></ol><ul><li>a</li></ul>"),
        ("5. one\n6. two", '<ol start="5"><li>one</li><li>two</li></ol>'),
        ("1. one\n7. two\n8. three", "<ol><li>one<li value='7'>two<li>three</ol>"),
        ("- one\n- two", '<ol type="a"><li>one</li><li>two</li></ol>'),
        ("0. one", "<ol type=1 start=0><li>one</li></ol>"),
        ("$\\mathrm{x}^2$", "$x^2$"),
        ("$\\operatorname{sin} x$", "$\\mathrm{sin} x$"),
        ("**one****two** `code` ~~struck~~", "onetwo code struck"),
        ('<p title="a > b">text</p>', "text"),
        ("```html\n<table><tr><td>a</td></tr></table>\n```", "| a |\n|---|"),
        ("a<br>b", "a\nb"),
        ("```markdown\ntext\n```", "text"),
        ("[link](http://a.example)", "link"),
        ("text\n\n---\n\nmore", "text\n\nmore"),
    ],
)
def test_two_markups_of_one_page_read_the_same(one, other):
    assert words(one) == words(other)
    assert read(one).hidden == read(other).hidden == 0


def test_a_formula_in_what_is_not_read_is_not_read_either():
    assert read("![$x$](a.png) $y$ <p title='$z$'>$w$</p>").text.split() == ["y", "w"]


def test_the_cells_of_a_table_are_read_in_order_between_bars():
    assert read("x\n\n| a | b |\n|---|---|\n| 1 |  |\n\ny").text == "x\n\na|b\n1|\n\ny"


@pytest.mark.parametrize("text", ["x^2", r"\frac{a}{b}", r"\alpha x", "{a b}_i"])
def test_formulas_that_differ_in_what_prints_differ(text):
    assert formula_content(text) != formula_content(text.replace("a", "c").replace("2", "3").replace("i", "j") + "y")


@pytest.mark.parametrize("text", ["5 < 6 > 4", "a * b * c", "-5 degrees", "+ 5", "snake_case", "R&D", "C:\\dir"])
def test_signs_that_are_no_markup_are_read(text):
    assert read(text).text == text


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("a<!-- 12345678 -->", 17),
        ("a<script>xyz</script>", 20),
        (f"<p title='{'z' * 100}'>a</p>", 32),
        (f"![{'z' * 100}](x)", 26),
        ('<td align="left">a</td>', 0),
    ],
)
def test_what_nobody_reads_is_counted(text, hidden):
    """Tags, images and links cost nothing up to 80 characters; comments and scripts always do."""
    assert read(text).hidden == hidden
    assert "z" not in read(text).text


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab1 \n|-<>/tdr*_$\\&;#=`![]()^{}") | st.text())
def test_any_text_can_be_read(text):
    assert read(text).hidden >= 0
