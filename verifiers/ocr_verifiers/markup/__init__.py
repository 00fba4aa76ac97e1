"""What documents are marked up with: formulas, tables, formatting, footnotes, front matter."""
