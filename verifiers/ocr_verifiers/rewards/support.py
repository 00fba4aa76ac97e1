"""What the parts that look at one side of a page are worth at most: the similarity of what is read.

Tests, numbers, tables, formulas or the order of paragraphs can be right on a page that is wrong elsewhere, says more
than the page does, or hides it.
"""

from __future__ import annotations

from collections.abc import Collection

from ocr_verifiers.markup import katex, mathml
from ocr_verifiers.markup.formulas import locate_formulas
from ocr_verifiers.rewards.parts import MAX_FORMULAS, TEST_PARTS, ComparedText, Comparison
from ocr_verifiers.text.edit_distance import similarity_of, units

FORMULA_PARTS = frozenset({"formulas", "format_decoupled", "cdm"})
LIMITED = FORMULA_PARTS | {
    *TEST_PARTS,
    *("exact", "length", "numbers", "paragraphs", "reading_order", "prose", "tables", "grits_con", "grits_top"),
}
"""Parts that pay at most max(unsupported, similarity)."""


def support(texts: Comparison, parts: Collection[str]) -> float:
    """The similarity of what is read; where `parts` look at formulas, those that print alike are alike."""
    if not FORMULA_PARTS.isdisjoint(parts) and texts.reference.formats.formulas and katex.installed():
        reference = texts.reference
        respelt = ComparedText(_respelt(texts), reference.normalization, reference.unit, 0, reference.equivalences)
        left, right = (units(text.read, reference.unit) for text in (reference, respelt))
        return max(texts.similarity, similarity_of(left, right, texts.hidden))
    return texts.similarity


def _respelt(texts: Comparison) -> str:
    """The completion with the reference's LaTeX in formulas that print like one of the reference."""
    known = {}
    for latex in dict.fromkeys(texts.reference.formats.formulas):
        printed = mathml.printed(latex)
        if printed.error is None:
            known[printed.whole] = latex
    text, pieces, at = texts.completion.text, [], 0
    for start, end, formula in list(locate_formulas(text))[:MAX_FORMULAS]:
        printed = mathml.printed(formula.latex)
        if printed.error is None and printed.whole in known:
            pieces += [text[at:start], f"\n$${known[printed.whole]}$$\n"]
            at = end
    return "".join([*pieces, text[at:]])
