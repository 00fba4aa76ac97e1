"""The true page earns most: no deletion, duplication or substitution of it earns more, under any rubric with text."""

import pytest
from hypothesis import example, given, settings

from helpers.edited_pages import RUBRICS, edited, html_table, markdown_table, rewards
from ocr_verifiers import load_rubric

ZEROS = "| a |\n|---|\n" + "| 0.00 |\n" * 60


@pytest.mark.parametrize("name", RUBRICS)
@settings(deadline=None, max_examples=60)
@given(edited())
@example((ZEROS, ZEROS.replace("| 0.00 |\n", "", 40)))
@example(("no " * 60, "no " * 20))
def test_no_edit_earns_more_than_the_true_page(name, pages):
    true, other = rewards(name, *pages)
    assert true == pytest.approx(1.0, abs=1e-9)
    assert other <= true + 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("name", RUBRICS)
@settings(deadline=None, max_examples=5_000)
@given(edited())
def test_no_edit_of_many_earns_more_than_the_true_page(name, pages):
    true, other = rewards(name, *pages)
    assert true == pytest.approx(1.0, abs=1e-9)
    assert other <= true + 1e-9


ROWS_OF_NUMBERS = [["Hull", "4186", "5875"], ["Leeds", "850", "2570"], ["York", "6239", "8909"]] * 6
WRONG = [[town, one[::-1] + "3", other[::-1] + "7"] for town, one, other in ROWS_OF_NUMBERS]


@pytest.mark.parametrize("write", [markdown_table, html_table])
def test_the_right_numbers_earn_all_in_any_markup_and_wrong_ones_hardly_anything(write):
    """An empty grid of the right shape earns less still."""
    prepared = load_rubric("default").prepare(html_table(ROWS_OF_NUMBERS))
    assert prepared.score(write(ROWS_OF_NUMBERS)).reward == 1.0
    assert prepared.score(write(WRONG)).reward < 0.35
    assert prepared.score(write([["", "", ""]] * len(WRONG))).reward < 0.15


def test_a_wrong_number_costs_a_tenth():
    """All of the text is right but one digit of many."""
    page = "Received of the miller " + " and ".join(f"{n} pounds" for n in range(100, 130))
    prepared = load_rubric("default").prepare(page)
    assert prepared.score(page.replace("117", "171")).reward < 0.9
    assert prepared.score(page.replace("and", "und")).parts["wrong_numbers"] == 1.0


@pytest.mark.parametrize(
    "hidden",
    [
        f"<!-- {'lies ' * 200} -->",
        f"<p title='{'lies ' * 200}'></p>",
        f"![{'lies ' * 200}](a.png)",
        f"<script>{'lies ' * 200}</script>",
    ],
)
def test_unasked_text_that_nobody_reads_is_not_free(hidden):
    page = "Dear Sir, thank you for the barrels."
    prepared = load_rubric("default").prepare(page)
    assert prepared.score(f"{page}\n{hidden}").reward < 0.1
    assert prepared.score(f"---\nnotes: {'lies ' * 200}\n---\n{page}").reward < 0.1


def test_what_the_reference_repeats_may_be_repeated_as_often_in_any_markup():
    rows = [["nil", "0.00", "2024-05"]] * 40
    prepared = load_rubric("default").prepare(html_table(rows))
    assert prepared.score(markdown_table(rows)).reward == 1.0
    assert prepared.score(markdown_table(rows * 2)).parts["repetition"] == 0.5
    assert prepared.score("other " * 200).parts["repetition"] == 0.5


def test_a_page_without_a_reference_is_still_punished_for_loops():
    tests = [{"pdf": "a.pdf", "page": 1, "id": "t", "type": "present", "text": "nil"}]
    from ocr_verifiers import parse_test

    prepared = load_rubric("default").prepare(None, [parse_test(test, "t") for test in tests])
    assert prepared.score("nil return " * 40).parts["repetition"] == 0.5


def test_absent_tests_pay_on_a_true_page_that_repeats():
    from ocr_verifiers import parse_test

    test = parse_test({"pdf": "a.pdf", "page": 1, "id": "t", "type": "absent", "text": "Page 7"}, "t")
    page = "nil return\n" * 60
    assert load_rubric("default").prepare(page, [test]).score(page).reward == 1.0


