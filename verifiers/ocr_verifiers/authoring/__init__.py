"""Making and linting unit tests."""
