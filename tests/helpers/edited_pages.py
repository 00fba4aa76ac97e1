"""Pages, and the same with one stretch deleted, repeated or replaced; and what both earn."""

from hypothesis import strategies as st

from ocr_verifiers import load_rubric
from ocr_verifiers.markup import katex

RUBRICS = ["default", "layout", "format_decoupled", "ledger"]
if not katex.installed():
    RUBRICS.remove("format_decoupled")

WORD = st.sampled_from(
    "the mill **N**ame **注意：**请 AT&amp;T snake\\_case 3,201 0.00 nil ____ ..... H<sub>2</sub>O <u>Act</u> ﬁnd 12 "
    "$x_1$ $5 \\( 净利润 ありがとう see[^1] † &lt; 5\\% <b> <!-- | > # -".split()
)
LINE = st.lists(WORD, min_size=1, max_size=6).map(" ".join)
CELL = st.sampled_from(["", "0", "0.00", "nil", "12", "$\\pm 3$", "净利润", "4186", "<b>a</b>", "Tea"])
ROWS = st.lists(st.lists(CELL, min_size=1, max_size=4), min_size=1, max_size=4)


def markdown_table(rows):
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---|---|", *lines[1:]])


def html_table(rows):
    return "<table>" + "".join(f"<tr>{''.join(f'<td>{c}</td>' for c in row)}</tr>" for row in rows) + "</table>"


REPEATED = st.builds(
    lambda rows, times, write: write([*rows, *(rows[-1:] * times)]),
    ROWS,
    st.integers(0, 80),
    st.sampled_from([markdown_table, html_table]),
)
BLOCK = st.one_of(
    st.lists(LINE, min_size=1, max_size=3).map("\n".join),
    REPEATED,
    st.builds(lambda line, times: "\n".join([line] * times), LINE, st.integers(1, 50)),
    st.sampled_from(["# Accounts", "\\[ \\frac{a}{b} = \\underset{x}{\\max} y \\]", "- one\n- two", "> said", "---"]),
)
PAGE = st.lists(BLOCK, min_size=1, max_size=4).map("\n\n".join) | st.text(max_size=60)


@st.composite
def edited(draw):
    """A page, and the page with one stretch deleted, written twice (or often), or replaced."""
    page = draw(PAGE)
    start = draw(st.integers(0, len(page)))
    end = min(len(page), start + draw(st.sampled_from([1, 2, 5, 20, 100, 1000])))
    kind = draw(st.sampled_from(["delete", "duplicate", "substitute"]))
    if kind == "delete":
        other = ""
    elif kind == "duplicate":
        other = page[start:end] * draw(st.sampled_from([2, 3, 40]))
    else:
        other = draw(st.text(alphabet="aZ0 7净|<>/*_$-\n.", max_size=end - start + 1))
    return page, page[:start] + other + page[end:]


def rewards(name, page, other):
    prepared = load_rubric(name).prepare(page)
    return prepared.score(page).reward, prepared.score(other).reward
