"""What was asked, answered and done, kept through any death of the process."""

from .journal import Journal
from .listing import all_calls, all_files
from .reader import JournalReader
from .rows import (
    AnswerRecord,
    Attempt,
    CallRecord,
    FileCost,
    FileDetail,
    FileFailure,
    FileFigures,
    FileRecord,
    RepairReport,
    RunRecord,
    Status,
)
from .upkeep import prune, repair

__all__ = [
    "AnswerRecord",
    "Attempt",
    "CallRecord",
    "FileCost",
    "FileDetail",
    "FileFailure",
    "FileFigures",
    "FileRecord",
    "Journal",
    "JournalReader",
    "RepairReport",
    "RunRecord",
    "Status",
    "all_calls",
    "all_files",
    "prune",
    "repair",
]
