"""Invented pages in OmniDocBench's form, and transcriptions of them with errors."""

import random
import re

LATIN = (
    "river stone market evening letter harbour winter council paper engine garden bridge silver north window account "
    "ledger 1871 12.5 3,400 Marlow Ashgrove p. vol. & (sic) half-way o'clock"
).split()
CHINESE = list("渡口票价通知自六月一日起成人由三角改为四角学生凭证半价行李超过二十斤者另收搬运费夜间班次暂停至七月底")
FORMULAS = (
    r"x_1|\frac{a}{b_1}|\alpha + \beta^2|\mathbb{R}^n|\mathbf{v}_i|10^{-3}|\sqrt{x^2+1}|\hat{a}_k|\sin\theta|E = mc^2|"
    r"\sum_{i=1}^{n} x_i|\mathrm{kg}|\left( a^2 \right)|p = 0.05|\operatorname{argmax}_x|\mathcal{L}(\phi)|"
    r"\text{if } x_1|\lim_{n\to\infty} a_n|\int_0^1 f(x)\,dx|\begin{pmatrix} a & b \\ c & d \end{pmatrix}"
).split("|")


def page(rng: random.Random, number: int, longest: int = 14) -> tuple[dict, str]:
    """A record of the benchmark, and a transcription in markdown."""
    chinese = rng.random() < 0.3
    words, space = (CHINESE, "") if chinese else (LATIN, " ")

    def sentence(low=3, high=120):
        parts = rng.choices(words, k=rng.randint(low, high))
        if rng.random() < 0.3:
            parts.insert(rng.randrange(len(parts)), f" ${rng.choice(FORMULAS)}$ ")
        return space.join(parts)

    items, written = [], []
    kinds = "title text_block header footer page_number equation_isolated table figure_caption code_txt reference"
    chosen = rng.choices(kinds.split(), [2, 10, 1, 1, 1, 3, 2, 1, 0.5, 1], k=rng.randint(1, longest))
    for order, kind in enumerate(chosen, 1):
        item = {"category_type": kind, "anno_id": order, "order": order if rng.random() < 0.95 else None}
        if kind == "table":
            item["html"], shown = table(rng, sentence)
        elif kind == "equation_isolated":
            latex = " = ".join(rng.choices(FORMULAS, k=rng.randint(1, 3)))
            item["latex"] = rng.choice(["$${}$$", r"\[{}\]", "{}"]).format(latex)
            shown = rng.choice(["$$\n{}\n$$", r"\[ {} \]", "$${}$$"]).format(noisy(rng, latex, 0.03))
        else:
            item["text"] = sentence(1, 4) if kind in ("title", "header", "page_number") else sentence()
            shown = ("# " if kind == "title" and rng.random() < 0.7 else "") + noisy(rng, item["text"])
        items.append(item)
        if rng.random() < 0.93 and not (kind in ("header", "footer", "page_number") and rng.random() < 0.7):
            written.append(shown)
    relations = []
    blocks = [item for item in items if item["category_type"] == "text_block" and item["order"]]
    if len(blocks) > 1 and rng.random() < 0.3:
        relations.append(
            {
                "relation_type": "truncated",
                "source_anno_id": blocks[0]["anno_id"],
                "target_anno_id": blocks[1]["anno_id"],
            }
        )
    record = {
        "page_info": {
            "image_path": f"images/page_{number}.jpg",
            "page_attribute": {"language": "simplified_chinese" if chinese else "english"},
        },
        "layout_dets": items,
        "extra": {"relation": relations},
    }
    return record, transcription(rng, written, sentence)


LINES = (
    r"x_{1} &= a + b|y = \frac{1}{2}|& + 3 z^{2}|f(x) & = \sin x|\Rightarrow k = 4|\text{if } n > 3|"
    r"E = m c^{2} \tag{3}|\forall x, p|(2) & q + 7"
).split("|")
BESIDE = (
    r"(3) \quad 2 + 3 = 5|12 = 3 \times 4 \quad 7 = 14 / 2|x = 5 \quad \text{for every positive value}|"
    r"y = 2 \qquad (for all positive values of n)|\begin{bmatrix} a & b \\ c & d \end{bmatrix} = A"
).split("|")
CELLS = (
    r"3 + 4 = 7|1/2 + 1/4|$\frac{1}{2} = 0.5$|12-15|5 × 3 = 15|100%|a = b|✓|-|$\alpha$|$3 \times 2$|2020/21 - 3|"
    r"p < 0.05|<b>x</b> y|5 &amp; 6|\checkmark"
).split("|")
ODD = (
    r"3 + 4 = 7, 5 - 2 = 3|<div>some text <b>here</b></div>|A \xrightarrow{heat} B + C|![x^2 + 3 = 5](images/b.png)|"
    r"1. $a^2$ ① and ⓑ|The image displays a graph of $x^2$ and more|$$x = 1$$ $$y = 2$$|"
    r"\begin{tabular}{l} a \\ b \end{tabular}"
).split("|")


