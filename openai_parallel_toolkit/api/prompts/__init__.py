"""Ask for every line of a file, and write the answers in its order."""

from .job import PromptsRun
from .lines import Defaults
from .options import PromptsOptions
from .summary import PromptsSummary

__all__ = ["Defaults", "PromptsOptions", "PromptsRun", "PromptsSummary"]
