"""What OmniDocBench v1.6 takes for formulas, and for words beside them."""

from __future__ import annotations

import re

from ocr_verifiers.metrics.omnidocbench.delimited import FORMULAS, delimited, with_delimited
from ocr_verifiers.metrics.omnidocbench.latex_text import formula_letters
from ocr_verifiers.metrics.omnidocbench.v16.latex import DELIMITERS, is_readable

_SIGN = re.compile(
    r"\\frac|\\sqrt|\\sum|\\int|\\prod|\\times|\\div|\\square|\\cdots|\\left|\\right|\\approx|\\xrightarrow|"
    r"\\rightarrow|\\longrightarrow|[=<>≤≥≈÷×±∑∫√→^_□△…%/+\-]"
)
_NOT_TEXT = re.compile(r"\\[A-Za-z]+|[=<>≤≥÷×±∑∫√\^_□△…%/()+\-]|\d|\s+")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_WORD = re.compile(r"[A-Za-z]{4,}")
_FRACTION = re.compile(r"\d+\s*/\s*\d+")
LONGEST_CELL = 120
"""The length of a cell that may be a formula."""
_NOT_PROSE = "$\\□→"
_CELL_SIGNS = ("=", "+", "-", "×", "÷", "/", "≈", r"\times", r"\div", r"\approx")
_RELATIONS = ("=", r"\approx", "≈", r"\neq", "≠", r"\leq", "≤", r"\geq", "≥")
_STRUCTURED = re.compile(
    r"\\(?:mathbf|left|right|cdot|lambda|Gamma|varGamma|text|matrix|pmatrix|bmatrix)|\\begin\{|\\end\{"
)
_SIGNS = tuple(
    pair.split("=")
    for pair in (
        r"……= \cdots \cdots |…= \cdots |×= \times |÷= \div |≤= \leq |≥= \geq |≠= \neq |≈= \approx |□= \square |"
        r"△= \triangle |（=(|）=)|［=[|］=]|｛={|｝=}"
    ).split("|")
)
_ARROW = re.compile(r"(.*?)\\xrightarrow\s*\{([^{}]+)\}(.*)")
_REACTION = "氧化还原反应"
_STRONG = re.compile(
    r"[=<>≤≥≈≠^+\-/]|\\(?:cdot|frac|sqrt|sum|int|times|div|approx|neq|leq|geq|xrightarrow|longrightarrow)"
)
_LABEL = re.compile(r"[A-Za-z0-9._,-]+|[ΓγλμνxyzuvwMNOabcABC0-9._,-]+")
_SPACING = r"(?:\\qquad|\\quad|\\enspace|\\,|\\;|\\:)\s*"
_NUMBER = re.compile(rf"\s*(\\left\(\s*[0-9IVXivx]+\s*\\right\)|\(\s*[0-9IVXivx]+\s*\))\s*(?:{_SPACING})*")
_WORDS_AFTER, _PARENTHESIS_AFTER = (
    re.compile(rf"({_SPACING})({words})\s*$")
    for words in (r"\\text\s*\{[^{}]*\}\.?", r"\([^)A-Za-z]*[A-Za-z][^)]*\)\.?")
)
_LAST_SPACING = re.compile(rf"(?:{_SPACING})+$")


def is_formula(text: str) -> bool:
    """Whether a text consists of signs, digits and commands rather than of words."""
    text = " ".join(text.split())
    if not text or len(text) > 220:
        return False
    words = len(_WORD.findall(text))
    if words > 2 and not any(sign in text for sign in _NOT_PROSE):
        return False
    bare = _unwrapped(text)
    signs = len(_SIGN.findall(bare))
    if not signs:
        return False
    compact, digits = len("".join(bare.split())), len(re.findall(r"\d", bare))
    chinese, words = len(_CHINESE.findall(bare)), len(_WORD.findall(bare))
    wrapped = next(delimited(text, FORMULAS), None) is not None
    return (
        (wrapped and len(_NOT_TEXT.sub("", bare)) <= 18)
        or (("□" in bare or r"\square" in bare) and words <= 1 and compact <= 80)
        or (
            any(arrow in bare for arrow in (r"\xrightarrow", r"\longrightarrow", "→"))
            and chinese <= 24
            and compact <= 120
        )
        or (signs >= 2 and digits >= 1 and words <= 2 and chinese <= 12 and compact <= 100)
        or (signs >= 3 and words == 0 and chinese <= 18 and compact <= 80)
    )


def is_formula_cell(text: str) -> bool:
    """Whether the cell of a table is a formula: a calculation or a fraction."""
    signs = any(sign in text for sign in _CELL_SIGNS)
    return signs and len(text) <= LONGEST_CELL and _calculates(text) and is_formula(text)


def _calculates(text: str) -> bool:
    return len(re.findall(r"\d", text)) >= 2 or r"\frac" in text or bool(_FRACTION.search(text))


