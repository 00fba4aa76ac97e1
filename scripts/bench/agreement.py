"""How agreement as a reward compares with the truth, on the groups that a run has sampled.

    ocr-rl train unlabelled --out runs/unlabelled --set train.steps=24
    python scripts/bench/agreement.py runs/unlabelled --steps 1 12

For each price of a character that one text has more than another (`ocr_verifiers.rewards.consensus.SURPLUS`): the
correlation of the agreement with the similarity to the page's text, within groups, and the characters by which
completions with an agreement one standard deviation above their group's mean are longer. The last line has the true
similarity in place of the agreement. The pages need texts.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein

from ocr_rl.config.loader import load_recipe
from ocr_rl.data.loading import recipe_pages
from ocr_rl.runs.folder import ReadOnlyRunFolder
from ocr_verifiers.rewards import consensus as agreement

PRICES = (1.0, 0.75, 0.5, 0.25)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--steps", type=int, nargs=2, default=(1, 12), metavar=("FIRST", "LAST"))
    options = parser.parse_args()
    run = ReadOnlyRunFolder(options.run)
    recipe = load_recipe(str(run.path / "resolved.toml"))
    texts = {page.id: page.text for page in recipe_pages(recipe, run.path / "pages", lambda problem: None)}
    groups: dict[tuple[int, str], list[str]] = defaultdict(list)
    for step in range(options.steps[0], options.steps[1] + 1):
        for row in run.read_rollouts(step):
            groups[step, row["page"]].append(row["completion"])
    pairs = [(texts[page] or "", completions) for (_, page), completions in groups.items()]
    print("surplus  correlation  longer by")
    for price in PRICES:
        agreement.SURPLUS = price
        report(f"{price:g}", pairs, lambda text, completions: agreement.consensus(completions))
    report("truth", pairs, similarities)


def similarities(text: str, completions: Sequence[str]) -> list[float]:
    return [Levenshtein.normalized_similarity(completion, text) for completion in completions]


def report(
    name: str, pairs: Sequence[tuple[str, list[str]]], value: Callable[[str, list[str]], Sequence[float]]
) -> None:
    """Means over the groups in which both the value and the true similarity differ."""
    found = []
    for text, completions in pairs:
        truth, values = np.array(similarities(text, completions)), np.array(value(text, completions))
        if truth.std() > 1e-6 and values.std() > 1e-6:
            above = (values - values.mean()) / values.std()
            lengths = np.array([len(completion) for completion in completions])
            found.append((np.corrcoef(truth, values)[0, 1], (above * lengths).mean()))
    correlation, longer = np.mean(found, axis=0)
    print(f"{name:7}  {correlation:11.3f}  {longer:+9.2f}")


if __name__ == "__main__":
    main()
