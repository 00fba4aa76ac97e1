r"""The text of a table cell: as a reader would write it, and as cells are compared.

A formula in a cell is written as plain text if there is a plain way to write it: `$12.3 \pm 0.5$` is `12.3 ± 0.5`,
`$3.2 \times 10^{5}$` is `3.2 × 10⁵`, `$\mathrm{CO_2}$` is `CO₂`, `5\%` is `5%`.
"""

from __future__ import annotations

import re
from html.entities import html5

from ocr_verifiers.markup.formulas import locate_formulas
from ocr_verifiers.text.normalize import strict

_PLAIN = re.compile(r"(?:[A-Za-z0-9.,:;%()/+'\"-]+ ?)*+(?<! )", re.ASCII)
"""Most cells match this and need no normalisation."""
_SPACED_SIGN = re.compile(r" ?([±∓×·÷=<>≤≥≈≠~+\-/*^°%‰→←↔|∞§]) ?")
_FOLDED = str.maketrans(
    {
        **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉⁺⁻₊₋⁼₌⁽⁾₍₎ⁿⁱ", "01234567890123456789+-+-==()()ni", strict=True)),
        **dict(zip("⋅∙∣∗⋆∼′º", "··|**~'°", strict=True)),
        "℃": "°C",
        "℉": "°F",
    }
)

_SYMBOLS = {
    **dict(
        pair.split("=")
        for pair in (
            "cdot=· infty=∞ to=→ neq=≠ circ=° degree=° ast=* star=* mid=| vert=| lvert=| rvert=| ldots=… dots=… "
            "cdots=⋯ epsilon=ε varepsilon=ε phi=φ varphi=φ S=§ P=¶ dag=† ddag=‡ bullet=• deg=deg sim=~ prime=′ "
            "textdegree=° textmu=μ upmu=μ textpm=± texttimes=× euro=€ pounds=£ textasciitilde=~ lbrace={ rbrace=}"
        ).split()
    ),
    "quad": " ",
    "qquad": " ",
    "left": "",
    "right": "",
    "displaystyle": "",
    "textstyle": "",
}
_STYLES = (
    "mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|boldsymbol|bm|pmb|text|textbf|textit|textrm|textsf|texttt|textnormal"
    "|mbox|hbox|operatorname|emph|underline|ensuremath|rm|bf|it|sf|tt"
)
_STYLE = re.compile(rf"\\(?:{_STYLES})(?![A-Za-z])\*? ?")
_FRACTION = re.compile(r"\\(?:[dt]?frac|nicefrac)\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+)( ?)")
_SPACE = re.compile(r"\\[,;: ]|(?<!\\)~")
_SCRIPT = re.compile(r"([\^_])\s*(?:\{([^{}]*)\}|([^\s{}\\]))")
_BARE_SCRIPT = re.compile(r"(?<=\w)\^(\{[-+−]?\d{1,9}\}|[-+−]?\d{1,9})(?![\w^])")
_BRACE = re.compile(r"(?<!\\)[{}]")
_BLOCK_TAG = re.compile(r"</?(?:p|div|li|ul|ol|center|h[1-6])(?:\s[^<>]*)?>", re.IGNORECASE)
_OTHER_TAG = re.compile(r"</?(?:a|code|kbd|label|nobr|tt|abbr|cite)(?:\s[^<>]*)?>", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")


def cell_text(text: str) -> str:
    """A cell as a reader would write it: `strict`, with formulas as plain text where that is possible."""
    if _PLAIN.fullmatch(text):
        return text
    if "<" in text:
        text = _OTHER_TAG.sub("", _BLOCK_TAG.sub(" ", text))
    if "$" in text or "\\" in text:
        text = _without_formulas(text)
    if "^" in text:
        text = _BARE_SCRIPT.sub(lambda found: found[1].strip("{}").translate(_SUPERSCRIPTS), text)
    return strict(text)


def cell_key(text: str) -> str:
    """What is compared of the text of a cell: `5 %` and `5%`, `a ± b` and `a±b`, `x²` and `x2` are equal."""
    if not text.isascii():
        text = text.translate(_FOLDED)
    return _SPACED_SIGN.sub(r"\1", text) if " " in text else text


def plain_formula(latex: str) -> str:
    r"""A formula as plain text, as far as it can be: `\frac{1}{2}` is `1/2`, an unknown command stays as it is."""
    text = _SPACE.sub(" ", latex.replace("\\!", ""))
    text = _STYLE.sub("", text)
    text = _ROOT.sub(r"√\1", _FRACTION.sub(r"\1/\2", text))
    text = _COMMAND.sub(_symbol, text)
    text = _SCRIPT.sub(_script, text)
    return _BRACE.sub("", text)


def _without_formulas(text: str) -> str:
    pieces, position = [], 0
    for start, end, formula in locate_formulas(text):
        pieces += [text[position:start], plain_formula(formula.latex)]
        position = end
    rest = text[position:]
    if not pieces and any(_symbol(found) != found[0] for found in _COMMAND.finditer(text)):
        return plain_formula(text)  # a formula without delimiters
    return "".join([*pieces, rest])


def _symbol(command: re.Match[str]) -> str:
    """The character that a command prints; the space that ends the name of a letter does not print."""
    name, space = command.groups()
    symbol = _SYMBOLS.get(name, html5.get(f"{name};"))
    if symbol is None:
        return command[0]
    return symbol if symbol.isalpha() else symbol + space


def _script(found: re.Match[str]) -> str:
    mark, content = found[1], (found[2] if found[2] is not None else found[3]).strip()
    table = _SUPERSCRIPTS if mark == "^" else _SUBSCRIPTS
    return content.translate(table) if all(ord(character) in table for character in content) else content