def _unwrapped(text: str) -> str:
    if "$" not in text and "\\" not in text:
        return text
    for begin, end in DELIMITERS:
        text = with_delimited(text, {begin: end}, lambda found: f" {found.inner} ")
    return text


def as_formula(text: str) -> str:
    """A text as a displayed formula."""
    text = _unwrapped(" ".join(text.split()))
    for sign, latex in _SIGNS:
        text = text.replace(sign, latex)
    if arrow := _ARROW.search(text):
        left, label, right = (part.strip() for part in arrow.groups())
        if label and "\\" not in label:
            label = rf"\text{{{label}}}"
        if right.endswith(_REACTION):
            right = right[: -len(_REACTION)].strip()
            text = rf"{left} \underset{{{_REACTION}}}{{\xrightarrow{{{label}}}}} {right}".strip()
        else:
            text = rf"{left} \xrightarrow{{{label}}} {right}".strip()
    text = " ".join(re.sub(r"(?<!\\)([%&])", r"\\\1", text).split())
    return text if not text or text.startswith((r"\begin{", "$$", r"\[")) else rf"\[ {text} \]"


def is_label(latex: str) -> bool:
    """Whether a short inline formula is a name or a number."""
    core = _unwrapped(latex.strip())
    compact = "".join(core.split())
    if compact.startswith((r"\xrightarrow", r"\longrightarrow")):
        return True
    if not compact or len(compact) > 24 or _STRONG.search(core):
        return False
    return bool(_LABEL.fullmatch(compact))


def side_by_side(latex: str) -> list[str]:
    r"""The calculations that `\quad` sets apart on a line; empty if there is only one, or something else."""
    left, right, inner = _envelope(latex)
    parts = [part.strip() for part in re.split(r"\s*(?:\\qquad|\\quad)\s*", inner) if part.strip()]
    if len(parts) < 2 or not all(map(_is_calculation, parts)):
        return []
    return [_enveloped(part, left, right) for part in parts]


def _is_calculation(text: str) -> bool:
    related = any(sign in text for sign in _RELATIONS)
    return len(text) <= 160 and not _STRUCTURED.search(text) and related and _calculates(text)


def without_margins(latex: str) -> tuple[str, list[str], list[str]]:
    """A formula without the number before it and the words after it, and these."""
    left, right, inner = _envelope(latex)
    number = _NUMBER.match(inner)
    if number is None and _caption_after(inner) is None:
        return latex, [], []
    before, after = [], []
    if number:
        before.append(plain(number[1]))
        inner = inner[number.end() :].strip()
    while found := _caption_after(inner):
        after.append(plain(found[2]))
        inner = inner[: found.start()].rstrip()
    inner = _LAST_SPACING.sub("", inner).strip()
    if not inner:
        return " ".join(latex.split()), [], []
    return _enveloped(inner, left, right), [text for text in before if text], [text for text in after if text]


def _caption_after(latex: str) -> re.Match[str] | None:
    """The words at the end of a formula, if they are a caption."""
    if (found := _WORDS_AFTER.search(latex)) and _is_caption(found[2]):
        return found
    end = latex.rfind(")")
    # Other parentheses end before it.
    found = _PARENTHESIS_AFTER.search(latex, latex.rfind(")", 0, end) + 1) if end >= 0 else None
    return found if found and _is_caption(found[2]) else None


def plain(latex: str) -> str:
    """Words in LaTeX as text."""
    latex = latex.strip()
    if any(sign in latex for sign in "\\{}$") and is_readable(latex):
        latex = re.sub(r"[{}]", "", formula_letters(latex))
    return " ".join(latex.replace("\xa0", " ").split())


def _is_caption(latex: str) -> bool:
    text = plain(latex)
    core = text[1:-1].strip() if text.startswith("(") and text.endswith(")") else text
    if not text or re.fullmatch(r"[0-9IVXivx]+", core.replace(" ", "")):
        return False
    letters, words = len(re.findall(r"[A-Za-z]", text)), len(re.findall(r"[A-Za-z]{2,}", text))
    signs = len(re.findall(r"\\[A-Za-z]+|[=<>≤≥÷×±∑∫√_^{}]", latex.strip()))
    return (letters >= 10 and words >= 2 and signs <= 6) or (
        letters >= 14 and not re.search(r"\d", text) and signs <= 3
    )


def _envelope(latex: str) -> tuple[str, str, str]:
    text = " ".join(latex.split())
    for left, right in (DELIMITERS[1], DELIMITERS[2], DELIMITERS[0], DELIMITERS[3]):
        if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
            return left, right, text[len(left) : len(text) - len(right)].strip()
    return "", "", text


def _enveloped(inner: str, left: str, right: str) -> str:
    return f"{left} {inner} {right}" if left and inner.strip() else inner.strip()
