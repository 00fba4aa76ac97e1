"""Invented pages: what is written on them, and what type, print, paper and scanner make of it."""
