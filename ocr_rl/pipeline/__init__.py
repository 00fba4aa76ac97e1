"""A recipe becomes a run: pages, checks, training, dry run."""
