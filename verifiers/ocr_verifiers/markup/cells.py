r"""The text of a table cell: as a reader would write it, and as cells are compared.

A formula in a cell is written as plain text if there is a plain way to write it: `$12.3 \pm 0.5$` is `12.3 ± 0.5`,
`$3.2 \times 10^{5}$` is `3.2 × 10⁵`, `$\mathrm{CO_2}$` is `CO₂`, `5\%` is `5%`.
"""

from __future__ import annotations

import re
import unicodedata
from html.entities import html5

from ocr_verifiers.markup.formulas import locate_formulas
from ocr_verifiers.text.normalize import strict

_PLAIN = re.compile(r"(?:[A-Za-z0-9.,:;%()/+'\"-]+ ?)*+(?<! )", re.ASCII)
"""Most cells match this and need no normalisation."""
_SPACED_SIGN = re.compile(r" ?([±∓×·÷=<>≤≥≈≠~+\-/*^°%‰→←↔|∞§]) ?|(?<=⟨) | (?=⟩)")
_MIXED_NUMBER = re.compile("(?<=[0-9])[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒]")
_FOLDED = str.maketrans(
    {
        **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉⁺⁻₊₋⁼₌⁽⁾₍₎ⁿⁱ", "01234567890123456789+-+-==()()ni", strict=True)),
        **dict(zip("⋅∙∣∗⋆∼′º", "··|**~'°", strict=True)),
        **dict(zip("ᵃᵇᶜᵈᵉᶠᵍʰʲᵏˡᵐᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", "abcdefghjklmoprstuvwxyz", strict=True)),
        **dict(zip("ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", "aehijklmnoprstuvx", strict=True)),
        **dict(zip("ℂℍℕℙℚℝℤℬℰℱℋℐℒℳℛ", "CHNPQRZBEFHILMR", strict=True)),
        **{c: unicodedata.normalize("NFKC", c).replace("⁄", "/") for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"},
        "…": "...",
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
            "textdegree=° textmu=μ upmu=μ textpm=± texttimes=× euro=€ pounds=£ textasciitilde=~ lbrace={ rbrace=} "
            "leqslant=≤ geqslant=≥ leqq=≤ geqq=≥ Box=□"
        ).split()
    ),
    **{name: name for name in "sin cos tan cot sec csc log ln lg exp max min lim sup inf det gcd arg dim ker".split()},
    "hfill": " ",
    "quad": " ",
    "qquad": " ",
    "left": "",
    "right": "",
    "displaystyle": "",
    "textstyle": "",
}
_STYLES = (
    "mathrm|mathbf|mathit|mathsf|mathtt|mathnormal|boldsymbol|bm|pmb|text|textbf|textit|textrm|textsf|texttt|textnormal"
    "|mbox|hbox|operatorname|emph|underline|ensuremath|rm|bf|it|sf|tt|mathbb|mathcal|mathscr|mathfrak|makecell|shortstack"
)
_UNSEEN = re.compile(
    r"\\(?:[hv]?phantom|textcolor|color|cellcolor|multirow|multicolumn)(?![A-Za-z])\*?(?:\[[^\[\]]*\])?\{[^{}]*\}"
)
"""Commands with an argument that does not print."""
_SECOND_ARGUMENT = re.compile(r"(\\multi(?:row|column)\{[^{}]*\})\{[^{}]*\}")
_LINE_BREAK = re.compile(r" ?\\\\ ?|\\[hv]space\*?\{[^{}]*\}")
_ACCENT = re.compile(
    r"\\(bar|overline|hat|widehat|tilde|widetilde|dot|ddot|vec)(?![A-Za-z]) ?(?:\{([A-Za-z])\}|([A-Za-z])(?![A-Za-z]))"
)
_ACCENTS = dict(
    zip(
        "bar overline hat widehat tilde widetilde dot ddot vec".split(),
        "\u0304\u0304\u0302\u0302\u0303\u0303\u0307\u0308\u20d7",
        strict=True,
    )
)
_TEXT_SCRIPT = re.compile(r"\\text(super|sub)script ?(?=\{)")
_DOUBLE_BRACE = re.compile(r"\{ ?\{([^{}]*)\} ?\}")
_STYLE = re.compile(rf"\\(?:{_STYLES})(?![A-Za-z])\*? ?")
_FRACTION = re.compile(r"\\(?:[dt]?frac|nicefrac|sfrac)\s*(?:\{([^{}]*)\}|(\d))\s*(?:\{([^{}]*)\}|(\d))")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+)( ?)")
_SPACE = re.compile(r"\\[,;: ]|(?<!\\)~")
_SCRIPT = re.compile(r"(?<!\\)([\^_])\s*(?:\{([^{}]*)\}|([^\s{}\\]))")
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
        text = _MIXED_NUMBER.sub(r" \g<0>", text).translate(_FOLDED)
    return _SPACED_SIGN.sub(r"\1", text) if " " in text else text


def plain_formula(latex: str) -> str:
    r"""A formula as plain text, as far as it can be: `\frac{1}{2}` is `1/2`, an unknown command stays as it is."""
    text = _SPACE.sub(" ", _LINE_BREAK.sub(" ", latex).replace("\\!", ""))
    text = _UNSEEN.sub("", _SECOND_ARGUMENT.sub(r"\1", text))
    text = _TEXT_SCRIPT.sub(lambda found: "^" if found[1] == "super" else "_", text)
    text = _DOUBLE_BRACE.sub(r"{\1}", _STYLE.sub("", text))
    text = _ACCENT.sub(lambda found: (found[2] or found[3]) + _ACCENTS[found[1]], text)
    text = _ROOT.sub(r"√\1", _FRACTION.sub(_fraction, text))
    text = _COMMAND.sub(_symbol, text)
    text = _SCRIPT.sub(_script, text)
    return _BRACE.sub("", text)


def _without_formulas(text: str) -> str:
    pieces, position = [], 0
    for start, end, formula in locate_formulas(text):
        mixed = " " if text[:start][-1:].isdigit() and _FRACTION.match(formula.latex) else ""
        pieces += [text[position:start], mixed, plain_formula(formula.latex)]
        position = end
    rest = text[position:]
    if not pieces and (
        any(_symbol(found) != found[0] for found in _COMMAND.finditer(text))
        or any(command.search(text) for command in (_STYLE, _UNSEEN, _TEXT_SCRIPT, _ACCENT))
    ):
        return plain_formula(text)  # a formula without delimiters
    return "".join([*pieces, rest])


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1] or found[2] or "", found[3] or found[4] or ""
    mixed = found.start() and found.string[found.start() - 1].isdigit()
    return f"{' ' * bool(mixed)}{above}/{below}"


def _symbol(command: re.Match[str]) -> str:
    """The character that a command prints; the space that ends the name of a letter does not print."""
    name, space = command.groups()
    symbol = _SYMBOLS.get(name, html5.get(f"{name};"))
    if symbol is None:
        return command[0]
    return symbol if symbol.isalpha() and len(symbol) == 1 else symbol + space


def _script(found: re.Match[str]) -> str:
    mark, content = found[1], (found[2] if found[2] is not None else found[3]).strip()
    table = _SUPERSCRIPTS if mark == "^" else _SUBSCRIPTS
    return content.translate(table) if all(ord(character) in table for character in content) else content
