"""Invented pages: text, typefaces, rendering, and what type, paper and scanner make of a page."""
