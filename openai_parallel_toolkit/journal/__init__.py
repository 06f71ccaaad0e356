"""What was asked, answered and done, kept through any death of the process."""

from .journal import Journal
from .reader import JournalReader
from .repair import repair
from .rows import (
    AnswerRecord,
    Attempt,
    AttemptEnding,
    FileDetail,
    FileFailure,
    FileRecord,
    PruneReport,
    RepairReport,
    RunRecord,
    RunTotals,
    Status,
)
from .upkeep import prune

__all__ = [
    "AnswerRecord",
    "Attempt",
    "AttemptEnding",
    "FileDetail",
    "FileFailure",
    "FileRecord",
    "Journal",
    "JournalReader",
    "PruneReport",
    "RepairReport",
    "RunRecord",
    "RunTotals",
    "Status",
    "prune",
    "repair",
]
