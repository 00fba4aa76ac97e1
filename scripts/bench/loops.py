"""How well pages compress, and how well they do once a model loops on them: why the limit is what it is.

    python scripts/bench/loops.py FOLDER...

A folder has markdown files (*.md) or JSON Lines of pages (*.jsonl, "text"). Each page that does not repeat itself is
cut at a random place, and a phrase of it is repeated for 2,000 characters and more: as it is, numbered, with a number
after it, or with another word of the page after it.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ocr_verifiers import repeats
from ocr_verifiers.markup.reading import read
from ocr_verifiers.text.compression import MAX_RATIO, SHORTEST, compression_ratio

KINDS = ("as it is", "numbered", "with a number", "with another word")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    pages = [text for folder in args.folders for text in texts(folder)]
    pages = [text for text in pages if len(text.encode()) >= SHORTEST and repeats(text).passed]
    print("| pages | number | smallest | 5 % | median | 99 % | largest | above the limit | literal loops |")
    print("|---|---|---|---|---|---|---|---|---|")
    show("as they are", pages)
    for kind in KINDS:
        show(kind, [looping(text, kind, rng) for text in pages])


def texts(folder: Path) -> Iterator[str]:
    """What is read of the pages of a folder."""
    for file in sorted(folder.rglob("*.md")):
        yield read(file.read_text(encoding="utf-8")).text
    for file in sorted(folder.rglob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("text"), str):
                yield read(row["text"]).text


def looping(text: str, kind: str, rng: random.Random) -> str:
    """The page until some place, and then a phrase again and again."""
    written = [text[: rng.randint(len(text) // 3, len(text))]]
    words = written[0].split()
    start = rng.randrange(len(words))
    phrase = " ".join(words[start : start + rng.choice([1, 2, 4, 8, 16, 40])])
    length = rng.choice([1, 2, 4]) * 2_000
    number = 0
    while length > 0:
        number += 1
        again = {
            "as it is": phrase,
            "numbered": f"{number}. {phrase}",
            "with a number": f"{phrase} {rng.randrange(1000)}",
            "with another word": f"{phrase} {rng.choice(words)}",
        }[kind]
        written.append(again)
        length -= len(again) + 1
    return " ".join(written)


def show(name: str, pages: list[str]) -> None:
    ratios = np.array([compression_ratio(text) for text in pages])
    low, median, high = np.quantile(ratios, (0.05, 0.5, 0.99))
    literal = sum(not repeats(text).passed for text in pages)
    print(
        f"| {name} | {len(pages)} | {ratios.min():.2f} | {low:.2f} | {median:.2f} | {high:.2f} | {ratios.max():.2f} "
        f"| {(ratios > MAX_RATIO).sum()} | {literal} |"
    )


if __name__ == "__main__":
    main()
