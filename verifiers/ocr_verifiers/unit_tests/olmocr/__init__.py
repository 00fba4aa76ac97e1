"""olmOCR-bench's own verdicts, quirks included: the mode `compat="olmocr"`. One file per kind, like `checks`."""
