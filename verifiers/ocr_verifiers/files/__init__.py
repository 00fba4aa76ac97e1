"""Reading and writing JSON and JSON Lines files."""
