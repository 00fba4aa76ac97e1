"""Plain text: normalisation, edit distance, search, repetition, differences."""
