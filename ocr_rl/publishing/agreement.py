"""Whether checkpoints can be averaged: one base, architecture and vocabulary, and pages that none was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocr_rl.models.policy import Policy
from ocr_rl.publishing.source import Source
from ocr_rl.types import Page


def check_bases(sources: Sequence[Source]) -> None:
    """Raises ValueError if two checkpoints are known to start from different models: they lie in no common valley."""
    first, *others = [source for source in sources if source.base != source.checkpoint] or [sources[0]]
    name = Path(first.base).name
    for other in others:
        if (another := Path(other.base).name) != name:
            raise ValueError(
                f"{first.name} started from {name}, but {other.name} from {another}; a soup needs checkpoints of one "
                "model"
            )


def check_fits(carrier: Policy, policy: Policy, first: str, name: str) -> None:
    """Raises ValueError if a policy has another architecture, shape or vocabulary than the first one."""
    here, there = type(carrier.model).__name__, type(policy.model).__name__
    if here != there:
        raise ValueError(f"{name} is a {there}, but {first} a {here}; a soup needs one architecture")
    shapes = {key: tensor.shape for key, tensor in carrier.model.state_dict().items()}
    own = policy.model.state_dict()
    for key in sorted(shapes.keys() | own.keys()):
        if key not in own or key not in shapes:
            raise ValueError(f"{name if key in shapes else first} has no weight {key}; a soup needs one architecture")
        if own[key].shape != shapes[key]:
            raise ValueError(
                f"{key} is {list(own[key].shape)} in {name}, but {list(shapes[key])} in {first}; a soup needs one shape"
            )
    if policy.processor.tokenizer.get_vocab() != carrier.processor.tokenizer.get_vocab():
        raise ValueError(f"{name} has another vocabulary than {first}")


def common_pages(sources: Sequence[Source]) -> Sequence[Page]:
    """The pages that the run of the first checkpoint holds out, and that no other one was trained on.

    Raises:
        ValueError: the others were trained by recipes with other pages.
    """
    pages = sources[0].held_out()
    for source in sources[1:] if pages else ():
        assert sources[0].recipe is not None
        if source.recipe is None or _pages_of(source) != _pages_of(sources[0]):
            raise ValueError(
                f"{source.name} may have been trained on the held-out pages of {sources[0].name}; give --data with "
                "pages that neither has seen"
            )
    return pages


def _pages_of(source: Source) -> tuple[Any, ...]:
    """What decides which pages a run holds out."""
    recipe = source.recipe
    assert recipe is not None
    data = replace(recipe.data, evaluate="all", prompt="")
    return (replace(data, path=str(Path(data.path))), None if data.path else recipe.render)
