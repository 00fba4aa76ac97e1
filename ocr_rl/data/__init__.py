"""Datasets of page images: reading, checking and splitting them."""
