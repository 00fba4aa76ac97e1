"""Scoring olmOCR-bench folders, and the report."""
