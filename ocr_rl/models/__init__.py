"""The policy and its parts: prompts, KV cache, heads, reference, reward model, weights on disk."""

import ocr_rl.models.deferred_imports  # noqa: F401 - before any other import of transformers
