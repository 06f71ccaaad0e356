"""Lend API keys to requests: limits, cooling, drops, fair turns."""

from .default import close_default_managers, close_unless_default, default_manager, manager_of
from .figures import Counts, Wait
from .lease_request import LeaseRequest
from .manager import APIKeyManager

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
