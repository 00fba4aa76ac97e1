"""Metrics beyond olmOCR-bench's tests: pure functions of a reference and a completion."""

from ocr_verifiers.metrics.anls import anls, json_anls
from ocr_verifiers.metrics.bleu import bleu, corpus_bleu
from ocr_verifiers.metrics.cdm import CharacterMatch, cdm, formulas_cdm
from ocr_verifiers.metrics.confusions import Confusion, ErrorTable, error_table
from ocr_verifiers.metrics.diff_ratio import diff_ratio
from ocr_verifiers.metrics.grits import GriTS, grits, grits_con, grits_top, tables_grits
from ocr_verifiers.metrics.hallucination import Hallucination, hallucination
from ocr_verifiers.metrics.key_values import KeyValueScore, key_values, written_fields
from ocr_verifiers.metrics.numbers import NumberScore, numbers, numbers_exact
from ocr_verifiers.metrics.paragraphs import paragraph_count, paragraphs
from ocr_verifiers.metrics.reading_order import match_paragraphs, reading_order

__all__ = [
    "CharacterMatch",
    "Confusion",
    "ErrorTable",
    "GriTS",
    "Hallucination",
    "KeyValueScore",
    "NumberScore",
    "anls",
    "bleu",
    "cdm",
    "corpus_bleu",
    "diff_ratio",
    "error_table",
    "formulas_cdm",
    "grits",
    "grits_con",
    "grits_top",
    "hallucination",
    "json_anls",
    "key_values",
    "match_paragraphs",
    "numbers",
    "numbers_exact",
    "paragraph_count",
    "paragraphs",
    "reading_order",
    "tables_grits",
    "written_fields",
]
