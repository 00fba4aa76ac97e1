"""`to_markdown`: a completion in the output format of its model, as markdown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

from ocr_verifiers.outputs import doctags, front_matter, grounding, layout_json, otsl, tags
from ocr_verifiers.outputs.result import MalformedError, Markdown
from ocr_verifiers.text.suggestions import suggestion

OutputFormat = Literal["markdown", "front_matter", "doctags", "otsl", "layout_json", "grounding", "tags"]
OUTPUT_FORMATS: tuple[OutputFormat, ...] = get_args(OutputFormat)

_CONVERTERS: Mapping[OutputFormat, Callable[[str], Markdown]] = {
    "markdown": Markdown,
    "front_matter": front_matter.convert,
    "doctags": doctags.convert,
    "otsl": otsl.convert,
    "layout_json": layout_json.convert,
    "grounding": grounding.convert,
    "tags": tags.convert,
}


def to_markdown(text: str, output: OutputFormat = "markdown") -> Markdown:
    """A completion as markdown, in linear time. A malformed one stays as it is, with the reason.

    An unknown format is a ValueError.
    """
    check_output(output)
    try:
        return _CONVERTERS[output](text)
    except MalformedError as error:
        return Markdown(text, str(error))


def check_output(name: str) -> None:
    """A ValueError for a name that is not an output format."""
    if name not in OUTPUT_FORMATS:
        raise ValueError(f'unknown output format "{name}"; {suggestion(name, OUTPUT_FORMATS)}')
