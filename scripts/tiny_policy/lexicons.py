"""Word lists with frequencies, from the package `wordfreq` (a tool of the making, `pip install wordfreq`; Apache-2.0,
its data CC-BY-SA-4.0). No list is part of the policy or of this repository.
"""

from __future__ import annotations

import re

from ocr_rl.data.synthetic.text import EVERYDAY, Lexicon

LANGUAGES = {"en": 0.32, "fr": 0.28, "de": 0.16, "cs": 0.1, "es": 0.04, "it": 0.04, "pl": 0.03, "nl": 0.03}
"""Share of the lines in each language."""


def find_lexicons(most: int = 40_000) -> tuple[list[Lexicon], list[float]]:
    """Lexicons and their shares. Frequencies are flattened a little, so that common words do not fill every line."""
    try:
        import wordfreq
    except ModuleNotFoundError:
        print("wordfreq is not installed: the renderer's own short word list is used", flush=True)
        return [EVERYDAY], [1.0]
    lexicons = []
    for language in LANGUAGES:
        words = [w for w in wordfreq.top_n_list(language, most) if re.fullmatch(r"[^\W\d_]+(['’-][^\W\d_]+)*", w)]
        frequencies = [wordfreq.word_frequency(w, language) ** 0.9 for w in words]
        if language == "de":  # the lists are in lower case; German capitalises nouns, about a third of the words
            words = [w.capitalize() if len(w) > 4 and hash_share(w) < 0.5 else w for w in words]
        lexicons.append(Lexicon.of(language, words, frequencies))
    return lexicons, list(LANGUAGES.values())


def hash_share(word: str) -> float:
    """A number in [0, 1) that belongs to the word."""
    return (sum(ord(c) * 31**i for i, c in enumerate(word)) % 1009) / 1009
