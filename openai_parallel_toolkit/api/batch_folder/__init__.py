"""A folder of ready-made Batch API files, sent and collected."""

from .folder import BatchFolder
from .pace import Pace
from .settings import FolderSettings
from .summary import BatchFolderSummary

__all__ = ["BatchFolder", "BatchFolderSummary", "FolderSettings", "Pace"]
