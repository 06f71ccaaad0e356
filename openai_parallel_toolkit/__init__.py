"""Run folders of files through OpenAI-compatible models over many keys, and pay once.

Start with `ParallelToolkit`; every other door is listed in `__all__`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calls import (
        arequest_openai_api,
        arequest_reply,
        request_openai_api,
        request_reply,
    )
    from .errors import (
        BudgetExceeded,
        ConfigError,
        FilesFailed,
        IncompleteAnswer,
        JournalError,
        LeaseTimeout,
        NoUsableKey,
        OutcomeUnknown,
        OutputConflict,
        RequestFailed,
        RequestRejected,
        RunLocked,
        RunStopped,
        ScanError,
        SharedOutput,
        StorageError,
        ToolkitError,
        UnsafePath,
        UsageError,
    )
    from .keys import APIKeyManager
    from .models import ChatModel, Gpt35Turbo, OpenAIModel
    from .records import Reply, Usage
    from .report import RunSummary
    from .toolkit import ParallelToolkit
    from .transport import FakeTransport

#: Where each public name lives; a module is imported when its first name is used, so that
#: importing the package costs nothing.
_HOMES = {
    "calls": ("arequest_openai_api", "arequest_reply", "request_openai_api", "request_reply"),
    "errors": (
        "BudgetExceeded",
        "ConfigError",
        "FilesFailed",
        "IncompleteAnswer",
        "JournalError",
        "LeaseTimeout",
        "NoUsableKey",
        "OutcomeUnknown",
        "OutputConflict",
        "RequestFailed",
        "RequestRejected",
        "RunLocked",
        "RunStopped",
        "ScanError",
        "SharedOutput",
        "StorageError",
        "ToolkitError",
        "UnsafePath",
        "UsageError",
    ),
    "keys": ("APIKeyManager",),
    "models": ("ChatModel", "Gpt35Turbo", "OpenAIModel"),
    "records": ("Reply", "Usage"),
    "report": ("RunSummary",),
    "toolkit": ("ParallelToolkit",),
    "transport": ("FakeTransport",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = [
    "APIKeyManager",
    "BudgetExceeded",
    "ChatModel",
    "ConfigError",
    "FakeTransport",
    "FilesFailed",
    "Gpt35Turbo",
    "IncompleteAnswer",
    "JournalError",
    "LeaseTimeout",
    "NoUsableKey",
    "OpenAIModel",
    "OutcomeUnknown",
    "OutputConflict",
    "ParallelToolkit",
    "Reply",
    "RequestFailed",
    "RequestRejected",
    "RunLocked",
    "RunStopped",
    "RunSummary",
    "ScanError",
    "SharedOutput",
    "StorageError",
    "ToolkitError",
    "UnsafePath",
    "Usage",
    "UsageError",
    "arequest_openai_api",
    "arequest_reply",
    "request_openai_api",
    "request_reply",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{home}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
