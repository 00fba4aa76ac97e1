"""Loads a checkpoint's processor, without torchvision where only the part for videos needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import torch
import transformers
from transformers import AutoProcessor, processing_utils
from transformers.models.auto import image_processing_auto
from transformers.processing_utils import ProcessorMixin
from transformers.utils import DummyObject, PushToHubMixin, is_torchvision_available
from transformers.video_processing_utils import BaseVideoProcessor


class MissingVideoSettingError(AttributeError):
    """A processor reads a setting of its video part that the checkpoint does not give; only the real part knows it."""


class VideoStandIn(PushToHubMixin):  # type: ignore[misc]
    """Stands where a processor keeps its video part, which needs torchvision: keeps the settings, reads no video."""

    model_input_names: tuple[str, ...] = ()
    _auto_class = None

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = dict(settings)

    @classmethod
    def from_pretrained(cls, path: str, **options: Any) -> VideoStandIn:
        try:
            return cls(BaseVideoProcessor.get_video_processor_dict(path, **options)[0])
        except OSError:  # the checkpoint says nothing about videos
            return cls({})

    def to_dict(self) -> dict[str, Any]:
        return dict(self.settings)

    def save_pretrained(self, *_: Any, **__: Any) -> list[str]:
        """The settings are saved in the processor's own file."""
        return []

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("settings", {})
        if name in settings:
            return settings[name]
        raise MissingVideoSettingError(name)


find_class = image_processing_auto.get_image_processor_class_from_name


def image_processor_class(name: str) -> Any:
    """The class of an image processor, also where transformers withholds one that needs no torchvision.

    It does so for HunyuanOCR's Pillow processor, whose file imports without it.
    """
    found = find_class(name)
    if isinstance(found, DummyObject):
        with suppress(ImportError):
            return getattr(import_module(f"transformers.{transformers._class_to_module[name]}"), name)
    return found


@contextmanager
def without_video_part() -> Iterator[None]:
    """Within: transformers puts a `VideoStandIn` where a processor's video part needs torchvision."""
    if is_torchvision_available():
        yield
        return
    mapping, check = processing_utils.MODALITY_TO_AUTOPROCESSOR_MAPPING, ProcessorMixin.check_argument_for_proper_class

    class WithStandIn(type(mapping)):  # type: ignore[misc]
        def __getitem__(self, modality: str) -> Any:
            return VideoStandIn if modality == "video_processor" else super().__getitem__(modality)

    def lenient(self: Any, name: str, argument: Any) -> Any:
        return VideoStandIn if isinstance(argument, VideoStandIn) else check(self, name, argument)

    processing_utils.MODALITY_TO_AUTOPROCESSOR_MAPPING = WithStandIn()
    ProcessorMixin.check_argument_for_proper_class = lenient
    image_processing_auto.get_image_processor_class_from_name = image_processor_class
    try:
        yield
    finally:
        image_processing_auto.get_image_processor_class_from_name = find_class
        processing_utils.MODALITY_TO_AUTOPROCESSOR_MAPPING = mapping
        ProcessorMixin.check_argument_for_proper_class = check


def load_processor(path: str, *, trust_remote_code: bool = False) -> Any:
    """The processor of a checkpoint.

    Raises:
        ValueError: it needs a package that is not installed, or a token that the tokenizer does not name.
    """
    try:
        with without_video_part():
            return AutoProcessor.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (ImportError, MissingVideoSettingError) as error:
        reason = " ".join(str(error).split())
        if "torchvision" in reason.lower() or isinstance(error, MissingVideoSettingError):
            reason = (
                f'its processor needs torchvision: pip install "torchvision=={matching_torchvision(torch.__version__)}"'
            )
        raise ValueError(f'"{path}": {reason}') from None
    except AttributeError as error:  # a special token that tokenizer_config.json names
        raise ValueError(f"its processor cannot be built: {error}; is tokenizer_config.json complete?") from None


def matching_torchvision(torch_version: str) -> str:
    """The torchvision that goes with torch: 2.13.0 -> 0.28.*, both count their minor versions up together."""
    minor = int(torch_version.split(".")[1])
    return f"0.{minor + 15}.*"
