"""Ask for every line of a file, and write the answers in its order."""

from .job import PromptsRun, PromptsSummary
from .lines import Defaults
from .options import PromptsOptions

__all__ = ["Defaults", "PromptsOptions", "PromptsRun", "PromptsSummary"]
