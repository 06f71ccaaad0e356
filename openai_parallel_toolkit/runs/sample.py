"""Choose a few of the due files that stand for all of them."""

from __future__ import annotations

from array import array
from dataclasses import replace

from ..files.inputs import Inputs
from ..files.plan import Plan, Spool

#: Where nothing is asked for: one file in a hundred, within these bounds.
_SHARE, _FEWEST, _MOST = 0.01, 5, 100


class Sample:
    """Some of the due files, always the same ones, spread evenly over all sizes.

    Args:
        wanted: how many, or a share below 1; None: one in a hundred, at least 5, at most 100.
    """

    def __init__(self, wanted: float | None) -> None:
        self._wanted = wanted
        #: Bytes of each chosen file, by path.
        self.sizes: dict[str, int] = {}
        self.all_count = self.all_bytes = 0

    @property
    def rest_count(self) -> int:
        """Files that were not chosen."""
        return self.all_count - len(self.sizes)

    @property
    def rest_bytes(self) -> int:
        """Their bytes."""
        return self.all_bytes - sum(self.sizes.values())

    def choose(self, plan: Plan, inputs: Inputs, folder: str) -> Plan:
        """Return the plan with the chosen files alone; their names are spooled to `folder`."""
        sizes = array("q", (inputs.size_bytes(file.path) for file in plan.due()))
        self.all_count, self.all_bytes = len(sizes), sum(sizes)
        chosen = _spread(sizes, self._count(len(sizes)))
        spool = Spool(folder)
        for index, file in enumerate(plan.due()):
            if index in chosen:
                self.sizes[file.path] = sizes[index]
                spool.add(file.path, is_known=file.is_known)
        spool.finish()
        later = plan.later + self.rest_count
        return replace(plan, due_count=len(chosen), later=later, spool=spool)

    def _count(self, total: int) -> int:
        wanted = self._wanted
        if wanted is None:
            return min(total, max(_FEWEST, min(_MOST, round(total * _SHARE))))
        return min(total, max(1, round(total * wanted if wanted < 1 else wanted)))


def _spread(sizes: array[int], count: int) -> set[int]:
    """Return `count` indices: by size, the middle one of each of as many equal parts."""
    by_size = sorted(range(len(sizes)), key=sizes.__getitem__)
    return {by_size[(2 * part + 1) * len(sizes) // (2 * count)] for part in range(count)}
