"""Rewards and preferences from completions, by the verifiers."""
