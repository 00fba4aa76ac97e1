"""olmOCR-bench folders: scoring and the report."""
