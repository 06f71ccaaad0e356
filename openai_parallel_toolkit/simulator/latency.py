"""How long the simulated provider thinks."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds before a reply: constant, or lognormal when `sigma` is above 0."""

    median_s: float = 0.0
    #: Standard deviation of the logarithm; 0.5 makes one reply in twenty 2.3 times slower.
    sigma: float = 0.0

    def draw_s(self, seed: int, ordinal: int, digest: bytes) -> float:
        """Return the wait of the `ordinal`-th request; equal arguments give equal waits."""
        if not self.sigma or not self.median_s:
            return self.median_s
        first, second = fractions(b"latency", seed, ordinal, digest)
        normal = math.sqrt(-2 * math.log(1 - first)) * math.cos(math.tau * second)
        return self.median_s * math.exp(self.sigma * normal)


def fractions(use: bytes, seed: int, count: int, digest: bytes) -> tuple[float, float]:
    """Return two fair numbers in [0, 1) that depend on the arguments alone."""
    mixed = hashlib.sha256(b"%b %d %d " % (use, seed, count) + digest).digest()
    # 53 bits, so that the largest value stays below 1.
    first, second = (int.from_bytes(part, "big") >> 11 for part in (mixed[:8], mixed[8:16]))
    return first / (1 << 53), second / (1 << 53)
