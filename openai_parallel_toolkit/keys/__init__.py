"""Lend API keys to requests: limits, cooling, drops, fair turns."""

from .default_managers import (
    close_default_managers,
    close_unless_default,
    default_manager,
    manager_of,
)
from .manager import APIKeyManager
from .model_queue import LeaseRequest
from .standing import Counts, Wait

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
