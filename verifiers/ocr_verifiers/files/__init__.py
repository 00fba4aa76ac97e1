"""JSON and JSON Lines files, in and out."""
