"""What was asked, answered and done, kept through any death of the process."""

from .journal import Journal
from .reader import JournalReader
from .rows import (
    AnswerRecord,
    Attempt,
    FileCost,
    FileDetail,
    FileFailure,
    FileRecord,
    RepairReport,
    RunRecord,
    Status,
)
from .upkeep import prune, repair

__all__ = [
    "AnswerRecord",
    "Attempt",
    "FileCost",
    "FileDetail",
    "FileFailure",
    "FileRecord",
    "Journal",
    "JournalReader",
    "RepairReport",
    "RunRecord",
    "Status",
    "prune",
    "repair",
]
