"""Collect calls into batches, see those through, and keep their answers."""

from .options import BatchOptions, Finish
from .scheduler import BatchLane

__all__ = ["BatchLane", "BatchOptions", "Finish"]
