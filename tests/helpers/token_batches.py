"""Random batches of completions for tests of losses, and views of them."""

from types import SimpleNamespace

import torch

from ocr_rl.objectives.policy_losses import StepCounts


def batch(seed, rows=4, width=6):
    """Random logprobs whose ratios fall below, inside and above the clip range; float64; ragged; one row untrained."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(3, rows, width, generator=generator, dtype=torch.float64)
    logprobs = -1 - draw[0].abs()
    lengths = torch.randint(1, width + 1, (rows,), generator=generator)
    lengths[0], lengths[-1] = width, 0
    return SimpleNamespace(
        logprobs=logprobs,
        old=logprobs + 0.3 * draw[1],
        ref=logprobs + 0.5 * draw[2],
        advantages=torch.randn(rows, generator=generator, dtype=torch.float64),
        mask=torch.arange(width) < lengths[:, None],
    )


def counts_of(mask, max_tokens=10):
    return StepCounts(int(mask.sum()), len(mask), max_tokens)


def rows_of(b, rows):
    return SimpleNamespace(**{name: tensor[rows] for name, tensor in vars(b).items()})


def wider(b, extra, filler):
    """The batch with `extra` columns of pads that hold `filler`."""
    pads = {torch.bool: False}
    return SimpleNamespace(
        **{
            name: torch.nn.functional.pad(t, (0, extra), value=pads.get(t.dtype, filler)) if t.ndim == 2 else t
            for name, t in vars(b).items()
        }
    )


def with_junk(b, junk):
    """The batch with `junk` where the mask is False."""
    return SimpleNamespace(
        **{
            name: t.masked_fill(~b.mask, junk) if t.ndim == 2 and t.dtype != torch.bool else t
            for name, t in vars(b).items()
        }
    )
