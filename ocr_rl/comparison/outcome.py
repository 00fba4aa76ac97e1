"""What a comparison shows, in words: which recipe is best, which differ significantly, and which rates got worse.

All of it is taken from the compare.json that `ocr-rl compare` writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ocr_rl.metric_names import LOWER_IS_BETTER, RATES

MEASURES = {"cer": "CER", "pass_rate": "pass rate", "exact": "exact", "reward": "reward"}
"""The rates that recipes are compared by, with their names in reports; the first that the pages have ranks them."""
ALPHA = 0.05
"""A difference with a p-value under it may be significant."""
FELL = 0.02
"""A part that gets worse by more than this, while the reward rises, is listed."""

Recipes = Mapping[str, Mapping[str, Any]]
"""By label."""


def outcome(compared: Mapping[str, Any]) -> list[str]:
    """Which recipes are first, how they differ from the reference, and which are no better than the start.

    A difference is significant if its p-value, corrected by Holm's method for the number of recipes, is under ALPHA and
    its interval excludes 0: the p-value takes no account of other seeds. Against the start, p-values are not corrected.
    """
    recipes: Recipes = compared["recipes"]
    lead = measured(compared)[0]
    ended = [name for name in ranked(compared) if found_of(recipes[name], "final", lead) is not None]
    value = found_of(recipes[ended[0]], "final", lead)
    first = [name for name in ended if found_of(recipes[name], "final", lead) == value]
    extreme = "lowest" if lead in LOWER_IS_BETTER else "highest"
    opening = f"{listed(first)} {'has' if len(first) == 1 else 'have'} the {extreme} {MEASURES[lead]} on the test pages"
    if len(recipes) == 1:
        opening = f"{first[0]}, {MEASURES[lead]} on the test pages"
    sentences = [f"{opening}: {value:.3f}, from {compared['start'][lead]:.3f} at the start."]
    if len(ended) > 1:
        sentences += _against_reference(recipes, compared["settings"]["reference"], ended, first, lead)
    no_better = [name for name in ended if verdict(found_of(recipes[name], "gain", lead), lead, "p") != "better"]
    all_better = "It is better than the start." if len(ended) == 1 else "All are better than the start."
    sentences.append(f"Not shown to be better than the start: {listed(no_better)}." if no_better else all_better)
    if missing := [name for name in recipes if name not in ended]:
        sentences.append(f"Without a result, because no seed reached its end: {listed(missing)}.")
    return sentences


def learning_curves(compared: Mapping[str, Any]) -> list[str]:
    """How each recipe does with each amount of pages, and whether more pages have helped; [] without amounts.

    More would probably help a recipe that is significantly better with its largest amount than with the one before,
    where that is the reference; for others no difference between the two was computed.
    """
    recipes: Recipes = compared["recipes"]
    lead = measured(compared)[0]
    amounts: dict[str, dict[int, str]] = {}
    for label in recipes:
        name, _, amount = label.rpartition("@")
        if name and amount.isdecimal() and found_of(recipes[label], "final", lead) is not None:
            amounts.setdefault(name, {})[int(amount)] = label
    sentences = []
    for name, labels in amounts.items():
        curve = [f"{found_of(recipes[labels[n]], 'final', lead):.3f} with {n:,}" for n in sorted(labels)]
        sentence = f"{name}: {MEASURES[lead]} {', '.join(curve)} pages"
        largest = [labels[n] for n in sorted(labels)][-2:]
        if len(largest) == 2 and largest[1] == compared["settings"]["reference"]:
            before = verdict(found_of(recipes[largest[0]], "against", lead), lead, "p_holm")
            helped = "more would probably help" if before == "worse" else "more have not been shown to help"
            sentence += f"; {helped}"
        sentences.append(f"{sentence}.")
    return sentences


def _against_reference(
    recipes: Recipes, reference: str, ended: Sequence[str], first: Sequence[str], lead: str
) -> Iterator[str]:
    found = {name: found_of(recipes[name], "against", lead) for name in ended if name != reference}
    verdicts = {name: verdict(own, lead, "p_holm") for name, own in found.items()}
    if reference not in first:
        ahead = found[first[0]]
        by = f"(difference {ahead['difference']:+.3f}, p = {ahead['p_holm']:.4f})"
        how = f"better {by}" if verdicts[first[0]] == "better" else f"ahead {by}, but not significantly"
        yield f"The reference {reference} is not first: {first[0]} is {how}."
    openings = {"better": "Better than", "unclear": "Not significantly different from", "worse": "Worse than"}
    for kind, opening in openings.items():
        if names := [name for name, own in verdicts.items() if own == kind]:
            yield f"{opening} the reference {reference}: {listed(names)}."


def measured(compared: Mapping[str, Any]) -> list[str]:
    """Those of MEASURES that the test pages have; pages without texts have no CER. The first one ranks the recipes."""
    return [name for name in MEASURES if compared["start"][name] is not None]


def ranked(compared: Mapping[str, Any]) -> list[str]:
    """The recipes, the best first; those without a result last."""
    lead = measured(compared)[0]
    sign = 1 if lead in LOWER_IS_BETTER else -1

    def place(name: str) -> float:
        value = found_of(compared["recipes"][name], "final", lead)
        return math.inf if value is None else sign * value

    return sorted(compared["recipes"], key=place)


def parts_that_fell(compared: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """(recipe, part, start, end) for what got worse by more than FELL on the test pages while the reward rose.

    Parts are the rates of an evaluation (an error rate that rose counts too) and the pass rate of each kind of test.
    """
    start = compared["start"]
    for recipe, own in compared["recipes"].items():
        final = own["final"]
        if not final or final["reward"] <= start["reward"]:
            continue
        ends: dict[str, tuple[float | None, float | None]] = {
            name: (start.get(name), final.get(name)) for name in RATES if name != "reward"
        }
        for kind, before in start["by_kind"].items():
            ends[kind] = (before["pass_rate"], final["by_kind"][kind]["pass_rate"])
        for part, (before, after) in ends.items():
            if before is None or after is None:
                continue
            if (after - before if part in LOWER_IS_BETTER else before - after) > FELL:
                yield recipe, part, before, after


def verdict(found: Mapping[str, Any] | None, measure: str, p: str) -> str:
    """Whether a difference is significantly "better" or "worse", or "unclear". `p` is the key of its p-value."""
    if found is None:
        return "unclear"
    change, (low, high) = found["difference"], found["difference_ci"]
    if found[p] >= ALPHA or low <= 0 <= high:
        return "unclear"
    return "better" if (change < 0) == (measure in LOWER_IS_BETTER) else "worse"


def found_of(own: Mapping[str, Any], part: str, measure: str) -> Any:
    """own[part][measure]; None for a recipe without a result, and for the reference against itself."""
    return (own[part] or {}).get(measure)


def listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
