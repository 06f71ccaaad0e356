"""Run folders of files through OpenAI-compatible models over many keys, and pay once.

Start with `ParallelToolkit`; every other name is listed in `__all__`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api.api_queue import ApiQueue
    from .api.append import append_line
    from .api.batch_folder import BatchFolder, BatchFolderSummary
    from .api.current_file import CurrentFile, current_file
    from .api.openai_client import async_openai_client, openai_client
    from .api.request import (
        CarryingPool,
        amulti_process_one,
        arequest_openai_api,
        arequest_reply,
        multi_process_one,
        request_openai_api,
        request_reply,
    )
    from .api.requester import APIPlayer, APIRequester, APIRequestor
    from .api.toolkit import ParallelToolkit
    from .batch import BatchOptions
    from .calls.durable_transport import AsyncDurableTransport, DurableTransport
    from .calls.models import ChatModel, EmbeddingModel, Gpt35Turbo, OpenAIModel, ResponsesModel
    from .core.errors import (
        BudgetExceeded,
        ConfigError,
        FilesFailed,
        IncompleteAnswer,
        InvalidAnswer,
        JournalError,
        LeaseTimeout,
        NoUsableKey,
        OutcomeUnknown,
        OutOfResources,
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
    from .core.records import Reply, Usage
    from .costs.tokens import num_tokens_from_string, split_string_by_tokens
    from .keys import APIKeyManager
    from .runs.estimate import Estimate
    from .runs.summary import RunSummary
    from .transport import FakeTransport
    from .view.export_frames import calls_df, files_df, to_dataset

#: Where the public names live, the lightest first; a name is looked for when it is first used, so
#: that importing the package costs nothing.
_HOMES = (
    "core.errors", "core.records", "runs.summary", "costs.tokens", "calls.models",
    "transport", "keys", "api.append", "api.current_file", "api.request", "api.requester",
    "api.api_queue", "batch", "runs.estimate", "api.toolkit", "api.batch_folder",
    "api.openai_client", "view.export_frames",
)  # fmt: skip

__version__ = "2.0.0"
__all__ = [
    "APIKeyManager", "APIPlayer", "APIRequester", "APIRequestor", "ApiQueue",
    "AsyncDurableTransport", "BatchFolder", "BatchFolderSummary", "BatchOptions", "BudgetExceeded",
    "CarryingPool", "ChatModel", "ConfigError", "CurrentFile", "DurableTransport", "EmbeddingModel",
    "Estimate", "FakeTransport", "FilesFailed", "Gpt35Turbo", "IncompleteAnswer", "InvalidAnswer",
    "JournalError", "LeaseTimeout", "NoUsableKey", "OpenAIModel", "OutOfResources",
    "OutcomeUnknown", "OutputConflict", "ParallelToolkit", "Reply", "RequestFailed",
    "RequestRejected", "ResponsesModel", "RunLocked", "RunStopped", "RunSummary", "ScanError",
    "SharedOutput", "StorageError", "ToolkitError", "UnsafePath", "Usage", "UsageError",
    "amulti_process_one", "append_line", "arequest_openai_api", "arequest_reply",
    "async_openai_client", "calls_df", "current_file", "files_df", "multi_process_one",
    "num_tokens_from_string", "openai_client", "request_openai_api", "request_reply",
    "split_string_by_tokens", "to_dataset",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = importlib.import_module(f".{home}", __name__)
            if hasattr(module, name):
                globals()[name] = value = getattr(module, name)
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
