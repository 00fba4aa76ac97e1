"""Text alone: normalisation, edit distance, search, repetition, differences."""
