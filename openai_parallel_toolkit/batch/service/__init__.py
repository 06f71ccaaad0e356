"""The Batch API: files, batches and the lines inside them."""

from .client import BatchService, ServiceRefusal
from .lines import ResultLine, line_url, read_result, request_line
from .objects import BatchIssue, RemoteBatch, RemoteFile
from .search import LISTED_WITHIN_S, MARK, find_batch, look_until_listed

__all__ = [
    "LISTED_WITHIN_S",
    "MARK",
    "BatchIssue",
    "BatchService",
    "RemoteBatch",
    "RemoteFile",
    "ResultLine",
    "ServiceRefusal",
    "find_batch",
    "line_url",
    "look_until_listed",
    "read_result",
    "request_line",
]
