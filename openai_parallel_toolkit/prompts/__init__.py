"""Ask for every line of a file, and write the answers in its order."""

from .job import PromptsRun
from .options import PromptsOptions
from .summary import PromptsSummary

__all__ = ["PromptsOptions", "PromptsRun", "PromptsSummary"]
