"""Collect calls into batches, see those through, and keep their answers."""

from .options import BatchOptions, Finish
from .scheduler import BatchScheduler

__all__ = ["BatchOptions", "BatchScheduler", "Finish"]
