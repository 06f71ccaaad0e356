"""The Batch API: files, batches and the lines inside them."""

from .client import (
    BAD_ID,
    MARK,
    BatchService,
    ServiceRefusal,
    Trouble,
    asked_pause_s,
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
    "BAD_ID",
    "MARK",
    "BatchIssue",
    "BatchService",
    "RemoteBatch",
    "RemoteFile",
    "ResultLine",
    "ServiceRefusal",
    "Trouble",
    "asked_pause_s",
    "line_url",
    "read_result",
    "request_line",
]
