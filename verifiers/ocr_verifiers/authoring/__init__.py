"""Making and checking unit tests."""
