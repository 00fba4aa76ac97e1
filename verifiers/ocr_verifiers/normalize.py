"""Named text normalisations: every rule by which two texts may differ and still count as equal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import regex

from ocr_verifiers.names import suggestion

_BREAK = re.compile(r"<br\s*/?>", re.IGNORECASE)
_EMPHASIS_TAG = re.compile(r"</?(?:b|i|strong|em)>", re.IGNORECASE)
# A span opens before and closes after a character that is no space, stays on its line, and holds none of its
# own markers: a page full of unclosed markers is read in linear time, and nesting is peeled from the inside.
_EMPHASIS = (
    re.compile(r"(?<!\w)(_{1,3})(?=\S)([^_\n]+)(?<=\S)\1(?!\w)"),
    re.compile(r"(?<!\w)(\*{1,3})(?=\S)([^*\n]+)(?<=\S)\1(?!\w)"),
    re.compile(r"(?<!\w)(\*{2,3})(?=\S)([^*\n]+)(?<=\S)\1"),  # **N**ame
    re.compile(r"(\*{2,3})(?=\S)([^*\n]+)(?<=\S)\1(?!\w)"),  # post**script**
)
_NESTING = 3

_FOLDED = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        "＿": "_",
        "\u00b5": "\u03bc",  # the micro sign is the Greek letter mu
    }
)


def nfc(text: str) -> str:
    """Unicode NFC: `e` + combining acute is `é`."""
    return unicodedata.normalize("NFC", text)


def whitespace(text: str) -> str:
    """Every run of white space is one space; none at the ends."""
    return " ".join(text.split())


def quotes(text: str) -> str:
    """Typographic quotes, dashes and hyphens are their ASCII look-alikes, and the micro sign is mu."""
    return text.translate(_FOLDED)


def breaks(text: str) -> str:
    """`<br>`, `<br/>` and `<BR />` are one space."""
    return _BREAK.sub(" ", text)


def markdown(text: str) -> str:
    """Emphasis markers (`**b**`, `_i_`, `<b>`, `<em>`) are dropped within a line, three levels deep at least.

    Markers inside words are text: `snake_case_name`, `2*3*4` and `a*b*c` stay as they are. Doubled asterisks
    may touch a word on one side (`**N**ame`). Headings, lists, links and tables are left alone.
    """
    text = _EMPHASIS_TAG.sub("", text)
    if "*" in text or "_" in text:
        for _ in range(_NESTING):
            before = text
            for pattern in _EMPHASIS:
                text = pattern.sub(r"\2", text)
            if text == before:
                break
    return text


def strict(text: str) -> str:
    """What unit tests apply to the page and to their own strings: all of the above."""
    return whitespace(quotes(nfc(markdown(breaks(text)))))


NORMALIZATIONS: dict[str, Callable[[str], str]] = {
    "nfc": nfc,
    "whitespace": whitespace,
    "quotes": quotes,
    "breaks": breaks,
    "markdown": markdown,
    "strict": strict,
}


def normalize(text: str, names: Sequence[str]) -> str:
    """Applies the named normalisations in the order given; an unknown name is a ValueError."""
    for name in names:
        if name not in NORMALIZATIONS:
            raise ValueError(f'unknown normalization "{name}"; {suggestion(name, NORMALIZATIONS)}')
        text = NORMALIZATIONS[name](text)
    return text


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters, what a reader calls characters: Kannada `ಕಿ` is one, of two code points."""
    clusters: list[str] = regex.findall(r"\X", text)
    return clusters
