"""The policy and what it is made of: prompts, the KV cache, heads, references, weights on disk."""
