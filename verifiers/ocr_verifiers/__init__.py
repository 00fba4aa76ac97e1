"""Scores transcriptions: text in; scores, verdicts and reasons out. No model, no torch."""

from ocr_verifiers import metrics
from ocr_verifiers.files.jsonl import RecordError, read_jsonl, write_json_atomic
from ocr_verifiers.metrics.teds import tables_similarity, teds
from ocr_verifiers.rewards.groups import Group, read_groups, score_groups
from ocr_verifiers.rewards.rubric import PreparedReference, Rubric, Score, load_rubric
from ocr_verifiers.rewards.scoring_pool import ScoringPool
from ocr_verifiers.text.edit_distance import EditCounts, Span, alignment, char_edits, pool, word_edits
from ocr_verifiers.text.normalize import NORMALIZATIONS, graphemes, normalize
from ocr_verifiers.unit_tests.loops import repeats
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import UnitTest, load_tests, parse_test
from ocr_verifiers.unit_tests.run import run_test
from ocr_verifiers.unit_tests.verdict import Verdict

__version__ = "0.1.0"

__all__ = [
    "NORMALIZATIONS",
    "EditCounts",
    "Group",
    "PreparedPage",
    "PreparedReference",
    "RecordError",
    "Rubric",
    "Score",
    "ScoringPool",
    "Span",
    "UnitTest",
    "Verdict",
    "__version__",
    "alignment",
    "char_edits",
    "graphemes",
    "load_rubric",
    "load_tests",
    "metrics",
    "normalize",
    "parse_test",
    "pool",
    "read_groups",
    "read_jsonl",
    "repeats",
    "run_test",
    "score_groups",
    "tables_similarity",
    "teds",
    "word_edits",
    "write_json_atomic",
]
