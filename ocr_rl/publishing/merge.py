"""`ocr-rl merge`: a run's checkpoint or an adapter becomes a plain checkpoint, which reads pages as before.

Two things happen to the weights, and each is checked by greedy transcriptions of the same pages. Merging an adapter
must change nothing: in float32 all tokens are those of the adapter. Rounding to the dtype of the file may turn near
ties: what it changes is reported, and is an error where it is more than ROUNDING of the characters. An adapter that was
trained beside a quantised base is merged into the base as it was before; what that changes is reported too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch

from ocr_rl.models.policy import Policy
from ocr_rl.publishing.model_card import checkpoint_card
from ocr_rl.publishing.packaging import Dtype, chosen_dtype, name_of, new_folder, write
from ocr_rl.publishing.reading import Comparison, Reading, compare, read, rendered_pages
from ocr_rl.publishing.source import Source, find_source, loadable
from ocr_rl.rollouts.console import SILENT, Console
from ocr_rl.types import Page

PAGES = 10
"""Pages that are read with the checkpoint and with what is written."""
ROUNDING = 0.02
"""Share of the characters that rounding may change: an occasional near tie, not a policy that reads worse."""


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
    written: Comparison
    """What was written against the checkpoint in float32."""
    quantized: Comparison | None = None
    """What was written against the checkpoint beside the quantised base that it was trained with."""


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
        ValueError: there is no such checkpoint, `out` holds something, a page is read differently after merging in
            float32, or rounding changes more than ROUNDING of the characters; nothing is written.
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
        plain = policy.merged()
        if plain is not policy and dtype != torch.float32:
            _check(compare(expected, read(plain, expected[0], max_tokens, console, "merged")), None, options)
        write(plain, folder, dtype)
        del policy, plain
        after = read(Policy.load(loadable(found.recipe, str(folder))), expected[0], max_tokens, console, "after")
        written = compare(expected, after)
        _check(written, None if dtype == torch.float32 else dtype, options)
        trained = _trained(found, expected[0], max_tokens, console)
        result = Merged(out, found, dtype, written, None if trained is None else compare(trained, after))
        card = checkpoint_card(out.resolve().name, found, expected[0], asked, name_of(dtype), check_line(result))
        (folder / "README.md").write_text(card, encoding="utf-8")
    return result


def _trained(source: Source, pages: Sequence[Page], max_tokens: int, console: Console) -> Reading | None:
    """What the policy reads beside its quantised base; None if there is none, or bitsandbytes is not there."""
    quantized = source.quantized
    if quantized is None or find_spec("bitsandbytes") is None:
        return None
    return read(Policy.load(quantized), pages, max_tokens, console, f"in {quantized.quantize}")


def check_line(merged: Merged) -> str:
    """How many pages are read as before, in one sentence, or two if it was trained beside a quantised base."""
    written, quantized = merged.written, merged.quantized
    if not written.differences:
        line = f"Its greedy transcriptions of {written.pages} pages equal those of the checkpoint, token by token."
    else:
        same = written.pages - len(written.differences)
        line = (
            f"Its greedy transcriptions of {same} of {written.pages} pages equal those of the checkpoint in float32; "
            f"{written.edits:,} of {written.characters:,} characters differ."
        )
    bits = merged.source.quantized
    if bits is None:
        return line
    line += f" The adapter was trained beside its base in {bits.quantize}, and is merged into the base as it was before"
    return line + ("." if quantized is None else f": against training, {quantized} differ.")


def warnings(merged: Merged) -> list[str]:
    """What a person should know before they use it."""
    found = []
    if merged.written.differences:
        found.append(f"{_cause(merged.dtype)} changes what is read: {merged.written}")
    bits = merged.source.quantized
    if bits is not None and merged.quantized is None:
        found.append(f"not compared with the policy in {bits.quantize}: bitsandbytes is not installed")
    elif bits is not None and merged.quantized is not None and merged.quantized.differences:
        found.append(f"the base was in {bits.quantize} in training; without that, {merged.quantized} differ")
    return found


def _cause(dtype: torch.dtype | None) -> str:
    return "merging" if dtype in (None, torch.float32) else f"rounding to {name_of(dtype)}"


def _check(found: Comparison, rounded: torch.dtype | None, options: MergeOptions) -> None:
    """Raises ValueError if a token differs; of weights that were `rounded`, if more than ROUNDING of the characters."""
    refused = bool(found.differences) if rounded is None else found.share > ROUNDING
    if not refused or options.accept_differences:
        return
    first = found.differences[0]
    bound, advice = "", ""
    if rounded is not None:
        bound, advice = f" more than {ROUNDING:.0%} of", "--dtype float32 does not round; "
    raise ValueError(
        f"{_cause(rounded)} changes{bound} what is read: {found}, e.g. {first.page}: {first.expected!r} became "
        f"{first.found!r}. {advice}--accept-differences writes it all the same"
    )
