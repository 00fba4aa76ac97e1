"""Reinforcement learning with verifiable rewards for document transcription.

docs/python.md shows each name of `__all__` at work. A name is loaded when it is first used: `import ocr_rl` loads
neither numpy nor torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ocr_rl.config.loader import load_recipe
    from ocr_rl.config.schema import Recipe
    from ocr_rl.data.loading import load_pages
    from ocr_rl.data.splits import split_pages
    from ocr_rl.errors import EngineError, TrainingStoppedError
    from ocr_rl.evaluation.evaluate import EvaluateOptions, evaluate
    from ocr_rl.evaluation.transcribe import TranscribeOptions, Transcription, transcribe
    from ocr_rl.models.policy import Policy
    from ocr_rl.pipeline.train import resume, train
    from ocr_rl.rollouts.engine import Sampling
    from ocr_rl.rollouts.transformers_engine import TransformersEngine
    from ocr_rl.runs.folder import RunFolder
    from ocr_rl.types import Completion, Group, Page

__version__ = "0.1.0"

__all__ = [
    "Completion",
    "EngineError",
    "EvaluateOptions",
    "Group",
    "Page",
    "Policy",
    "Recipe",
    "RunFolder",
    "Sampling",
    "TrainingStoppedError",
    "TranscribeOptions",
    "Transcription",
    "TransformersEngine",
    "__version__",
    "evaluate",
    "load_pages",
    "load_recipe",
    "resume",
    "split_pages",
    "train",
    "transcribe",
]

_MODULES = {
    "Completion": "types",
    "EngineError": "errors",
    "EvaluateOptions": "evaluation.evaluate",
    "Group": "types",
    "Page": "types",
    "Policy": "models.policy",
    "Recipe": "config.schema",
    "RunFolder": "runs.folder",
    "Sampling": "rollouts.engine",
    "TrainingStoppedError": "errors",
    "TranscribeOptions": "evaluation.transcribe",
    "Transcription": "evaluation.transcribe",
    "TransformersEngine": "rollouts.transformers_engine",
    "evaluate": "evaluation.evaluate",
    "load_pages": "data.loading",
    "load_recipe": "config.loader",
    "resume": "pipeline.train",
    "split_pages": "data.splits",
    "train": "pipeline.train",
    "transcribe": "evaluation.transcribe",
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
