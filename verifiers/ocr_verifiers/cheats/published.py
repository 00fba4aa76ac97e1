r"""Rewards that others have published for transcription, written anew from their papers and code, to be audited.

Each is a function of a completion and of the true text, and says where it comes from. They are as published, holes
included: do not train with them. What is left out is said in each docstring.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html.entities import html5
from typing import NamedTuple

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from ocr_verifiers.markup.formats import take_apart
from ocr_verifiers.metrics.paragraphs import paragraph_count
from ocr_verifiers.metrics.reading_order import match_paragraphs
from ocr_verifiers.metrics.teds import tables_similarity, teds

PublishedReward = Callable[[str, str], float]
"""Of a completion and the reference."""


class Published(NamedTuple):
    """A published reward and its source."""

    reward: PublishedReward
    source: str


# olmOCR


def olmocr_edit_distance(completion: str, reference: str) -> float:
    """`--reward_bench_edit_distance`: the InDel similarity of both texts as they are, as `fuzz.ratio` has it."""
    return fuzz.ratio(completion, reference) / 100 if reference else 0.0


# HunyuanOCR-1.5's training kit, its scorer of parsing tasks

_TABLE = re.compile(r"<table>.*?</table>", re.DOTALL | re.IGNORECASE)
_COORDINATES = re.compile(r"\(\d+,\d+\)")
_NAMED = re.compile(r"\\([A-Za-z]+)")
_DROPPED_NAMES = frozenset(
    "left right mathrm overline underline widehat operatorname displaystyle quad boxed overrightarrow".split()
)
_DROPPED = re.compile(
    r"\\(?:begin|end)\{(?:array|matrix|aligned|pmatrix)\}|\\(?:text|mathbf)\{|\{l\}|<br>|</?caption>|\.{4}"
)
_FOLDED = str.maketrans({"，": ",", "（": "(", "）": ")", "“": '"', "”": '"', "$": None, "\\": None, " ": None})


def hunyuan_parsing(completion: str, reference: str) -> float:
    """0 for a loop at the end of a text of double length; else s, the edit similarity without spaces and markup.

    0 if s < 0.5, 1 if s > 0.99. Where the reference has tables in HTML, (2 s + TEDS + TEDS of the structure) / 4; that
    is 0 below 0.5, for more or fewer tables, and if a table is unlike its own (TEDS below 0.4, structure below 0.5).

    Commands of LaTeX that print a sign become that sign by HTML's names, not by the kit's list of 200; tables are
    compared with this project's TEDS. An empty completion is left out of the kit's training; here it has 0.
    """
    if not completion or (_ends_in_loop(completion) and len(completion) > 2 * len(reference)):
        return 0.0
    text = _similarity(_COORDINATES.sub("", _hunyuan_text(completion)).strip("2"), _hunyuan_text(reference).strip("2"))
    if text < 0.5 or text > 0.99:
        return float(text > 0.99)
    if "<table" not in reference:
        return text
    expected, written = _TABLE.findall(reference), _TABLE.findall(completion)
    if len(expected) != len(written):
        return 0.0
    values = [(teds(one, other), teds(one, other, True)) for one, other in _alike(expected, written)]
    if not values or any(whole < 0.4 or structure < 0.5 for whole, structure in values):
        return 0.0
    whole, structure = (sum(column) / len(values) for column in zip(*values, strict=True))
    reward = (2 * text + whole + structure) / 4
    return reward if reward >= 0.5 else 0.0


def _ends_in_loop(text: str) -> bool:
    """Ten times the same at the end."""
    return any(text.endswith(text[-size:] * 10) for size in range(2, len(text) // 10 + 1))


def _hunyuan_text(text: str) -> str:
    text = text.replace("\n\n", "2").replace("\n", "").replace(" ", "")
    text = _DROPPED.sub("", text)
    return _NAMED.sub(_sign, text).translate(_FOLDED)


def _sign(command: re.Match[str]) -> str:
    name = command[1]
    for end in range(len(name), 1, -1):  # the kit replaces substrings: \int_ and \intx alike
        if name[:end] in _DROPPED_NAMES:
            return name[end:]
        if end < 9 and f"{name[:end]};" in html5:
            return html5[f"{name[:end]};"] + name[end:]
    return name


def _alike(expected: Sequence[str], written: Sequence[str]) -> list[tuple[str, str]]:
    """Each written table with the most similar one that is free, in order."""
    free = list(expected)
    pairs = []
    for table in written:
        nearest = max(free, key=lambda other: fuzz.ratio("".join(other.split()), "".join(table.split())))
        free.remove(nearest)
        pairs.append((nearest, table))
    return pairs


# R1-V's accuracy, which general trainers use for OCR too

_ANSWER = re.compile(r"<answer>(.*?)</answer>")
_R1V = re.compile(r"<think>.*?</think>\s*<answer>.*?</answer>", re.DOTALL)


def swift_accuracy(completion: str, reference: str) -> float:
    """1 if the text in `<answer>` is the reference, else 0; an answer of several lines is not found.

    The symbolic comparison that comes first is for formulas, and left out.
    """
    given, expected = ((found[1] if (found := _ANSWER.search(text)) else text) for text in (completion, reference))
    return float(given.strip() == expected.strip())


def easyr1_r1v(completion: str, reference: str) -> float:
    """Half for the text in `<answer>`, as above, half for `<think>...</think><answer>...</answer>`."""
    found = _ANSWER.search(completion)
    accurate = (found[1] if found else completion).strip() == reference.strip()
    return 0.5 * accurate + 0.5 * bool(_R1V.fullmatch(completion))


def in_r1v_format(text: str) -> str:
    """A page as such a policy would write it."""
    return f"<think>read</think><answer>{text}</answer>"


# Papers


def infinity_parser(completion: str, reference: str) -> float:
    """arXiv 2506.03197: the mean of edit similarity, number of paragraphs, and inversions among those that match.

    R_dist = 1 - D / max(N, M), R_count = 1 - |N_p - M_p| / N_p, R_order = 1 - inversions / (n (n - 1) / 2), n matched
    paragraphs. Paragraphs are separated by blank lines. An empty page is in perfect order.
    """
    expected, written = (re.split(r"\n\s*\n", text.strip()) for text in (reference, completion))
    found = [position for position in match_paragraphs(expected, written) if position is not None]
    pairs = len(found) * (len(found) - 1) // 2
    inversions = sum(found[i] > found[j] for i in range(len(found)) for j in range(i + 1, len(found)))
    order = 1 - inversions / pairs if pairs else 1.0
    return (_similarity(completion, reference) + paragraph_count(reference, completion) + order) / 3


def fd_rl(completion: str, reference: str) -> float:
    """arXiv 2601.08834: the mean over the kinds that the reference has: text 1 - NED, formulas BLEU, tables TEDS-S.

    BLEU is that of the tokens of all formulas, up to four in a row, with one added to each count.
    """
    expected, written = take_apart(reference), take_apart(completion)
    values = []
    if expected.prose.strip():
        values.append(_similarity(written.prose.strip(), expected.prose.strip()))
    if expected.formulas:
        values.append(_bleu(" ".join(written.formulas), " ".join(expected.formulas)))
    if expected.tables:
        values.append(tables_similarity(expected.tables, written.tables, structure_only=True))
    return sum(values) / len(values) if values else float(not completion.strip())


_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\S")


def _bleu(written: str, expected: str) -> float:
    words, true = _TOKEN.findall(written), _TOKEN.findall(expected)
    if not words:
        return 0.0
    logs = 0.0
    for n in range(1, 5):
        own, there = (Counter(zip(*(side[i:] for i in range(n)), strict=False)) for side in (words, true))
        logs += math.log(((own & there).total() + 1) / (own.total() + 1)) / 4
    return math.exp(logs + min(0.0, 1 - len(true) / len(words)))


def _similarity(one: str, other: str) -> float:
    return Levenshtein.normalized_similarity(one, other)


PUBLISHED: Mapping[str, Published] = {
    "olmOCR, edit distance": Published(olmocr_edit_distance, "allenai/olmocr@f7cfe4c, grpo_train"),
    "HunyuanOCR-1.5, parsing": Published(hunyuan_parsing, "Tencent-Hunyuan/HunyuanOCR@40b26e2, train_verl"),
    "ms-swift, accuracy": Published(swift_accuracy, "modelscope/ms-swift@e84ab60, grpo/plugin"),
    "EasyR1, r1v": Published(
        lambda completion, reference: easyr1_r1v(in_r1v_format(completion), reference), "hiyouga/EasyR1@46c6c21, r1v"
    ),
    "Infinity-Parser": Published(infinity_parser, "arXiv 2506.03197"),
    "FD-RL": Published(fd_rl, "arXiv 2601.08834"),
}
