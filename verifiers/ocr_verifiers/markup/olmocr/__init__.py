"""Parsers that read markup as olmOCR does."""
