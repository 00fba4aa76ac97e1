"""Pages to completions: engines, and scoring while they sample."""
