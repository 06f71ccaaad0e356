"""A folder of ready-made Batch API files, sent and collected."""

from .folder import BatchFolder
from .settings import FolderSettings, Pace
from .summary import BatchFolderSummary

__all__ = ["BatchFolder", "BatchFolderSummary", "FolderSettings", "Pace"]
