"""Reinforcement learning with verifiable rewards for document transcription."""

__version__ = "0.1.0"
