"""Lend API keys to requests: limits, cooling, drops, fair turns."""

from .default import close_default_managers, close_unless_default, default_manager, manager_of
from .manager import APIKeyManager
from .model_queue import LeaseRequest
from .status import Counts, Wait

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
