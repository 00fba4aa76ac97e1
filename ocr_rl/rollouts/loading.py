"""An engine from the name of a model. Torch is loaded only when the engine is."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ocr_rl.config.embedded import EMBEDDED, model_folder
from ocr_rl.config.loader import check_model_path
from ocr_rl.config.presets import check_names
from ocr_rl.config.schema import ModelConfig, RolloutConfig
from ocr_rl.errors import EngineError
from ocr_verifiers import OutputFormat

if TYPE_CHECKING:
    from ocr_rl.models.policy import Policy
    from ocr_rl.rollouts.engine import Engine


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """Which model generates, and with which engine.

    Raises:
        ValueError: `model` is neither a folder, nor shaped like a hub id, nor an embedded policy; or there is no such
            preset or output format.
    """

    model: str = "tiny-scans"
    """A folder or hub id of a policy, a checkpoint of a run, or an embedded policy."""
    engine: Literal["auto", "transformers", "vllm"] = "auto"
    """`auto` takes vLLM where CUDA and vllm are present, transformers otherwise."""
    max_pixels: int = 0
    """Upper bound on the pixels of a fitted page; 0 leaves the model's own."""
    trust_remote_code: bool = False
    """Run Python code that the model's repository ships."""
    preset: str = "auto"
    """How the model is asked and what it answers in: `auto`, `none` or a name of docs/prompts-and-outputs.md."""
    output: Literal["auto", OutputFormat] = "auto"
    """What the model writes, if not what its preset says."""

    workers: int = 1
    """Processes that generate, each with a GPU where there are any."""
    find_lines: bool = False
    """Find the lines of a page, and read one at a time."""

    def __post_init__(self) -> None:
        check_model_path(self.model)
        check_names(self.preset, self.output)

    def load(self, say: Callable[[str], object]) -> Engine:
        """The engine, which the caller closes. `say` is called with its name.

        Raises:
            ValueError: there is no model to load, or vLLM is asked for and not installed.
            EngineError: the engine does not start.
        """
        if self.workers > 1:
            from ocr_rl.rollouts.parallel import ParallelEngine

            return ParallelEngine(_plain(self).load, self.workers, say)
        from ocr_rl.rollouts.selection import chosen_engine, make_engine

        chosen_engine(self.engine)
        loaded = self.settings()
        policy = self._policy()
        if policy.prompt_format.preset:
            say(str(policy.prompt_format))

        def reload() -> Policy:
            if self.settings() != loaded:
                raise EngineError(f"{self.model}: its weights have been written since they were loaded; start again")
            try:
                return self._policy()
            except ValueError as error:
                raise EngineError(
                    f"the engine's process ended, and the model cannot be loaded again: {error}"
                ) from None

        output = policy.prompt_format.output
        if self.find_lines and output != "markdown":
            raise ValueError(
                f"lines are found for models that write text or markdown; {self.model} writes {output}: "
                "write --whole-pages in place of --find-lines"
            )
        engine = make_engine(policy, RolloutConfig(engine=self.engine), say=say, reload=reload)
        if not self.find_lines:
            return engine
        from ocr_rl.rollouts.line_engine import LineEngine

        say("lines are found on each page and read one by one")
        return LineEngine(engine)

    def _policy(self) -> Policy:
        from ocr_rl.models.policy import Policy

        return Policy.load(
            ModelConfig(
                path=self.model,
                max_pixels=self.max_pixels,
                trust_remote_code=self.trust_remote_code,
                preset=self.preset,
                output=self.output,
            )
        )

    def settings(self) -> dict[str, Any]:
        """What must be equal for two runs to write the same rows; for a folder, also when its weights were written."""
        folder = Path(self.model)
        if self.model in EMBEDDED or not folder.is_dir():
            model = {"model": self.model}
        else:
            newest = max((file.stat().st_mtime for file in folder.glob("*.safetensors")), default=0.0)
            written = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest))
            model = {"model": str(folder.resolve()), "weights_written": written}
        format = {"preset": self.preset, "output": self.output}
        chosen = {key: value for key, value in format.items() if value != "auto"}
        return {**model, "max_pixels": self.max_pixels, "engine": self.engine, **chosen}


def lines_to_find(wanted: bool | None, level: str | None, model: str) -> bool:
    """Whether lines are looked for on pages: as `wanted`, or None: if the model was trained on lines.

    Raises:
        ValueError: it is wanted or not, but a `level` other than pages has been cut out by layout files.
    """
    if level in (None, "page"):
        return reads_lines(model) if wanted is None else wanted
    if wanted is not None:
        name = "--find-lines" if wanted else "--whole-pages"
        raise ValueError(f"{name} has no effect with --level {level}: layout files say where a {level} is")
    return False


def reads_lines(model: str) -> bool:
    """Whether a model was last trained on lines: an embedded policy or a folder whose image processor says so."""
    for name in ("processor_config.json", "preprocessor_config.json"):
        file = Path(model_folder(model), name)
        if file.is_file():
            try:
                stated = json.loads(file.read_text(encoding="utf-8"))
            except ValueError:
                return False  # loading it says what is wrong
            images = stated.get("image_processor", stated) if isinstance(stated, dict) else {}
            if isinstance(images, dict) and images.get("line_height") and not images.get("whole_pages"):
                return True
    return False


def _plain(options: EngineOptions) -> EngineOptions:
    """What one process loads."""
    own = {field.name: getattr(options, field.name) for field in fields(EngineOptions)}
    return EngineOptions(**own | {"workers": 1})
