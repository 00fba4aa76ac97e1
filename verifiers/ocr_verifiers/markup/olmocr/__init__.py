"""Markup as olmOCR reads it."""
