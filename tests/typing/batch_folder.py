"""BatchFolder as a user writes it; checked by mypy --strict and never run."""

from decimal import Decimal
from pathlib import Path

from openai_parallel_toolkit import BatchFolder, BatchFolderSummary

folder = BatchFolder(
    "config.json",
    Path("in"),
    "s3://bucket/results",
    "errors",
    batch_size=5,
    continuous=True,
    count_tokens=True,
)
folder.stop()
summary: BatchFolderSummary = folder.run()
spent: Decimal = summary.cost_usd
left: tuple[int, tuple[str, ...]] = (summary.batches_left, summary.reasons)
plain: dict[str, object] = summary.as_dict()
from_environment = BatchFolder()
