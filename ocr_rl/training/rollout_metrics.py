"""A rollout batch, its metrics, and its rows for rollouts/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ocr_rl.rewards.reward_function import ScoredGroup
from ocr_rl.rollouts.scoring import RolledOut
from ocr_verifiers import Score, pool


class Cost(NamedTuple):
    """What was sampled for a batch, including rejected groups."""

    pages: int = 0
    completions: int = 0
    tokens: int = 0


NO_COST = Cost()


@dataclass(frozen=True)
class Batch(RolledOut):
    """The scored groups of a step."""

    wait_s: float
    """Seconds that the trainer waited for them, the transfer of weights included."""
    sync_s: float
    """Seconds in which weights were transferred to the engine."""
    drawn: int = 0
    """Batches of pages drawn since the run began."""
    cost: Cost = NO_COST


def rollout_metrics(batch: Batch, learn_s: float) -> dict[str, float | None]:
    """The batch before the update, and where the time of the step went."""
    scored = batch.groups
    scores = [score for group in scored for score in group.scores]
    completions = [c for group in scored for c in group.group.completions]
    rewards = torch.tensor([group.rewards for group in scored])
    tokens = sum(len(c.token_ids) for c in completions)
    edits = [score.char_edits for score in scores if score.char_edits is not None]
    tests = sum(score.scored_tests for score in scores)
    parts = {name for score_ in scores for name in score_.parts}
    malformed = sum(bool(score.malformed) for score in scores) / len(scores)
    means: dict[str, float | None] = {}
    for name in sorted(parts):
        values = [s.parts[name] for s in scores if name in s.parts]
        means[f"reward/{name}"] = sum(values) / len(values)
    return {
        "reward": rewards.mean().item(),
        "reward_std": rewards.std(dim=1).mean().item() if rewards.shape[1] > 1 else None,
        **means,
        "pass_rate": sum(s.passed for s in scores) / tests if tests else None,
        **_pass_rates(scores),
        "cer": pool(edits).error_rate if edits else None,
        "completion_length": tokens / len(completions),
        "truncated_fraction": sum(not c.finished for c in completions) / len(completions),
        **({"malformed_fraction": malformed} if malformed else {}),
        "tokens_per_s": tokens / (batch.wait_s + learn_s),
        "refused": len(batch.refused),
        "pages": batch.cost.pages,
        "completions": batch.cost.completions,
        "sampled_tokens": batch.cost.tokens,
        "time/wait": round(batch.wait_s, 3),
        "time/sync": round(batch.sync_s, 3),
        "time/generate": round(batch.generate_s, 3),
        "time/score": round(batch.score_s, 3),
        "time/learn": round(learn_s, 3),
    }


def _pass_rates(scores: Sequence[Score]) -> dict[str, float]:
    """`pass_rate/<kind>` of each kind of test."""
    passed: dict[str, list[bool]] = {}
    for score in scores:
        for test, verdict in score.verdicts:
            passed.setdefault(test.type, []).append(verdict.passed)
    return {f"pass_rate/{kind}": sum(own) / len(own) for kind, own in sorted(passed.items())}


def rollout_rows(scored: Sequence[ScoredGroup], advantages: Tensor) -> list[dict[str, Any]]:
    """One row per completion for rollouts/step_NNNNNN.jsonl."""
    rows = []
    for group, row in zip(scored, advantages.tolist(), strict=True):
        for completion, score, reward, advantage in zip(
            group.group.completions, group.scores, group.rewards, row, strict=True
        ):
            rows.append(
                {
                    "page": group.group.page.id,
                    "completion": completion.text,
                    **({} if score.markdown is None else {"markdown": score.markdown}),
                    **({"malformed": score.malformed} if score.malformed else {}),
                    "finish_reason": completion.finish_reason,
                    "reward": reward,
                    "parts": score.parts,
                    "tests": {test.id: verdict.passed for test, verdict in score.verdicts},
                    "advantage": advantage,
                }
            )
    return rows
