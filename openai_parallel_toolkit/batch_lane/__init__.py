"""Collect calls into batches, see those through, and keep their answers."""

from .lane import BatchLane
from .options import BatchOptions, Finish

__all__ = ["BatchLane", "BatchOptions", "Finish"]
