"""BLEU, computed by sacrebleu; comparable with papers that report its signature."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

TOKENIZERS = ("13a", "intl", "char", "zh", "none")


def bleu(reference: str, completion: str, tokenize: str = "13a") -> float:
    """Sentence BLEU of one page in [0, 1], with sacrebleu's exponential smoothing and effective order.

    `tokenize` is sacrebleu's; `char` suits pages in Chinese, Japanese or Kannada. Against an empty reference, an empty
    completion scores 1 and any other 0.
    """
    if not reference.split() or not completion.split():
        return float(reference.split() == completion.split())
    score = _sacrebleu().sentence_bleu(_clean(completion), [_clean(reference)], tokenize=_known(tokenize))
    return min(1.0, float(score.score) / 100)


def corpus_bleu(references: Sequence[str], completions: Sequence[str], tokenize: str = "13a") -> float:
    """Corpus BLEU in [0, 1]: n-gram counts pooled over all pages, not a mean over pages."""
    if len(references) != len(completions):
        raise ValueError(f"{len(references)} references and {len(completions)} completions; give one for each")
    if not references:
        raise ValueError("no page to score")
    score = _sacrebleu().corpus_bleu(
        [_clean(text) for text in completions], [[_clean(text) for text in references]], tokenize=_known(tokenize)
    )
    return min(1.0, float(score.score) / 100)


def _clean(text: str) -> str:
    """Line ends become spaces: BLEU's segments are lines, and a page is one segment."""
    return " ".join(text.split())


def _known(tokenize: str) -> str:
    if tokenize not in TOKENIZERS:
        raise ValueError(f'unknown tokenizer "{tokenize}"; known: {", ".join(TOKENIZERS)}')
    return tokenize


def _sacrebleu() -> ModuleType:
    try:
        return import_module("sacrebleu")
    except ImportError as error:
        raise ValueError("BLEU needs sacrebleu: pip install 'ocr-rl[metrics]'") from error
