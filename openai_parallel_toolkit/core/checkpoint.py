"""Name the durable steps of a run, so that tests can end the process at each of them."""

from __future__ import annotations

import sys

#: The audit event that tells the name of a checkpoint.
EVENT = "openai_parallel_toolkit.checkpoint"


def checkpoint(name: str) -> None:
    """Say that the work has come to a step; costs nothing where no audit hook listens."""
    sys.audit(EVENT, name)
