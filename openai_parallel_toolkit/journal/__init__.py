"""What was asked, answered and done, kept through any death of the process."""

from .journal import Journal
from .reader import JournalReader
from .repair import repair
from .rows import (
    AnswerRecord,
    Attempt,
    Ending,
    Figures,
    FileDetail,
    FileFailure,
    FileRecord,
    PruneReport,
    RepairReport,
    RunRecord,
    Status,
    Totals,
)
from .upkeep import prune

__all__ = [
    "AnswerRecord",
    "Attempt",
    "Ending",
    "Figures",
    "FileDetail",
    "FileFailure",
    "FileRecord",
    "Journal",
    "JournalReader",
    "PruneReport",
    "RepairReport",
    "RunRecord",
    "Status",
    "Totals",
    "prune",
    "repair",
]
