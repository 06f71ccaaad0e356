"""The Batch API: files, batches and the lines inside them."""

from .lines import ResultLine, line_url, read_result, request_line
from .records import BatchIssue, RemoteBatch, RemoteFile
from .service import BatchService, ServiceRefusal

__all__ = [
    "BatchIssue",
    "BatchService",
    "RemoteBatch",
    "RemoteFile",
    "ResultLine",
    "ServiceRefusal",
    "line_url",
    "read_result",
    "request_line",
]
