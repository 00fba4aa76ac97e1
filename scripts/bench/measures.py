"""Compares measures with other people's implementations: equality and CPU seconds of one core, on generated input.

    python scripts/bench/measures.py [grits] [anls] [errors]

Each peer is installed from its registry into an environment of its own, kept in the folder `--envs`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import unicodedata
import venv
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ocr_verifiers.metrics.anls import anls
from ocr_verifiers.metrics.confusions import error_table
from ocr_verifiers.metrics.grits import grits

WORDS = "north south total net gross 12 7.5 1,204 nil of per item price kg".split()


class Peer(NamedTuple):
    """Another implementation of a measure, and the same with ours."""

    packages: list[list[str]]
    """Arguments of `pip install`, a list for each call."""
    code: str
    """Defines `measure(case)`, which returns a list of numbers."""
    ours: Callable[[Any], list[float]]
    case: Callable[[random.Random], Any]
    tolerance: float
    ties: float = 0.0
    """The share of cases that may differ, because the definition leaves it open."""


RUN_PEER = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
{code}
cases = json.load(open(sys.argv[1]), object_hook=lambda o: tuple(o["any of"]) if "any of" in o else o)
start = time.process_time()
values = [measure(case) for case in cases]
print(json.dumps([time.process_time() - start, values]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peers", nargs="*", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--envs", type=Path, default=Path(tempfile.gettempdir()) / "ocr-rl-bench")
    parser.add_argument("--cases", type=int, default=500, help="for each peer")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(
        "| measure | cases | peer, s | ours, s | ratio | unequal | largest difference |\n|---|---|---|---|---|---|---|"
    )
    for name in args.peers:
        peer = PEERS[name]
        rng = random.Random(args.seed)
        cases = [peer.case(rng) for _ in range(args.cases)]
        theirs, values = run_peer(name, peer, cases, args.envs)
        start = time.process_time()
        mine = [peer.ours(case) for case in cases]
        seconds = time.process_time() - start
        pairs = zip(mine, values, strict=True)
        apart = [max(abs(a - b) for a, b in zip(x, y, strict=True)) for x, y in pairs]
        unequal = sum(distance > peer.tolerance for distance in apart)
        print(
            f"| {name} | {len(cases)} | {theirs:.2f} | {seconds:.2f} | {theirs / seconds:.1f}x | {unequal} "
            f"| {max(apart):.1e} |",
            flush=True,
        )
        if unequal > peer.ties * len(cases):
            sys.exit(f"{name}: {unequal} values differ by more than {peer.tolerance}")


def run_peer(name: str, peer: Peer, cases: list[Any], envs: Path) -> tuple[float, list[list[float]]]:
    """CPU seconds and values of the peer."""
    folder = envs / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    installed = folder / "installed"
    if not installed.is_file():
        venv.create(folder, with_pip=True, clear=True)
        for packages in peer.packages:
            subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
        installed.touch()
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "cases.json")
        file.write_text(json.dumps(cases))
        code = RUN_PEER.format(code=peer.code)
        out = subprocess.run([python, "-c", code, file], check=True, capture_output=True, text=True).stdout
    seconds, values = json.loads(out)
    return seconds, values


def table_pair(rng: random.Random) -> list[str]:
    """A table with spans, and another with cells, rows and columns changed."""
    rows, columns = rng.randint(1, 9), rng.randint(1, 6)
    texts = [[" ".join(rng.choices(WORDS, k=rng.randint(0, 3))) for _ in range(columns)] for _ in range(rows)]
    changed = [[text if rng.random() > 0.15 else rng.choice(WORDS) for text in row] for row in texts]
    if rng.random() < 0.5:
        del changed[rng.randrange(len(changed))]
    if rng.random() < 0.5:
        at = rng.randrange(columns)
        changed = [[*row[:at], *row[at + 1 :]] for row in changed]
    if rng.random() < 0.3:
        changed.insert(rng.randrange(len(changed) + 1), rng.choices(WORDS, k=len(changed[0]) if changed else 1))
    if not changed or not changed[0]:
        changed = [["x"]]
    return [html_table(rng, texts), html_table(rng, changed)]


def html_table(rng: random.Random, texts: list[list[str]]) -> str:
    """The table in HTML, in which some cells cover their neighbours."""
    height, width = len(texts), len(texts[0])
    free = [[True] * width for _ in range(height)]
    lines = []
    for r in range(height):
        cells = []
        for c in range(width):
            if not free[r][c]:
                continue
            down, right = rng.choice([1] * 8 + [2, 3]), rng.choice([1] * 8 + [2, 3])
            down, right = min(down, height - r), min(right, width - c)
            if any(not free[y][x] for y in range(r, r + down) for x in range(c, c + right)):
                down = right = 1
            for y in range(r, r + down):
                free[y][c : c + right] = [False] * right
            cells.append(f'<td rowspan="{down}" colspan="{right}">{texts[r][c]}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def value_pair(rng: random.Random) -> tuple[Any, Any]:
    """An expected value, with alternatives, and the same with errors: what each holds is nested up to three deep."""

    def text() -> str:
        return " ".join(rng.choices(WORDS, k=rng.randint(1, 3)))

    def value(depth: int) -> Any:
        kind = rng.random()
        if depth and kind < 0.3:
            return [value(depth - 1) for _ in range(rng.randint(0, 4))]
        if depth and kind < 0.65:
            return {rng.choice("abcdef"): value(depth - 1) for _ in range(rng.randint(0, 4))}
        if depth and kind < 0.72:
            return {"any of": [value(depth - 1) for _ in range(rng.randint(1, 3))]}
        return rng.choice([text, text, text, lambda: None, lambda: rng.randint(0, 99), lambda: rng.random() < 0.5])()

    def found(value: Any) -> Any:
        chance = rng.random()
        if isinstance(value, dict) and "any of" in value:
            return found(rng.choice(value["any of"]))
        if chance < 0.05:
            return rng.choice([None, "", [], {}, text(), [text()], {"a": text()}])
        if isinstance(value, list):
            items = [found(item) for item in value if rng.random() < 0.9]
            if chance < 0.4:
                rng.shuffle(items)
            return items + ([text()] if chance > 0.8 else [])
        if isinstance(value, dict):
            items = {key: found(item) for key, item in value.items() if rng.random() < 0.9}
            return items | ({"z": rng.choice([None, text()])} if chance > 0.8 else {})
        if isinstance(value, str):
            return "".join(c if rng.random() > 0.15 else rng.choice(["", "x", c * 2, c.upper()]) for c in value)
        return value

    expected = value(3) or {}  # the peer refuses an empty list against a text
    return expected, found(expected)


def with_tuples(value: Any) -> Any:
    """`{"any of": [...]}` as a tuple of alternatives."""
    if isinstance(value, dict):
        return (
            tuple(map(with_tuples, value["any of"]))
            if "any of" in value
            else {k: with_tuples(v) for k, v in value.items()}
        )
    return [with_tuples(item) for item in value] if isinstance(value, list) else value


SIGNS = [
    *"abcdefghij ABC,.;'-\n0123",
    "e\u0301",
    "o\u0308\u0323",
    "ﬁ",
    "ſ",
    "渡",
    "口",
    "🏳️‍🌈",
    "각",
    "नि",
    "\u200d",
    "—",
]


def text_pairs(rng: random.Random) -> list[list[str]]:
    """A text of many scripts with errors, and one of plain words, which both programs split alike."""
    text = "".join(rng.choices(SIGNS, k=rng.randint(0, 300)))
    plain = " ".join(rng.choices("north south total net gross item price".split(), k=rng.randint(0, 60)))
    return [[text, with_errors(rng, text)], [plain, with_errors(rng, plain).replace("\n", " ")]]


def with_errors(rng: random.Random, text: str) -> str:
    share = rng.choice([0.02, 0.1, 0.5])
    return "".join(sign if rng.random() > share else rng.choice(["", "x", sign * 2, "e", " "]) for sign in text)


def confusions(pairs: list[list[str]]) -> list[float]:
    """Errors, characters, kinds of confusions and a sum over them; errors of words, and words."""
    marks, plain = (
        error_table([("", *(unicodedata.normalize("NFC", side) for side in pair))], "grapheme") for pair in pairs
    )
    kinds = {f"{found.reference}|{found.completion}": count for found, count in marks.characters.items()}
    edits, words = marks.character_edits, plain.word_edits
    sums = [len(kinds), sum(zlib.crc32(kind.encode()) * count for kind, count in kinds.items())]
    return [edits.distance, edits.reference_length, *sums, words.distance, words.reference_length]


DINGLEHOPPER = """
import types, zlib
from collections import Counter
from pathlib import Path
from rapidfuzz.distance import Levenshtein
package, tools = types.ModuleType("dinglehopper"), types.ModuleType("ocrd_utils")
package.__path__ = [str(Path(path, "dinglehopper")) for path in sys.path]  # without OCR-D, which is large
tools.getLogger = lambda name: None
sys.modules |= {"dinglehopper": package, "ocrd_utils": tools}
from dinglehopper.align import align
from dinglehopper.character_error_rate import character_error_rate_n
from dinglehopper.edit_distance import distance
from dinglehopper.word_error_rate import words_normalized
def measure(pairs):
    marks, plain = pairs
    kinds = Counter(f"{a or ''}|{b or ''}" for a, b in align(*marks) if a != b)
    sums = [len(kinds), sum(zlib.crc32(kind.encode()) * count for kind, count in kinds.items())]
    words = [list(words_normalized(side)) for side in plain]
    return [distance(*marks), character_error_rate_n(*marks)[1], *sums, Levenshtein.distance(*words), len(words[0])]
"""

PEERS = {
    "grits": Peer(
        [["numpy", "apted", "lxml", "rapidfuzz"], ["--no-deps", "--ignore-requires-python", "table-metrics==1.0"]],
        "from table_metrics import grits_con_score, grits_top_score\n"
        "measure = lambda pair: [float(grits_con_score(*pair)), float(grits_top_score(*pair))]",
        lambda pair: list(grits(*pair)),
        table_pair,
        1e-6,
    ),
    "anls": Peer(
        [["anls-star==1.0.1"]],
        "from anls_star import anls_score\nmeasure = lambda pair: [anls_score(*pair)]",
        lambda pair: [anls(*map(with_tuples, pair))],
        value_pair,
        1e-9,
        ties=0.001,
    ),
    "errors": Peer(
        [
            ["uniseg", "multimethod", "rapidfuzz", "numpy", "lxml", "attrs"],
            ["--no-deps", "dinglehopper==0.11.0"],
        ],
        DINGLEHOPPER,
        confusions,
        text_pairs,
        0,
    ),
}


if __name__ == "__main__":
    main()
