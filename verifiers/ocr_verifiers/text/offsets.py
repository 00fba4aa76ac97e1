"""Where the characters of a normalised text come from."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein


def prefix_lengths(source: str, target: str) -> list[int]:
    """How many characters of `target` the first i characters of `source` have written, for i = 0 to len(source).

    Source and target are a text before and after normalisation, or in and out of an output format. They are aligned
    with the fewest edits: what is deleted writes nothing, and what is inserted belongs to the character before it.
    """
    lengths = [0] * (len(source) + 1)
    for code in Levenshtein.opcodes(source, target):
        if code.tag == "insert":
            lengths[code.src_start] = code.dest_end
            continue
        for i in range(code.src_start, code.src_end):
            written = code.dest_start if code.tag == "delete" else code.dest_start + 1 + i - code.src_start
            lengths[i + 1] = written
    return lengths
