"""Sampling with vLLM, in a process that the trainer starts or on a server."""
