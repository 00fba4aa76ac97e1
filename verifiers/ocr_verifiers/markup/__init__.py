"""Parsers of markup: formulas, tables, formatting, footnotes, front matter."""
