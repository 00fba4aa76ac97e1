"""Which prompt format a checkpoint has: its recipe's, the one it was saved with, or that of its makers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ocr_rl.config.presets import PromptFormat, named, recognised

if TYPE_CHECKING:
    from ocr_rl.config.schema import ModelConfig

FILE = "prompt_format.json"
"""In a checkpoint's folder, unless its format is the default."""


def prompt_format(config: ModelConfig, model_config: Any, folders: Sequence[str]) -> PromptFormat:
    """The format of `config.preset`, with what the recipe says otherwise.

    Args:
        model_config: the transformers configuration of the model.
        folders: the folders or hub ids that it was loaded from, an adapter's before its base model's.
    """
    if config.preset == "none":
        found = PromptFormat()
    elif config.preset != "auto":
        found = named(config.preset)
    else:
        saved = next(filter(None, map(_saved, folders)), None)
        names = [*folders, getattr(model_config, "_name_or_path", "")]
        found = saved or recognised(model_config.model_type, names) or PromptFormat()
    if config.output != "auto":
        found = replace(found, output=config.output)
    if config.prompt_order != "auto":
        found = replace(found, prompt_order=config.prompt_order)
    return replace(found, longest_side=config.longest_side or found.longest_side)


def save(format: PromptFormat, folder: Path) -> None:
    """Keep it in a checkpoint, which is read in the same format from then on."""
    if format != PromptFormat():
        text = json.dumps(asdict(format), indent=2, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _saved(folder: str) -> PromptFormat | None:
    file = Path(folder, FILE)
    if not file.is_file():
        return None
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return PromptFormat(**{**fields, "end_tokens": tuple(fields["end_tokens"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: is damaged ({error}); remove it, and set model.preset") from None


def chat_template(config: ModelConfig, format: PromptFormat, processor: Any) -> str | None:
    """The recipe's chat template, the processor's, the preset's, or the tokenizer's, which may be for text alone.

    Raises:
        ValueError: the recipe's file cannot be read, is not a template, or does not write the image.
    """
    if not config.chat_template:
        return getattr(processor, "chat_template", None) or format.chat_template or _of_tokenizer(processor)
    where = f'model.chat_template "{config.chat_template}"'
    try:
        template = Path(config.chat_template).read_text(encoding="utf-8")
        shows = writes(processor, "image", template)
    except OSError as error:
        raise ValueError(f"{where}: {error.strerror}") from None
    except Exception as error:  # whatever a template raises
        raise ValueError(f"{where}: {error}") from None
    if not shows:
        raise ValueError(f"{where}: writes nothing for a part of type image; write the model's image token there")
    return template


def _of_tokenizer(processor: Any) -> str | None:
    template = getattr(processor.tokenizer, "chat_template", None)
    try:
        return template if isinstance(template, str) and writes(processor, "image", template) else None
    except Exception:  # whatever a template raises that expects text
        return None


def writes(processor: Any, kind: Literal["image", "text"], template: str | None = None) -> bool:
    """Whether the processor's chat template, or another one, writes a message's parts of this kind."""
    parts = [{"type": "image"}, {"type": "text", "text": "x"}]
    others = [part for part in parts if part["type"] != kind]
    without, whole = (
        processor.apply_chat_template(
            [{"role": "user", "content": content}],
            chat_template=template or processor.chat_template,
            add_generation_prompt=True,
            tokenize=False,
        )
        for content in (others, parts)
    )
    return bool(without != whole)
