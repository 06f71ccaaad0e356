"""Where a run happens: its input, its output, and the state kept beside the outputs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import ScanError, StorageError
from .options import RunOptions

#: Kept inside the output folder unless state_path says otherwise.
STATE_FOLDER = ".openai_parallel_toolkit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The folders of a run, absolute."""

    #: The folder that inputs are relative to.
    input_root: str
    output_root: str
    state_folder: str
    #: The only input, when one file was given; None: the whole folder.
    single_file: str | None = None
    #: What that file's output is to be called, without extension; None: after the input.
    single_stem: str | None = None


def place_of(options: RunOptions) -> Place:
    """Work out the folders of a run; makes nothing.

    Raises:
        ScanError: the input does not exist.
        StorageError: the output cannot be a folder.
    """
    source, target = os.path.abspath(options.input_path), os.path.abspath(options.output_path)
    if not os.path.exists(source):
        raise ScanError(f"input_path: {options.input_path} does not exist", path=source)
    single_file = single_stem = None
    if os.path.isfile(source):
        source, single_file = os.path.split(source)
        if os.path.splitext(target)[1] and not os.path.isdir(target):
            target, name = os.path.split(target)
            single_stem = os.path.splitext(name)[0]
    if os.path.exists(target) and not os.path.isdir(target):
        raise StorageError(f"output_path: {target} is a file; name a folder", path=target)
    state = options.state_path or os.path.join(target, STATE_FOLDER)
    return Place(
        input_root=source,
        output_root=target,
        state_folder=os.path.abspath(state),
        single_file=single_file,
        single_stem=single_stem,
    )