def page_with_lines(rng: random.Random, number: int, longest: int = 14) -> tuple[dict, str]:
    """A page, with formulas of several lines, tables of formulas and odd texts after it."""
    record, text = page(rng, number, longest)
    written = text.split("\n\n")
    order = max((item["order"] or 0 for item in record["layout_dets"]), default=0)
    for place in range(rng.randint(0, 4)):
        item = {"anno_id": 100 + place, "order": order + 1 + place}
        chance = rng.random()
        if chance < 0.6:
            latex = lines_of_formula(rng)
            item |= {
                "category_type": "equation_isolated",
                "latex": rng.choice(["$${}$$", r"\[{}\]", "{}"]).format(latex),
            }
            shown = written_formula(rng, noisy(rng, latex))
        elif chance < 0.85:
            rows = [rng.choices(CELLS, k=3) for _ in range(rng.randint(1, 4))]
            item |= {"category_type": "table", "html": f"<table>{''.join(map(html_row, rows))}</table>"}
            rows[-1][0] = rng.choice([rows[-1][0], *CELLS])
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            as_html = f"<table>{''.join(map(html_row, rows))}</table>"
            shown = rng.choice([as_html, "\n".join([lines[0], "|---|---|---|", *lines[1:]])])
        else:
            shown = rng.choice(ODD)
            kind = rng.choice(["text_block", "code_txt", "figure_caption", "title"])
            item |= {"category_type": kind, "text": shown.replace("<div>", "").replace("</div>", "")}
        record["layout_dets"].append(item)
        if rng.random() < 0.95:
            written.insert(rng.randint(max(0, len(written) - 2), len(written)), shown)
    return record, "\n\n".join(written)


def lines_of_formula(rng):
    chance = rng.random()
    if chance < 0.4:
        return rng.choice([*FORMULAS, *BESIDE])
    lines = r" \\ ".join(rng.choices(LINES, k=rng.randint(1, 5)))
    if chance < 0.55:
        return lines
    name = rng.choice(
        ["aligned", "align*", "split", "gathered", "cases", "array}{l", "array}{rl", "array}{ccc", "eqnarray"]
    )
    latex = rf"\begin{{{name}}} {lines} \end{{{name.split('}')[0]}}}"
    return rng.choice(["{}", "{}", r"\left\{ {} \right.", r"{} \quad (3)", r"{} \tag{4}", "{}, x>0"]).replace(
        "{}", latex
    )


def written_formula(rng, latex):
    if rng.random() < 0.3 and r"\\" in latex:
        bare = re.sub(r"\\(begin|end)\{[^}]*\}(\{[^}]*\})?|\\left\\\{|\\right\.", "", latex)
        return "\n\n".join(f"$${line.strip()}$$" for line in bare.split(r"\\"))
    return rng.choice(["$$\n{}\n$$", r"\[ {} \]", "$${}$$", "${}$", "{}"]).replace("{}", latex)


def noisy(rng, text, share=0.02):
    return "".join(
        character if rng.random() > share or character in "$\\{}" else rng.choice(["", "x", character * 2])
        for character in text
    )


def transcription(rng, written, sentence):
    """The blocks, some of them split, joined, exchanged or added."""
    blocks = []
    for block in written:
        chance = rng.random()
        plain = not block.startswith(("<table", "|", "$", "\\["))
        if plain and chance < 0.12 and " " in block:
            at = block.index(" ", min(len(block) // 2, block.rindex(" ")))
            blocks += [block[:at], block[at:]]
        elif plain and chance < 0.2 and blocks and not blocks[-1].startswith(("<table", "|", "$", "\\[")):
            blocks[-1] += " " + block
        else:
            blocks.append(block)
    if len(blocks) > 1 and rng.random() < 0.3:
        at = rng.randrange(len(blocks) - 1)
        blocks[at : at + 2] = blocks[at + 1], blocks[at]
    if rng.random() < 0.2:
        blocks.insert(rng.randint(0, len(blocks)), rng.choice([sentence(), "![](images/a.png)", "***", "____________"]))
    text = ("\n" if rng.random() < 0.05 else "\n\n").join(blocks)
    return f"```markdown\n{text}\n```" if rng.random() < 0.05 else text


def table(rng, sentence):
    """A table of the reference in HTML, and as it is written."""
    columns = rng.randint(1, 5)
    rows = [[sentence(1, 3) if rng.random() < 0.9 else "" for _ in range(columns)] for _ in range(rng.randint(1, 6))]
    wide = rng.random() < 0.3 and columns > 1
    first = f'<tr><td colspan="{columns}">{rows[0][0]}</td></tr>' if wide else html_row(rows[0])
    html = f"<table>{first}{''.join(map(html_row, rows[1:]))}</table>"
    changed = [[noisy(rng, cell, 0.03) for cell in row] for row in rows if rng.random() < 0.95] or [["x"]]
    if rng.random() < 0.3:
        lines = ["| " + " | ".join(row) + " |" for row in changed]
        return html, "\n".join([lines[0], "|" + "---|" * columns, *lines[1:]])
    if rng.random() < 0.3:
        head = html_row(changed[0]).replace("td>", "th>")
        body = "".join(map(html_row, changed[1:]))
        return html, f'<table border="1">\n<thead>{head}</thead>\n<tbody>{body}</tbody>\n</table>'
    start = f'<tr><td colspan="{columns}"><b>{changed[0][0]}</b></td></tr>' if wide else html_row(changed[0])
    return html, f"<table>{start}{''.join(map(html_row, changed[1:]))}</table>"


def html_row(cells):
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
