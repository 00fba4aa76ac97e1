"""The output of olmOCR's models: YAML front matter, then the text in markdown."""

from __future__ import annotations

from ocr_verifiers.markup.front_matter import split_front_matter
from ocr_verifiers.outputs.result import MalformedError, Markdown


def convert(text: str) -> Markdown:
    """The text after the front matter."""
    front = split_front_matter(text)
    if front.fields is None:
        raise MalformedError(front.why)
    return Markdown(front.body, front_matter=text[: len(text) - len(front.body)])
