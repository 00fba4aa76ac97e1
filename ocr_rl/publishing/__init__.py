"""What leaves the project: merged checkpoints, soups of several, and their model cards."""