REPEATING = {
    "a column of zeros": "| a |\n|---|\n" + "| 0.00 |\n" * 60,
    "returns of nil": "nil\n" * 80,
    "an attendance list": markdown_table([["Name", "Mon"], *[["present", "absent"]] * 50]),
    "blanks to fill in": "Name: ____________\n" * 30,
    "ditto marks": '"   do.   do.\n' * 60,
    "a litany": "Pray for us.\n" * 45,
    "leaders": "Chapter ........................................ 1\n" * 20,
    "laughter": "ha " * 200,
    "none, in Chinese": "无\n" * 90,
    "a sutra": "南无阿弥陀佛\n" * 40,
    "rows in HTML": html_table([["nil", "0.00", "-"]] * 70),
    "boxes to tick": "[ ] Yes [ ] No\n" * 40,
    "ballot boxes": "☐ " * 120,
    "formulas": "$0$ " * 60,
    "a table of binary numbers": "0 1 " * 100,
    "lines to write": "I must not talk in class.\n" * 50,
    "empty rows": markdown_table([["a", "b", "c"], *[["", "", ""]] * 60]),
    "two and one": "A\nA\nB\n" * 40,
    "bold ones": "**nil**\n" * 60,
    "entities": "&nbsp;0 " * 50,
    "telephone numbers": "000-000-0000\n" * 40,
    "items": "1. none\n" * 50,
}


@pytest.mark.parametrize("name", REPEATING)
def test_a_page_that_truly_repeats_earns_all_and_half_or_double_of_it_less(name):
    page = REPEATING[name]
    prepared = load_rubric("default").prepare(page)
    assert prepared.score(page).reward == pytest.approx(1.0)
    for other in (page[: len(page) // 2], page * 2, page * 3):
        assert prepared.score(other).reward < 0.75


ROWS_OF_A_BILL = [["Item", "Qty", "Price"], ["Tea", "12", "3.40"], ["Salt & Co", "7", "1,200.00"], ["x²", "5%", "$4"]]
BILL, MARKDOWN_BILL = html_table(ROWS_OF_A_BILL), markdown_table(ROWS_OF_A_BILL)


@pytest.mark.parametrize(
    "written",
    [
        MARKDOWN_BILL,
        MARKDOWN_BILL.replace("|---|", "|:--|:-:|--:|"),
        "\n".join("> " + line for line in MARKDOWN_BILL.splitlines()),
        BILL.replace("td>", "th>"),
        BILL.replace("<table>", '<table border="1" class="x">'),
        BILL.replace("td", "TD").replace("table", "TABLE"),
        BILL.replace("<tr>", "\n<tr>\n").replace("<td>", "\n  <td>"),
        BILL.replace("&", "&amp;").replace("<td>", "<td><p>").replace("</td>", "</p></td>"),
        f"```html\n{BILL}\n```",
        f"<html><body><div align='center'>{BILL}</div></body></html>",
        BILL.replace("Item", "<b>Item</b>").replace("x²", "$x^2$").replace("5%", r"5\%"),
    ],
)
def test_a_table_earns_all_in_every_legitimate_markup(written):
    assert load_rubric("default").prepare(BILL).score(written).reward > 0.97


PROSE = "# Title\n\nThe **Act** of $x^2 + y$ and\n\n1. one\n2. two\n\n- a\n- b\n\nSee [page](http://x.y/z) & note[^1]."


@pytest.mark.parametrize(
    "written",
    [
        "<h1>Title</h1><p>The <b>Act</b> of \\(x^{2} + y\\) and</p><ol><li>one</li><li>two</li></ol><ul><li>a</li><li>b"
        "</li></ul><p>See <a href='http://x.y/z'>page</a> &amp; note<sup>1</sup>.</p>",
        PROSE.replace("# Title", "Title\n====="),
        PROSE.replace("# Title", "<center><h2>Title</h2></center>"),
        PROSE.replace("**Act**", "<u>Act</u>"),
        PROSE.replace("**Act**", "`Act`"),
        PROSE.replace("$x^2 + y$", "$$x^2+y$$"),
        PROSE.replace("$x^2 + y$", "<math>\\mathrm{x}^2+y</math>"),
        PROSE.replace("$x^2 + y$", "\\begin{equation}x^2+y\\end{equation}"),
        PROSE.replace("&", "&amp;").replace(".", "\\."),
        PROSE.replace("- ", "* ").replace("two", "~~two~~"),
        PROSE.replace("\n", "\r\n"),
        f"```markdown\n{PROSE}\n```",
        f"{PROSE}\n\n---\n\n![](figure.png)",
    ],
)
def test_prose_earns_nearly_all_in_every_legitimate_markup(written):
    assert load_rubric("default").prepare(PROSE).score(written).reward > 0.95
