"""How rewards can be cheated: degenerate policies, invented pages to try them on, and a table of what they earn."""
