"""Lend API keys to requests: limits, cooling, drops, fair turns."""

from .manager import (
    APIKeyManager,
    close_default_managers,
    close_unless_default,
    default_manager,
    manager_of,
)
from .model_queue import LeaseRequest
from .pool import Counts, Wait

__all__ = [
    "APIKeyManager",
    "Counts",
    "LeaseRequest",
    "Wait",
    "close_default_managers",
    "close_unless_default",
    "default_manager",
    "manager_of",
]
