"""Named text normalisations: all differences between two texts that can be ignored."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from html import unescape
from html.entities import html5
from itertools import groupby

import regex

from ocr_verifiers.text.emphasis import without_emphasis
from ocr_verifiers.text.suggestions import suggestion

_BREAK = re.compile(r"<br(?:\s[^<>]*)?/?>", re.IGNORECASE)
_INVISIBLE = regex.compile(r"(?:\u00ad[ \t]*\r?\n[ \t]*|\p{Default_Ignorable_Code_Point})+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
ATTRIBUTES = r"""(?:[\s/](?:[^<>"']|"[^"]{0,400}"|'[^']{0,400}')*+|[\s/][^<>]*+)?"""
"""Of an HTML tag; a quoted value may hold angle brackets."""
_INLINE_TAG = re.compile(
    r"</?(?:b|i|u|s|strong|em|ins|del|mark|small|big|span|font|su[bp]|a|abbr|bdi|bdo|cite|code|dfn|kbd|label|nobr|q|samp"
    rf"|strike|time|tt|var|wbr){ATTRIBUTES}>",
    re.IGNORECASE,
)
_SCRIPT = re.compile(r"<(su[bp])(?:\s[^<>]*)?>\s*([0-9+\-−=()ni]{1,32})\s*</\1\s*>", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("0123456789+-−=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿⁱ")
_SUBSCRIPTS = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_CODE = re.compile(r"(?<![`\\])`([^`\n]+)`(?!`)")
_STRUCK = re.compile(r"(?<![~\\])~~(?=[^\s~])([^~\n]*[^\s~])~~(?!~)")
_HYPHEN = re.compile(r"(?<=[^\W\d_])[-‐⸗¬]\r?\n[ \t]*(?=[^\W\d_])")
_WIDTH: dict[int, int | str] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    0x3000: " ",
    **{
        code: unicodedata.normalize("NFKC", chr(code))
        for code in (*range(0xFF61, 0xFFDD), *range(0xFFE0, 0xFFEF))
        if unicodedata.decomposition(chr(code)).startswith(("<narrow>", "<wide>"))
    },
}
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}
_UNUSUAL_RUN = re.compile(r"[^\x00-\u02ff]{100}")
_MARK_RUN = regex.compile(r"[\P{ccc=0}\u0f73\u0f75\u0f81]{100,}")
_DECOMPOSED = {code: unicodedata.normalize("NFD", chr(code)) for code in (0xF73, 0xF75, 0xF81)}
"""The characters that are not marks but decompose into marks."""
_LONG_REFERENCE = re.compile(r"&#[0-9]{4300,};?")

_FOLDED = {
    **dict.fromkeys("‘’‚‛", "'"),
    **dict.fromkeys("“”„‟", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    "＿": "_",
    "\u00b5": "\u03bc",  # the micro sign is the Greek letter mu
}


def nfc(text: str) -> str:
    """Unicode NFC: `e` + combining acute becomes `é`. Linear time, because long runs of marks are sorted first."""
    if len(text) - len(text.encode("ascii", "ignore")) >= 100 and _UNUSUAL_RUN.search(text):
        text = _MARK_RUN.sub(_ordered, text)
    return unicodedata.normalize("NFC", text)


def whitespace(text: str) -> str:
    """Every run of white space becomes one space; the ends are stripped."""
    return " ".join(text.split())


def quotes(text: str) -> str:
    """Typographic quotes, dashes and hyphens become ASCII, and the micro sign becomes mu."""
    if not text.isascii():
        for character, plain in _FOLDED.items():
            text = text.replace(character, plain)
    return text


def breaks(text: str) -> str:
    """`<br>`, `<br/>` and `<BR />` become a space."""
    return _BREAK.sub(" ", text) if "<" in text else text


def invisible(text: str) -> str:
    """Drops characters that print nothing: zero-width ones, soft hyphens, bidi controls, variation selectors.

    These are the characters with Unicode's property Default_Ignorable_Code_Point. They include the joiners U+200C and
    U+200D, which Persian and Kannada spelling uses: two texts that differ only in joiners are equal. A soft hyphen at
    the end of a line joins the word that it divides.
    """
    if text.isascii() or not _INVISIBLE.search("".join(_NOT_ASCII.findall(text))):
        return text
    visible: str = _INVISIBLE.sub("", text)
    return visible


def long_s(text: str) -> str:
    """The long s of old prints becomes s: `Beſtritt` is `Bestritt`. Unit tests do not do this."""
    return text.replace("ſ", "s")


def ligatures(text: str) -> str:
    """Typographic ligatures become letters: `ﬁ` is `fi`. Unit tests do not do this."""
    return text.translate(_LIGATURES)


def width(text: str) -> str:
    """Full-width letters and half-width kana get their usual width: `ＡＢＣ１` is `ABC1`. Unit tests do not do this."""
    return text if text.isascii() else text.translate(_WIDTH)


def nfkc(text: str) -> str:
    """Unicode NFKC, which includes `width`, `ligatures` and `long_s`, and makes `x2` of `x²`. Not in unit tests."""
    return unicodedata.normalize("NFKC", nfc(text))


def dehyphenate(text: str) -> str:
    """Joins words that a hyphen divides at the end of a line: `tran-` and `scribe` below. Not in unit tests.

    The hyphen is dropped wherever letters stand on both sides, so that `well-known` loses its own if it is divided
    there. It must come before `whitespace`.
    """
    return _HYPHEN.sub("", text)


def markdown(text: str) -> str:
    """Drops emphasis markers (`**b**`, `_i_`) by the rules of `text.emphasis`, those of code and of what is struck out
    (~~so~~), and tags within a line (`<b>`, `<u>`).

    Digits in <sub> and <sup> become Unicode's: `H<sub>2</sub>O` is `H₂O`. Headings, lists, links and tables are left
    alone.
    """
    if "<" in text:
        text = _INLINE_TAG.sub("", _SCRIPT.sub(_script, text))
    if "~~" in text:
        text = _STRUCK.sub(r"\1", text)
    if "`" in text:
        text = _CODE.sub(r"\1", text)
    return without_emphasis(text) if "*" in text or "_" in text else text


def escapes(text: str) -> str:
    r"""What markdown escapes: `\*` is `*`, and `&amp;` is `&`. Unknown references and those without `;` are text."""
    if "\\" not in text and "&" not in text:
        return text
    return _ESCAPE.sub(_unescaped, text)


def strict(text: str) -> str:
    """What unit tests apply to the page and to their own strings.

    These are invisible, breaks, markdown, escapes, nfc, quotes and whitespace, in this order.
    """
    plain = markdown(breaks(invisible(text)))
    written = escapes(plain)
    if written is not plain:
        written = invisible(written)
    return whitespace(quotes(nfc(written)))


def references(text: str) -> str:
    """Replaces HTML character references: `&amp;` becomes `&`. A number that is too long becomes U+FFFD."""
    try:
        return unescape(text)
    except ValueError:  # Python's limit for integers is 4,300 digits
        return unescape(_LONG_REFERENCE.sub("\ufffd", text))


def _unescaped(found: re.Match[str]) -> str:
    known = found[0][1] == "#" or found[0][1:] in html5
    return found[1] or (references(found[0]) if known else found[0])


def _script(found: re.Match[str]) -> str:
    return found[2].translate(_SUPERSCRIPTS if found[1][2] in "pP" else _SUBSCRIPTS)


def _ordered(run: regex.Match[str]) -> str:
    """Marks in NFC's order, by a stable sort on their combining class; `unicodedata` takes quadratic time for this."""
    marks = run[0].translate(_DECOMPOSED)
    pieces: list[str] = []
    for is_mark, group in groupby(marks, lambda character: unicodedata.combining(character) > 0):
        characters = list(group)
        pieces += sorted(characters, key=unicodedata.combining) if is_mark else characters
    return "".join(pieces)


NORMALIZATIONS: dict[str, Callable[[str], str]] = {
    "nfc": nfc,
    "whitespace": whitespace,
    "quotes": quotes,
    "breaks": breaks,
    "invisible": invisible,
    "long_s": long_s,
    "ligatures": ligatures,
    "width": width,
    "nfkc": nfkc,
    "dehyphenate": dehyphenate,
    "markdown": markdown,
    "escapes": escapes,
    "strict": strict,
}


def normalize(text: str, names: Sequence[str]) -> str:
    """Applies the named normalisations in the order given; raises ValueError for an unknown name."""
    for name in names:
        if name not in NORMALIZATIONS:
            raise ValueError(f'unknown normalization "{name}"; {suggestion(name, NORMALIZATIONS)}')
        text = NORMALIZATIONS[name](text)
    return text


def graphemes(text: str) -> list[str]:
    """Extended grapheme clusters, what a reader calls characters: Kannada `ಕಿ` is one cluster of two code points."""
    clusters: list[str] = regex.findall(r"\X", text)
    return clusters
