"""How long to wait before the next try: exponential backoff with full jitter. Pure."""

from __future__ import annotations

#: Doublings after which the cap has long been reached, and a float still holds the number.
_MOST_DOUBLINGS = 63


def backoff_s(failures: int, chance: float, *, base_s: float, cap_s: float) -> float:
    """Return the seconds to wait after `failures` in a row: up to base, 2 base, 4 base ... cap.

    Args:
        failures: 1 or more.
        chance: from 0 to 1, drawn anew each time: the share of the longest wait that is taken, so
            that many who failed together do not come back together.
    """
    return chance * min(cap_s, base_s * 2.0 ** min(failures - 1, _MOST_DOUBLINGS))
