"""Checkpoints: reading and checking them, processors, adapters, safetensors files."""
