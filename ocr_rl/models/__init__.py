"""The policy and its parts: prompts, KV cache, heads, reference, reward model, weights on disk."""
