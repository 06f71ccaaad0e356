"""The Batch API: files, batches and the lines inside them."""

from .client import (
    BELIEVED_S,
    LISTED_WITHIN_S,
    MARK,
    BatchService,
    ServiceRefusal,
    Trouble,
    asked_pause_s,
    find_batch,
    look_until_listed,
)
from .objects import (
    BatchIssue,
    RemoteBatch,
    RemoteFile,
    ResultLine,
    line_url,
    read_result,
    request_line,
)

__all__ = [
    "BELIEVED_S",
    "LISTED_WITHIN_S",
    "MARK",
    "BatchIssue",
    "BatchService",
    "RemoteBatch",
    "RemoteFile",
    "ResultLine",
    "ServiceRefusal",
    "Trouble",
    "asked_pause_s",
    "find_batch",
    "line_url",
    "look_until_listed",
    "read_result",
    "request_line",
]
