"""Take single files through their hooks; where their state is kept is told by subclasses."""

from __future__ import annotations

import asyncio
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..calls.file_calls import FileCalls, current_file_calls
from ..calls.turns import Turns
from ..core.logs import logger_of
from ..core.records import OutputFile
from ..files.inputs import InputCopies, signature_of_open
from ..files.staging import StagedFolder
from .hooks import Hooks

if TYPE_CHECKING:  # workers do without
    from .suspension import PendingRequests

logger = logger_of(__name__)

_TRACE_FRAMES = 6
#: What names a file that is to be worked on.
DueT = TypeVar("DueT")


@dataclass(slots=True, kw_only=True, eq=False)
class FileTask:
    """One file in the hands of its hooks, and the slot of the worker that runs them."""

    path: str
    slot: int
    file_calls: FileCalls
    #: In batch mode, what its hooks ask for; None: that is sent at once.
    asks: PendingRequests | None = None
    staged: StagedFolder | None = None
    #: What its hooks wrote.
    outputs: tuple[OutputFile, ...] = ()
    signature: str = ""
    #: Where its hooks run now.
    thread_id: int = field(default_factory=threading.get_ident)
    #: What runs its async hook; None: no async hook runs.
    hook_task: asyncio.Task[Any] | None = None


class HookRunner(ABC, Generic[DueT]):
    """Runs the hooks over single files. What differs between files is in their FileTask."""

    def __init__(self, hooks: Hooks, turns: Turns, inputs: InputCopies) -> None:
        """Take the hooks, the turns of the threads that run them, and where inputs come from."""
        self.hooks = hooks
        #: That threads with hooks take.
        self.turns = turns
        self._inputs = inputs

    def run(self, slot: int, due: DueT, *, alone: bool = False) -> None:
        """Take one file through blocking hooks; what they raise becomes the file's failure."""
        task = self.begin(slot, due, alone=alone)
        token = current_file_calls.set(task.file_calls)
        error: BaseException | None = None
        try:
            self.write(task, self.hooks.process_data(self.read(task)))
        except BaseException as exc:  # noqa: BLE001 - a hook may raise anything, SystemExit too
            error = exc
        finally:
            current_file_calls.reset(token)
            self.finish(task, error)

    @abstractmethod
    def begin(self, slot: int, due: DueT, *, alone: bool = False) -> FileTask:
        """Mark a file as open and look up what it was answered before."""

    def read(self, task: FileTask) -> Any:
        """Run process_input over the open file."""
        with ExitStack() as stack:
            with task.file_calls.in_call():  # no hook runs while it comes from afar
                found = stack.enter_context(self._inputs.local_copy(task.path))
            file = stack.enter_context(self.hooks.open_input(found.path))
            task.signature = found.signature or signature_of_open(file.fileno())
            return self.hooks.process_input(file)

    def write(self, task: FileTask, result: Any) -> None:
        """Run process_output into staging and hand what it wrote to the publisher."""
        task.staged = self._stage(task)
        self.hooks.process_output(result, task.staged.path_without_ext)
        task.outputs = task.staged.collect()
        if not self._inputs.check_unchanged(task.path, task.signature):
            logger.warning("%s was removed while it was worked on", task.path)
        self._hand_over(task)

    @abstractmethod
    def finish(self, task: FileTask, error: BaseException | None) -> None:
        """Close a file's record; an error that is no order to stop is its failure."""

    @abstractmethod
    def _stage(self, task: FileTask) -> StagedFolder:
        """Return where the hooks of a file write."""

    @abstractmethod
    def _hand_over(self, task: FileTask) -> None:
        """Have published what was staged; RunStopping: that may not be."""


def stack_of(task: FileTask) -> str:
    """Return where a file's hooks are, the innermost frame last; "": that cannot be told."""
    frames = _awaiting(task.hook_task)
    if not frames:
        frame = sys._current_frames().get(task.thread_id)
        frames = [found for found, _ in traceback.walk_stack(frame)][::-1] if frame else []
    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
    return "".join(lines[-_TRACE_FRAMES:])


def _awaiting(task: asyncio.Task[Any] | None) -> list[FrameType]:
    """Return where a task waits, from its outermost frame inward; empty: it runs just now."""
    frames = []
    awaited: Any = task and task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None)
    return frames if len(frames) > 1 else []
