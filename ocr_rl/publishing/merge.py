"""`ocr-rl merge`: a run's checkpoint or an adapter becomes a plain checkpoint, which reads pages as before."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from ocr_rl.models.policy import Policy
from ocr_rl.publishing.model_card import checkpoint_card
from ocr_rl.publishing.packaging import Dtype, chosen_dtype, name_of, new_folder, write
from ocr_rl.publishing.reading import Difference, differences, read, rendered_pages
from ocr_rl.publishing.source import Source, find_source, loadable
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.types import Page

PAGES = 10
"""Pages that are read with the checkpoint and with what is written."""


@dataclass(frozen=True, kw_only=True)
class MergeOptions:
    """How a checkpoint is written, and what happens if it then reads pages differently."""

    dtype: Dtype = "auto"
    """Precision of the file; `auto` is that of the base's checkpoint."""
    max_tokens: int | None = None
    """Tokens of a transcription; None: the recipe's, or 512."""
    accept_differences: bool = False
    """Write the folder also if pages are read differently. The model card says how many are."""


@dataclass(frozen=True)
class Merged:
    """What was written, and how it was checked."""

    folder: Path
    source: Source
    dtype: torch.dtype
    pages: int
    """Read with both."""
    differences: Sequence[Difference]
    """Those that are read differently."""


def merge(
    source: str,
    out: Path,
    options: MergeOptions = MergeOptions(),
    pages: Sequence[Page] = (),
    console: Console = SILENT,
) -> Merged:
    """Write a plain checkpoint of what `source` names: a run, a checkpoint, or an adapter, which is merged.

    Up to PAGES of `pages`, else of the pages that the run holds out, else rendered ones are transcribed with both.

    Raises:
        ValueError: there is no such checkpoint, `out` holds something, or a page is read differently; nothing is
            written.
    """
    found = find_source(source)
    with ExitStack() as stack:
        folder = stack.enter_context(new_folder(out))
        chosen = list(pages or found.held_out() or stack.enter_context(rendered_pages(PAGES)))[:PAGES]
        max_tokens = options.max_tokens or found.max_tokens
        policy = found.load()
        asked = policy.prompt_format
        expected = read(policy, chosen, max_tokens, console, "before")
        trusts = found.recipe is not None and found.recipe.model.trust_remote_code
        dtype = chosen_dtype(options.dtype, found.base, policy, trusts)
        write(policy.merged(), folder, dtype)
        del policy
        merged = Policy.load(loadable(found.recipe, str(folder)))
        changed = differences(expected, read(merged, expected[0], max_tokens, console, "after"))
        result = Merged(out, found, dtype, len(expected[0]), changed)
        if changed and not options.accept_differences:
            raise ValueError(_refusal(result))
        card = checkpoint_card(out.resolve().name, found, expected[0], asked, name_of(dtype), check_line(result))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return result


def check_line(merged: Merged) -> str:
    """How many pages are read as before, in one sentence."""
    if not merged.differences:
        return f"Its greedy transcriptions of {merged.pages} pages equal those of the checkpoint, token by token."
    same = merged.pages - len(merged.differences)
    return f"Its greedy transcriptions of {same} of {merged.pages} pages equal those of the checkpoint."


def _refusal(merged: Merged) -> str:
    first = merged.differences[0]
    dtype = name_of(merged.dtype)
    advice = "" if dtype == "float32" else f"{dtype} rounds the weights, and --dtype float32 does not; "
    return (
        f"{len(merged.differences)} of {merged.pages} pages are read differently after merging, e.g. {first.page}: "
        f"{first.expected!r} became {first.found!r}. {advice}--accept-differences writes it all the same"
    )
