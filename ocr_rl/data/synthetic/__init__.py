"""Invented pages: text, typefaces and rendering."""
