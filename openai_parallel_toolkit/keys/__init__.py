"""Lend API keys to requests: limits, cooling, drops, fair turns."""

from .default import default_manager, forget_default_manager
from .figures import Counts, Wait
from .manager import APIKeyManager
from .ticket import Ticket

__all__ = [
    "APIKeyManager",
    "Counts",
    "Ticket",
    "Wait",
    "default_manager",
    "forget_default_manager",
]
