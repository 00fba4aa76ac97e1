"""Chat messages as rows of a dataset: what the user says is the prompt, what the assistant says the text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

SPEAKERS = {"system": "prompt", "user": "prompt", "human": "prompt", "assistant": "text", "gpt": "text"}


class Chat(NamedTuple):
    """One page's conversation."""

    prompt: str
    """What the system and the user say."""
    text: str
    images: list[Any]
    """Those within the messages; often they are in a column of their own."""


def read_chat(messages: Any) -> Chat:
    """`[{"role": "user", "content": ...}, {"role": "assistant", ...}]`, or with `from` and `value` as in LLaVA.

    A content is a text, or a list of parts of type text, image or image_url. Raises ValueError for anything but one
    answer of the assistant, after what the user says.
    """
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise ValueError("must be a list of messages {role, content}")
    said: dict[str, list[str]] = {"prompt": [], "text": []}
    images: list[Any] = []
    for message in messages:
        role = message.get("role") or message.get("from")
        if role not in SPEAKERS:
            raise ValueError(f"has a message of {role!r}; write one of {', '.join(SPEAKERS)}")
        if said["text"]:
            raise ValueError("continues after the assistant's answer; a page has one answer")
        content = message.get("content") or message.get("value") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [part.get("text") or "" for part in parts if part.get("type") == "text"]
        images += [_image(part) for part in parts if part.get("type") in ("image", "image_url")]
        said[SPEAKERS[role]].append("\n".join(texts))
    if not said["text"]:
        raise ValueError("has no answer of the assistant")
    prompt = "\n".join(filter(None, map(without_placeholder, said["prompt"])))
    return Chat(prompt, said["text"][0], [image for image in images if image])


def without_placeholder(prompt: str) -> str:
    """The prompt without `<image>`, which says where the image goes: it always comes first."""
    return re.sub(r"\n?<image>\n?", "", prompt)


def _image(part: Mapping[str, Any]) -> Any:
    value = part.get("image") or part.get("image_url") or part.get("path") or part.get("url")
    return value.get("url") or value if isinstance(value, Mapping) else value
