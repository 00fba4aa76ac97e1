"""The transcription of a page with its score, and its row in an evaluation's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ocr_rl.data.splits import document_of
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.types import Completion, Group, Page
from ocr_verifiers import Score


@dataclass(frozen=True)
class PageEvaluation:
    page: Page
    completion: Completion
    score: Score

    @property
    def text(self) -> str:
        """The transcription as it was scored: markdown, or the completion as it stands if it is malformed."""
        return self.completion.text if self.score.markdown is None else self.score.markdown

    def as_dict(self) -> dict[str, Any]:
        """A row of an evaluation's `pages`: all that a report needs, except the image.

        `reference` is None for a page that has only tests; its row has no rates and no edits. `raw` is what the model
        wrote, if that is not the text; `malformed` says why it is not in the model's output format. `reward` is None
        where it is the consensus of several completions alone.
        """
        page, score = self.page, self.score
        row: dict[str, Any] = {"id": page.id, "document": document_of(page)}
        row |= {key: page.metadata[key] for key in ("source", "language") if key in page.metadata}
        row |= {"reference": page.text, "text": self.text, "finish_reason": self.completion.finish_reason}
        row |= {"raw": self.completion.text} if score.markdown is not None else {}
        row |= {"malformed": score.malformed} if score.malformed else {}
        row |= {"reward": None if score.needs_siblings else score.reward, "parts": dict(score.parts)}
        if score.char_edits is not None and score.word_edits is not None:
            row |= {
                "cer": score.char_edits.error_rate,
                "char_edits": score.char_edits.distance,
                "reference_chars": score.char_edits.reference_length,
                "wer": score.word_edits.error_rate,
                "word_edits": score.word_edits.distance,
                "reference_words": score.word_edits.reference_length,
            }
        row["tests"] = [
            {"id": test.id, "type": test.type, "passed": verdict.passed, "why": verdict.why}
            for test, verdict in score.verdicts
        ]
        row["failed_tests"] = {test.id: verdict.why for test, verdict in score.verdicts if not verdict.passed}
        return row


def score_pages(
    pages: Sequence[Page], completions: Sequence[Completion], reward_function: RewardFunction
) -> list[PageEvaluation]:
    scores = reward_function.scores(pages, completions)
    return [PageEvaluation(p, c, score) for p, c, score in zip(pages, completions, scores, strict=True)]


def score_samples(groups: Sequence[Group], reward_function: RewardFunction) -> list[list[PageEvaluation]]:
    """Every completion of every page; identical ones of a page are scored once."""
    return [
        [PageEvaluation(scored.group.page, c, s) for c, s in zip(scored.group.completions, scored.scores, strict=True)]
        for scored in reward_function.score_groups(groups)
    ]
