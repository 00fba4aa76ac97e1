"""The numbers of a page, which matter most in invoices, ledgers and tables."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ocr_verifiers.text.normalize import invisible

_SPACES = "\u00a0\u2007\u2009\u202f"
_NUMBER = re.compile(rf"(?<![\w.,)])[-−](?=\d)|\d+(?:[.,'’{_SPACES}]\d+)*")
_GROUPED = re.compile(rf"\d{{1,3}}(?:[{_SPACES}'’]\d{{3}})+(?!\d)")
_SCRIPTS = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉]+")
_GROUPING_MARKS = re.compile(rf"[{_SPACES}'’]")

DecimalMark = Literal[".", ","]


@dataclass(frozen=True)
class NumberScore:
    """How many numbers of the reference were found, as multisets."""

    found: int
    expected: int
    """In the reference."""
    written: int
    """In the completion."""

    @property
    def recall(self) -> float:
        """found / expected; 1 if none is expected."""
        return self.found / self.expected if self.expected else 1.0

    @property
    def precision(self) -> float:
        """found / written; 1 if none is written."""
        return self.found / self.written if self.written else 1.0

    @property
    def f1(self) -> float:
        """2 found / (expected + written), so extra numbers cost something; 1 if there are none at all."""
        total = self.expected + self.written
        return 2 * self.found / total if total else 1.0

    @property
    def exact(self) -> bool:
        """True if every number of the reference was found, at least as often as in the reference."""
        return self.found == self.expected


def numbers_exact(reference: str, completion: str, decimal_mark: DecimalMark = ".") -> NumberScore:
    """Compares the numbers of both texts, as multisets of the values that `numbers` gives."""
    expected, written = numbers(reference, decimal_mark), numbers(completion, decimal_mark)
    return NumberScore((expected & written).total(), expected.total(), written.total())


def numbers(text: str, decimal_mark: DecimalMark = ".") -> Counter[str]:
    """The numbers of a text in a uniform spelling: `1,234.50`, `1 234,50` (no-break space) and `1’234.50` are 1234.50.

    - With both `.` and `,`, the last mark is the decimal mark if it occurs once and the other one separates threes.
    - With one kind of mark that separates threes throughout, it is a thousands separator if it occurs more than once
      or is not `decimal_mark` (so `1,234` is 1234 and `1.234` is not; with `decimal_mark=","` the other way round).
      Otherwise, if it occurs once, it is the decimal mark. Anything else (`12.03.2024`, `1.2.3`) is kept as written.
    - No-break spaces, thin spaces and apostrophes separate thousands; an ordinary space ends a number.
    - Zeros count: 007 is not 7, and 12.50 is not 12.5. A minus sign counts if nothing touches it on the left
      (`2020-21` has none). Digits of other scripts are kept; digits inside words (`A4`) count.
    """
    values: Counter[str] = Counter()
    sign = ""
    for found in _NUMBER.finditer(invisible(text)):
        if found[0] in "-−":
            sign = "-"
            continue
        for written in _parts(found[0]):
            values[sign + _value(written, decimal_mark)] += 1
            sign = ""
    return values


def numbers_of_reading(text: str) -> Counter[str]:
    """The numbers of a text as it is read (`markup.reading`): a script is a number apart, as in LaTeX.

    `10⁵` has the numbers 10 and 5, like `10^5`.
    """
    return numbers(text if text.isascii() else _SCRIPTS.sub(_apart, text))


def _apart(scripts: re.Match[str]) -> str:
    return f"_{unicodedata.normalize('NFKC', scripts[0])}"


def _parts(written: str) -> list[str]:
    """The number without spaces and apostrophes if they separate threes; otherwise the parts that they separate."""
    grouped = _GROUPED.match(written)
    if grouped and not _GROUPING_MARKS.search(written, grouped.end()):
        return [_GROUPING_MARKS.sub("", written)]
    return _GROUPING_MARKS.split(written)


def _value(written: str, decimal_mark: DecimalMark) -> str:
    marks = [character for character in written if character in ".,"]
    if not marks:
        return written
    head, _, last = written.rpartition(marks[-1])
    if len(set(marks)) == 2:
        groups_right = len(set(marks[:-1])) == 1 and marks[-1] not in marks[:-1] and _in_threes(head.split(marks[0]))
        return f"{''.join(head.split(marks[0]))}.{last}" if groups_right else written
    if _in_threes(written.split(marks[0])) and (len(marks) > 1 or marks[0] != decimal_mark):
        return "".join(written.split(marks[0]))
    return f"{head}.{last}" if len(marks) == 1 else written


def _in_threes(groups: list[str]) -> bool:
    return 1 <= len(groups[0]) <= 3 and groups[0][0] != "0" and all(len(group) == 3 for group in groups[1:])
