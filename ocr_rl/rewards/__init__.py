"""Completions to rewards and preferences, by the verifiers."""
