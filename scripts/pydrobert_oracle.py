"""Compare prefix edits and optimal completions with pydrobert-pytorch 0.3.0 on random pairs, and record a sample.

    pip install --no-deps --target PYDROBERT pydrobert-pytorch==0.3.0 pydrobert-param
    PYTHONPATH=PYDROBERT python scripts/pydrobert_oracle.py --references 2000 --each 50

For each pair: D(completion, every prefix of the reference), whose minimum and its places are what `prefix_edits` says
of the whole completion; and the optimal next symbols after every prefix of the completion. The sample goes to
tests/verifiers/text/pydrobert.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

import torch
from pydrobert.torch.util import optimal_completion, prefix_error_rates

from ocr_verifiers.text.prefix_edits import prefix_edits

SAMPLE = Path(__file__).parents[1] / "tests" / "verifiers" / "text" / "pydrobert.json"
RECORDED = 60
END, PAD = 0, -100


def random_text(random: Random, letters: str, longest: int) -> str:
    return "".join(random.choice(letters) for _ in range(random.randint(0, longest)))


def noisy(random: Random, text: str, letters: str) -> str:
    """The text with a few edits, as a policy would write it."""
    characters = list(text)
    for _ in range(random.randint(0, 5)):
        at = random.randint(0, len(characters))
        characters[at : at + random.randint(0, 2)] = random_text(random, letters, 2)
    return "".join(characters)


def encoded(texts: list[str]) -> torch.Tensor:
    """(B, T + 1), each with its end."""
    width = max(map(len, texts)) + 1
    return torch.tensor([[*map(ord, text), *[END] * (width - len(text))] for text in texts])


def oracle(reference: str, completions: list[str]) -> list[dict[str, object]]:
    """What pydrobert says of each pair."""
    ref, hyp = encoded([reference] * len(completions)), encoded(completions)
    following = optimal_completion(ref, hyp, eos=END, include_eos=True, batch_first=True, padding=PAD, warn=False)
    options = {"eos": END, "include_eos": False, "norm": False, "batch_first": True, "warn": False}
    distances = prefix_error_rates(hyp, ref, **options)  # of the reference's prefixes to each completion
    rows = []
    for i, completion in enumerate(completions):
        each = [int(value) for value in distances[i, : len(reference) + 1].tolist()]
        optimal = [
            "".join(sorted(chr(symbol) for symbol in place if symbol not in (END, PAD))) + "$" * (END in place)
            for place in following[i, : len(completion) + 1].tolist()
        ]
        rows.append({"reference": reference, "completion": completion, "distances": each, "optimal": optimal})
    return rows


def ours(reference: str, completions: list[str]) -> list[dict[str, object]]:
    """The same by `prefix_edits`; `$` is the end."""
    rows = []
    for completion, found in zip(completions, prefix_edits(reference, completions, optimal=True), strict=True):
        optimal = []
        for positions in found.optimal:
            letters = sorted({reference[k] for k in positions if k < len(reference)})
            optimal.append("".join(letters) + "$" * (len(reference) in positions))
        last = {"distance": found.distance, "fewest": int(found.fewest[-1]), "at": found.optimal[-1].tolist()}
        rows.append({"reference": reference, "completion": completion, "optimal": optimal, **last})
    return rows


def check(row: dict[str, object], known: dict[str, object]) -> None:
    each = known["distances"]
    assert isinstance(each, list)
    fewest = min(each)
    wanted = {
        "distance": each[-1],
        "fewest": fewest,
        "at": [k for k, distance in enumerate(each) if distance == fewest],
        "optimal": known["optimal"],
    }
    for key, value in wanted.items():
        assert row[key] == value, f"{row['reference']!r}, {row['completion']!r}: {key} is {row[key]}, not {value}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=int, default=2000)
    parser.add_argument("--each", type=int, default=50, help="completions of each reference")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random, sample, pairs = Random(given.seed), [], 0
    for i in range(given.references):
        letters = random.choice(["ab", "abc ", "abcdefgh \n", "aeé\u0301x"])
        reference = random_text(random, letters, 16)
        completions = [
            random_text(random, letters, 16) if random.random() < 0.4 else noisy(random, reference, letters)
            for _ in range(given.each)
        ]
        known = oracle(reference, completions)
        for row, own in zip(ours(reference, completions), known, strict=True):
            check(row, own)
        pairs += len(completions)
        if i % max(1, given.references // RECORDED) == 0:
            sample.append(known[0])
    SAMPLE.write_text(json.dumps(sample, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"{pairs:,} pairs agree with pydrobert-pytorch; {len(sample)} of them are in {SAMPLE}")


if __name__ == "__main__":
    main()
