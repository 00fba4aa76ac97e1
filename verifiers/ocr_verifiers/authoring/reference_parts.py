"""The parts of a reference that a unit test can ask for: words, numbers, sentences, footnotes.

Each is normalised as unit tests compare texts (`normalize.strict`) and found in linear time. A part does not always
occur on the page in exactly this form, so every test made of it is run on the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex

from ocr_verifiers.text.normalize import strict

LONGEST_WORD = 40
SHORTEST_WORD = 5
"""Code points. Scripts without spaces between words (Chinese, kana, Thai) are cut into pieces of 2 to 12."""
SHORTEST_UNIT = 8
LONGEST_UNIT = 80
"""Characters of a sentence. Of longer ones only the first words are used, which locate it just as well."""
_CONTEXT = 40

_UNSPACED = (
    r"[\p{Han}\p{Hiragana}\p{Katakana}ー]{2,8}+"
    r"|(?:[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]\p{M}*+){4,12}+"
)
_WORD = regex.compile(
    _UNSPACED + r"|(?<![\p{L}\p{M}\p{N}_*^\\&@#])(?<![\p{L}\p{M}]['-])"
    r"\p{L}[\p{L}\p{M}]*+(?:['-]\p{L}[\p{L}\p{M}]*+)*+(?![\p{L}\p{M}\p{N}_*^@])"
)
_UNSPACED_WORD = regex.compile(_UNSPACED)
_NUMBER = regex.compile(
    r"(?<![\p{L}\p{M}\p{N}_*^\\&#])(?<!\p{Nd}[.,:/'-])\p{Nd}++(?:[.,:/'-]\p{Nd}++)*+(?![\p{L}\p{M}\p{N}_*^])"
)
# A word split at the end of a line is not used: transcribers may join it or not.
_CUT_WORD = regex.compile(r"[\p{L}\p{M}]++[-¬⸗=\u00ad][ \t]*+\n\s*+[\p{L}\p{M}]++")

# Every opening delimiter ends the search from the one before it, so that unclosed ones cost nothing.
_FORMULA = regex.compile(
    r"\\\[(?:(?!\\[\[\]]).)*+\\\]|\\\((?:(?!\\[()]).)*+\\\)|\$\$[^$]++\$\$|(?<![\\$])\$[^$\n]++\$", regex.DOTALL
)
_MARKUP = regex.compile(
    r"!\[[^\[\]\n]*+\]\([^()\n]*+\)"  # images
    r"|\]\([^()\s]*+\)"  # the target of a link
    r"|\[\^[^\[\]\s]{1,64}\]:?"
    r"|</?(?!/?(?:b|i|strong|em)>)[A-Za-z!][^<>]{0,500}>"
    r"|&\#?\w{1,30};"
)
_LINE_MARKER = regex.compile(r"[ \t]{0,20}(?:[-*+•>]|\#{1,6}|\d{1,3}[.)]|\(\w\))[ \t]++")
_RULE = regex.compile(r"[\s\-_*=#~`+.:|]*+")
_SENTENCE_END = regex.compile(
    r"(?<=[\p{L}\p{N})\]]{3}[.!?…।]|[.!?…।]['\")\]»])\s(?=[\p{Lu}\p{Lt}\p{Lo}\p{N}\"'(\[«])|(?<=[。！？])"
)
_FOOTNOTE = regex.compile(r"(?m)^[ \t]{0,3}\[\^[^\[\]\s]{1,64}\]:|\[\^(?P<marker>[^\[\]\s]{1,64})\]")


class Footnote(NamedTuple):
    """A marker in the text and the words before it."""

    marker: str
    before: str


def words(body: str) -> list[str]:
    """All words that are long enough to be characteristic, repetitions included."""
    text = strict(_CUT_WORD.sub("\n", _without(body, _FORMULA, _MARKUP)))
    return [word for word in _WORD.findall(text) if _is_word(word)]


def numbers(body: str) -> list[str]:
    """All numbers of at least two digits, with the marks inside them: `8.9.1762`, `1,204.50`, `69-77`."""
    text = strict(_without(body, _FORMULA, _MARKUP))
    return [number for number in _NUMBER.findall(text) if _is_number(number)]


def sentences(body: str) -> list[str]:
    """The sentences of the prose in reading order; the lines, if there are fewer than two sentences."""
    blocks = list(_blocks(body))
    found = [
        unit
        for block in blocks
        for sentence in _SENTENCE_END.split(strict(" ".join(block)))
        for unit in _unit(sentence)
    ]
    if len(found) < 2:
        found = [unit for block in blocks for line in block for unit in _unit(strict(line))]
    return found


def footnotes(body: str) -> list[Footnote]:
    """The markers `[^m]` of the text, without those that open a note, with the words before them on their line."""
    found = []
    for match in _FOOTNOTE.finditer(body):
        if not match["marker"]:
            continue
        line = body[max(0, match.start() - 4 * _CONTEXT) : match.start()]
        clean = strict(_without(line, _FORMULA, _MARKUP).rsplit("\n", 1)[-1])
        before = clean if len(clean) <= _CONTEXT else clean[-_CONTEXT:].partition(" ")[2]
        if sum(map(str.isalnum, before)) >= SHORTEST_WORD:
            found.append(Footnote(match["marker"], before))
    return found


def _is_word(word: str) -> bool:
    if _UNSPACED_WORD.fullmatch(word):
        return True
    return SHORTEST_WORD <= len(word) <= LONGEST_WORD


def _is_number(number: str) -> bool:
    return len(number) <= LONGEST_WORD and sum(map(str.isdigit, number)) >= 2


def _without(text: str, *patterns: regex.Pattern[str]) -> str:
    """The text with each match replaced by a paragraph break, so that no part spans it."""
    for pattern in patterns:
        text = pattern.sub("\n\n", text)
    return text


def _blocks(body: str) -> Iterator[list[str]]:
    """The lines of each paragraph, list item and heading, without tables, formulas and markup."""
    block: list[str] = []
    for line in _without(_without_tables(body), _FORMULA, _MARKUP).splitlines():
        marker = _LINE_MARKER.match(line)
        if block and (marker or "|" in line or _RULE.fullmatch(line)):
            yield block
            block = []
        if "|" not in line and not _RULE.fullmatch(line):
            block.append(line[marker.end() :] if marker else line)
    if block:
        yield block


def _without_tables(body: str) -> str:
    """The text without its HTML tables; an unclosed one extends to the end."""
    lower = body.lower()
    if len(lower) != len(body):  # İ is longer in lower case
        lower = body
    pieces = []
    at = 0
    while (start := lower.find("<table", at)) >= 0:
        pieces.append(body[at:start])
        stop = lower.find("</table>", start)
        at = len(body) if stop < 0 else stop + len("</table>")
    return "\n\n".join([*pieces, body[at:]])


def _unit(sentence: str) -> Iterator[str]:
    if len(sentence) > LONGEST_UNIT:
        cut = sentence.rfind(" ", 0, LONGEST_UNIT)
        sentence = sentence[: cut if cut > 0 else LONGEST_UNIT]
    sentence = sentence.strip()
    if len(sentence) >= SHORTEST_UNIT and sum(map(str.isalnum, sentence)) >= SHORTEST_UNIT // 2:
        yield sentence
