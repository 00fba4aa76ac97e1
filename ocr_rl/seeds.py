"""The one rule for everything random: a seed is derived from the run's seed and the name of what it is for.

So no two uses share a stream, in one run or in two runs with neighbouring seeds, and a resumed run draws what the
uninterrupted one drew.
"""

from __future__ import annotations

from hashlib import blake2b


def derive(seed: int, *what: int | str) -> int:
    """A seed in [0, 2**63) for `what`, e.g. `derive(train.seed, "step", 7)`.

    The parts are hashed with their types and lengths, so that ("a", 12) and ("a1", 2) differ. Generators that take
    only 32 bits, as PyTorch's on a CPU, may take the lower ones.
    """
    digest = blake2b(repr((seed, *what)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
