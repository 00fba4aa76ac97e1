"""Recipes: their schema, the rules between their settings, and loading them from TOML."""
