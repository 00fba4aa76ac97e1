"""What a path on the command line names: the checkpoint of a run, an adapter, or any other model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocr_rl.config.loader import check_model_path, load_recipe
from ocr_rl.config.schema import ModelConfig, Recipe
from ocr_rl.config.validation import trains_policy
from ocr_rl.data.loading import recipe_pages
from ocr_rl.data.splits import held_out_pages
from ocr_rl.models.checkpoints.adapters import ADAPTER, base_of
from ocr_rl.models.policy import Policy
from ocr_rl.models.prompt_format import FILE as FORMAT
from ocr_rl.runs.folder import MANIFEST, RunFolder, step_of
from ocr_rl.runs.resume import RECIPE
from ocr_rl.types import Page


@dataclass(frozen=True)
class Source:
    """A checkpoint, and what is known about how it came to be."""

    name: str
    """As it was named: a run, a checkpoint, another folder, a hub id or an embedded policy."""
    checkpoint: str
    """A folder, a hub id or an embedded policy."""
    run: RunFolder | None = None
    """The run that it is a checkpoint of."""
    recipe: Recipe | None = None
    """The recipe that it was trained by."""
    step: int = 0
    """The step of the run after which it was saved."""

    @property
    def base(self) -> str:
        """The base of an adapter, or what training started from; the checkpoint itself if nothing says it."""
        file = Path(self.checkpoint) / ADAPTER
        if file.is_file():
            return base_of(file.parent, json.loads(file.read_text(encoding="utf-8")))
        return self.checkpoint if self.recipe is None else self.recipe.model.path

    @property
    def max_tokens(self) -> int:
        """Tokens of a transcription."""
        return self.recipe.rollout.max_tokens if self.recipe is not None else 512

    def load(self) -> Policy:
        """The policy in float32, so that an adapter is merged without rounding."""
        return Policy.load(loadable(self.recipe, self.checkpoint))

    @property
    def quantized(self) -> ModelConfig | None:
        """How it is loaded beside the quantised base that it was trained with; None if its base was not."""
        bits = self.recipe.model.quantize if self.recipe is not None else ""
        return replace(loadable(self.recipe, self.checkpoint), quantize=bits) if bits else None

    def held_out(self) -> Sequence[Page]:
        """The pages that its run holds out; none if there is no run.

        Raises:
            ValueError: they cannot be read.
        """
        if self.run is None or self.recipe is None:
            return []
        try:
            pages = recipe_pages(self.recipe, self.run.path / "pages")
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.name}: the pages of its run cannot be read: {error}; give --data") from None
        return held_out_pages(pages, self.recipe.data, self.recipe.train.eval_pages)[1]

    def evaluations(self) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """The held-out evaluations of its run before training and of this checkpoint; None for one that there is not.

        That of a checkpoint before the last is the one that was logged with its step.
        """
        if self.run is None:
            return None, None
        logged = self.run.logged()
        if self.step == len(logged):
            return self.run.read_eval("before"), self.run.read_eval("after")
        line = logged[self.step - 1].metrics
        after = {key.removeprefix("eval/"): value for key, value in line.items() if key.startswith("eval/")}
        return self.run.read_eval("before"), after or None


def loadable(recipe: Recipe | None, path: str) -> ModelConfig:
    """How a checkpoint of a recipe is loaded to be read or written, not trained.

    Its prompt format and chat template are those that were saved with it.
    """
    config = ModelConfig(path=path, compute_dtype="float32")
    if recipe is None:
        return config
    model = recipe.model
    preset = "auto" if Path(path, FORMAT).is_file() else "none"  # only a format that is not plain has a file
    return replace(config, preset=preset, max_pixels=model.max_pixels, trust_remote_code=model.trust_remote_code)


def find_source(name: str) -> Source:
    """The checkpoint that `name` means. A run means its best checkpoint if it keeps one, otherwise its newest.

    Raises:
        ValueError: there is none, it is damaged, or it is a reward model.
    """
    path = Path(name)
    if (path / "resolved.toml").is_file():
        run = RunFolder.open(path)
        best, saved = run.best(), run.checkpoints()
        if not saved:
            raise ValueError(f"{name} has no checkpoint yet; `ocr-rl train --resume {name}` finishes it")
        return _of_run(name, run, run.checkpoint(best["step"]) if best else saved[-1])
    if (path.parent.parent / "resolved.toml").is_file() and path in RunFolder(path.parent.parent).checkpoints():
        return _of_run(name, RunFolder.open(path.parent.parent), path)
    if runs := sorted(file.parent.name for file in path.glob("*/resolved.toml")):  # a chain, or a folder of runs
        raise ValueError(f"{name} holds the runs {', '.join(runs)}; name one of them")
    check_model_path(name)
    recipe = load_recipe(str(path / RECIPE)) if (path / RECIPE).is_file() else None
    return Source(name, name, recipe=_of_policy(name, recipe))


def last_checkpoints(name: str, count: int) -> list[str]:
    """The newest checkpoints of a run, oldest first.

    Raises:
        ValueError: `name` is no run, or has fewer.
    """
    saved = [str(path) for path in RunFolder.open(Path(name)).checkpoints()]
    if len(saved) < count:
        raise ValueError(
            f"{name} has {len(saved)} checkpoints, and --last is {count}; give a lower one, or train with "
            f"train.keep_checkpoints = {count} and train.checkpoint_every"
        )
    return saved[-count:]


def _of_run(name: str, run: RunFolder, checkpoint: Path) -> Source:
    if (checkpoint / MANIFEST).exists() and (damage := run.damage(checkpoint)):
        raise ValueError(f"{damage}; name another checkpoint")
    file = checkpoint / RECIPE  # trainer/ may have been deleted
    recipe = load_recipe(str(file if file.is_file() else run.path / "resolved.toml"))
    return Source(name, str(checkpoint), run, _of_policy(name, recipe), step_of(checkpoint))


def _of_policy(name: str, recipe: Recipe | None) -> Recipe | None:
    if recipe is not None and not trains_policy(recipe):
        raise ValueError(f"{name} is a reward model; only a policy can be published")
    return recipe
