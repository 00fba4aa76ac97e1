"""What every algorithm shares: the loop, the optimizer, checkpoints, rollout batches."""
