"""Pages without an image, and transcriptions of them, scored."""

from ocr_rl.evaluation.results import PageEvaluation, score_pages
from ocr_rl.rewards.reward_function import RewardFunction
from ocr_rl.types import Completion, Page
from ocr_verifiers import Rubric

RUBRIC = Rubric(weights={"similarity": 1.0, "pass_rate": 1.0}, gates={"end": 0.5})


def page(id, text="abcd", doc=None, tests=(), absent=(), **metadata):
    """`tests` are texts that should be present, `absent` texts that should not."""
    kinds = [("present", text) for text in tests] + [("absent", text) for text in absent]
    records = [
        {"pdf": "a.pdf", "page": 1, "id": f"{id}_{i}", "type": kind, "text": wanted}
        for i, (kind, wanted) in enumerate(kinds)
    ]
    return Page(id, lambda: None, text=text, tests=records, metadata=metadata | ({} if doc is None else {"doc": doc}))


def results(*rows: tuple[Page, str], finished=True) -> list[PageEvaluation]:
    completions = [Completion((), text, "end" if finished else "length", ()) for _, text in rows]
    pages = [page for page, _ in rows]
    return score_pages(pages, completions, RewardFunction(RUBRIC, pages))
