"""What scripts/gpu_check.py measures, a file for each kind."""
