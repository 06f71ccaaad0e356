"""Tell a hook which file it works on, and where that file's outputs will lie."""

from __future__ import annotations

from dataclasses import dataclass

from ..calls.file_calls import current_file_calls
from ..core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentFile:
    """The input that a hook works on."""

    #: Below the input folder, with forward slashes.
    name: str
    #: Its whole path, or its URL.
    input_path: str
    #: Where its outputs will lie, without an extension: the whole path, or the URL. Write to
    #: `output_file_without_ext`, which stands for it until they are whole; show and keep this one.
    output_path: str


def current_file() -> CurrentFile:
    """Return the input that the hook works on which calls this, or a thread that it started.

    Raises:
        UsageError: no hook of a toolkit runs here.
    """
    file_calls = current_file_calls.get()
    if file_calls is None or file_calls.layout is None:
        raise UsageError(
            "current_file is for the hooks of a ParallelToolkit, and for threads that they start "
            "with CarryingPool"
        )
    layout, name = file_calls.layout, file_calls.path
    return CurrentFile(
        name=name,
        input_path=f"{layout.input_root.rstrip('/')}/{name}",
        output_path=layout.output_at(layout.without_ext(name)),
    )
