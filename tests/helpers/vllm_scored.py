"""The trainer's scores of completions that an engine sampled."""

import torch

from ocr_rl.models.padding import pad_rows


def worst_difference(policy, groups, temperature=1.0):
    """The largest absolute difference between the engine's log probability of a token and the trainer's."""
    worst = 0.0
    for group in groups:
        ids, mask = pad_rows([list(c.token_ids) for c in group.completions], policy.pad_id)
        with torch.no_grad():
            scores = policy.score(policy.read(policy.prompt(group.page)), ids, mask, temperature or 1.0)
        for row, completion in zip(scores.logprobs, group.completions, strict=True):
            sampled = torch.tensor(completion.sampling_logprobs)
            assert len(sampled) == len(completion.token_ids)
            worst = max(worst, (row[: len(sampled)] - sampled).abs().max().item())
    return worst


def completions(groups):
    return [completion for group in groups for completion in group.completions]
