"""Let the hooks of many files add lines to one common file."""

from __future__ import annotations

from ..calls.file_calls import current_file_calls
from ..core.errors import UsageError
from ..core.filesystem import check_relative


def append_line(name: str, line: str) -> None:
    """Add a line to a file that all inputs share, such as "index.csv"; call it in a hook.

    The run writes the file at its end, below the output folder, whole and in the order of the
    inputs. It holds the lines of every input that is done, once each, whatever was run again.

    Args:
        name: below the output folder.
        line: without the line feed, or with it.

    Raises:
        UsageError: no hook of a toolkit runs here, or the line is no text.
        UnsafePath: the name leads out of the output folder.
    """
    file_calls = current_file_calls.get()
    if file_calls is None or not file_calls.path:
        raise UsageError("append_line is for the hooks of a ParallelToolkit; write to a file here")
    check_relative(name)
    try:
        line.encode()
    except UnicodeEncodeError:
        raise UsageError(f"append_line({name!r}, ...): the line holds half a character") from None
    file_calls.appended.append((name, line if line.endswith("\n") else line + "\n"))
